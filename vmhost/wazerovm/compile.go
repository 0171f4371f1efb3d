package wazerovm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/wasm"
)

// engineConfig names all that decides what code the engine makes of a module and
// how it is handed on, besides the engine's own version and the processor: the
// settings of runtimeConfig, the format of the header. A change to either
// changes it.
const engineConfig = "tars-engine/2"

// EngineVersion names all that an artifact of this process depends on besides its
// source and its limits: the engine, its configuration, the meter, the
// stack, the architecture. Artifacts of another version are of no use.
func EngineVersion() string {
	return fmt.Sprintf("%s wazero %s %s stack %d %s/%s", engineConfig, wazeroVersion(), wasm.MeterVersion, stackSlice, runtime.GOOS, runtime.GOARCH)
}

// wazeroVersion is the version that this binary is built with; empty in a binary
// that does not say.
func wazeroVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, dep := range info.Deps {
		if dep.Path == "github.com/tetratelabs/wazero" {
			return dep.Version + dep.Sum
		}
	}
	return ""
}

// runtimeConfig is how the engine is set up, for compiling and for running alike.
func runtimeConfig(e engine) wazero.RuntimeConfig {
	config := wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst | experimental.CoreFeaturesTailCall).
		WithDebugInfoEnabled(false). // back-traces through DWARF take up to a second
		WithCloseOnContextDone(e.interruptible)
	if e.cache != nil {
		config = config.WithCompilationCache(e.cache)
	}
	return config
}

// Compile builds the meter into a module and compiles it, without running any of
// it. The engine writes its file to the folder, which must be empty, the caller's
// alone and without symbolic links in its path. Compile does not look at ctx while
// it compiles. The error wraps [vmhost.ErrRefused] when the module is at fault,
// also when there is no room for its code in the folder or in a file; room, bytes, is
// what the error says that there is.
func (d *Driver) Compile(ctx context.Context, src vmhost.Source, folder string, room int64) (vmhost.Artifact, error) {
	src.Limits = src.Limits.WithDefaults()
	m, err := metered(src)
	if err != nil {
		return vmhost.Artifact{}, err
	}
	cache, err := wazero.NewCompilationCacheWithDir(folder)
	if err != nil {
		return vmhost.Artifact{}, fmt.Errorf("%w: folder for code: %w", vmhost.ErrUnavailable, err)
	}
	e := engine{metered: true, ready: true, about: describe(m, ""), cache: cache, room: room}
	defer e.close()
	src.Module = m.Module
	p, err := compile(ctx, e, src)
	if err != nil {
		return vmhost.Artifact{}, err
	}
	defer p.Close() //nolint:errcheck // frees memory; nothing is left to be saved
	file, err := onlyFile(folder)
	if err != nil {
		return vmhost.Artifact{}, fmt.Errorf("%w: %w", vmhost.ErrUnavailable, err)
	}
	header, err := describe(m, file).encode()
	if err != nil {
		return vmhost.Artifact{}, refuse("its description cannot be kept: %s", err)
	}
	code, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		return vmhost.Artifact{}, fmt.Errorf("%w: read the code: %w", vmhost.ErrUnavailable, err)
	}
	return vmhost.Artifact{Name: file, Header: header, Module: m.Module, Code: code}, nil
}

// onlyFile returns the file that the engine has written, relative to the folder:
// it lies in a folder that the engine names after itself.
func onlyFile(folder string) (string, error) {
	name := ""
	for range 2 {
		dir, err := os.Open(filepath.Join(folder, name))
		if err != nil {
			return "", fmt.Errorf("find the code: %w", err)
		}
		names, err := dir.Readdirnames(-1)
		_ = dir.Close() // it was only read
		if err != nil {
			return "", fmt.Errorf("find the code: %w", err)
		}
		if len(names) != 1 {
			return "", fmt.Errorf("find the code: %q holds %q, want one name", name, names)
		}
		name = filepath.Join(name, names[0])
	}
	return name, nil
}

// close frees the code that the engine's cache holds, when all its programs are
// closed.
func (e engine) close() {
	if e.cache != nil {
		_ = e.cache.Close(context.Background()) // frees memory, and cannot fail
	}
}

// fault says what an error of the engine's compiler means: the module is to blame
// for all but what the file system answers.
func (e engine) fault(err error) error {
	var file *fs.PathError
	switch {
	case errors.Is(err, syscall.EFBIG), errors.Is(err, syscall.ENOSPC):
		return refuse("its compiled code is larger than the %d bytes that are allowed", e.room)
	case errors.As(err, &file), strings.HasPrefix(err.Error(), "compilationcache: "):
		return fmt.Errorf("%w: code of the module: %w", vmhost.ErrUnavailable, err)
	default:
		return refuse("%s", firstLine(err.Error()))
	}
}

// LoadCompiled is Load of what Compile made: src.Module is [vmhost.Artifact.Module]
// and the file is in the folder by its name, made on a processor like this one.
// Nothing is compiled or written. The error wraps [vmhost.ErrUnavailable] when the
// file is missing or not what the engine wrote. The folder need not be there any
// more when LoadCompiled returns.
func (d *Driver) LoadCompiled(ctx context.Context, src vmhost.Source, header []byte, folder string) (vmhost.Program, error) {
	about, err := decodeDescription(header)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", vmhost.ErrUnavailable, err)
	}
	if _, err := os.Stat(filepath.Join(folder, about.file)); err != nil {
		return nil, fmt.Errorf("%w: the code is not there: %w", vmhost.ErrUnavailable, err)
	}
	cache, err := wazero.NewCompilationCacheWithDir(folder)
	if err != nil {
		return nil, fmt.Errorf("%w: folder for code: %w", vmhost.ErrUnavailable, err)
	}
	return d.load(ctx, engine{metered: true, ready: true, about: about, cache: cache}, src)
}
