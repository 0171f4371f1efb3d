package wazerovm_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/tars-project/tars/vmhost/wasm"
)

// TestMeterRunsOtherLanguages: programs in C, Rust, TinyGo and Zig, as the
// engine's own tests carry them, write and exit with the meter as without.
func TestMeterRunsOtherLanguages(t *testing.T) {
	programs := filepath.Join(engineFolder(t), "imports/wasi_snapshot_preview1/testdata")
	for _, language := range []string{"cargo-wasi", "tinygo", "zig", "zig-cc"} {
		module, err := os.ReadFile(filepath.Join(programs, language, "wasi.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		plain, metered := plainRuntime(t, false), meterRuntime(t)
		compiled, err := plain.CompileModule(t.Context(), module)
		if err != nil {
			t.Fatalf("%s: %v", language, err)
		}
		limits := openLimits(compiled)
		limits.Allowed = wasm.PluginImports()
		result := meter(t, module, limits)
		written := 0
		for _, args := range [][]string{{"ls", "."}, {"ls", "./dir"}, {"ls", "absent"}, {"stat"}, {"unknown"}} {
			want := runCommand(t, plain, module, newLedger(), args)
			account := newLedger()
			account.slice = 100
			got := runCommand(t, metered, result.Module, account, args)
			if got != want {
				t.Errorf("%s %v = %s, want as without the meter %s", language, args, got, want)
			}
			if account.asked < 2 {
				t.Errorf("%s %v asked for fuel %d times, want several", language, args, account.asked)
			}
			written += len(want)
		}
		const least = 100
		if written < least {
			t.Errorf("%s wrote %d bytes, want at least %d", language, written, least)
		}
		t.Logf("%s: %d bytes, %d with the meter; largest frame %d", language, len(module), len(result.Module), result.LargestFrame)
	}
}

// runCommand runs a command and returns what it wrote and how it ended.
func runCommand(t *testing.T, runtime wazero.Runtime, module []byte, account *ledger, args []string) string {
	t.Helper()
	ctx := withLedger(t.Context(), account)
	if runtime.Module(wasi_snapshot_preview1.ModuleName) == nil {
		wasi_snapshot_preview1.MustInstantiate(ctx, runtime)
	}
	var out bytes.Buffer
	files := fstest.MapFS{"a": {Data: []byte("a")}, "dir/b": {Data: []byte("b")}}
	config := wazero.NewModuleConfig().WithName("").WithArgs(append([]string{"wasi"}, args...)...).
		WithStdout(&out).WithStderr(&out).WithFSConfig(wazero.NewFSConfig().WithFSMount(files, "/"))
	_, err := runtime.InstantiateWithConfig(ctx, module, config)
	text := fmt.Sprint(err)
	first, _, _ := strings.Cut(text, "\n")
	return fmt.Sprintf("%q, %s", out.String(), first)
}

// TestMeterOfAllModules: every other module of the engine's tests, those that
// once made its compiler fail among them, compiles with the meter if it does
// without.
func TestMeterOfAllModules(t *testing.T) {
	plain, metered := plainRuntime(t, false), meterRuntime(t)
	count := 0
	err := filepath.WalkDir(engineFolder(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == "spectest" {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".wasm" {
			return nil
		}
		module, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		compiled, err := plain.CompileModule(context.Background(), module)
		if err != nil {
			return nil //nolint:nilerr // not a module that the engine runs with these features
		}
		limits := openLimits(compiled)
		if _, err := wasm.Check(module, limits); err != nil {
			return nil //nolint:nilerr // not a module that reaches the meter
		}
		count++
		result := meter(t, module, limits)
		if _, err := metered.CompileModule(context.Background(), result.Module); err != nil {
			t.Errorf("%s: compile metered: %v, want no error", path, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d modules", count)
	const least = 40
	if count < least {
		t.Errorf("%d modules were metered, want at least %d", count, least)
	}
}
