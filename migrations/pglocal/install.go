package pglocal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// suite is a Debian release that has PostgreSQL with pgvector.
type suite struct {
	name  string
	major int // of its PostgreSQL
}

// suites is in order of preference: forky has pgvector 0.8.7, past the known
// faults; trixie has 0.8.0, which is the floor.
func suites() []suite { return []suite{{"forky", 18}, {"trixie", 17}} }

// layout is raised when the unpacked form changes, so that an older one in a
// cache is left alone and a new one made beside it.
const layout = 1

func (s suite) prefix(cache string) string {
	return filepath.Join(cache, fmt.Sprintf("postgresql-%d-%s-%s-%d", s.major, s.name, runtime.GOARCH, layout))
}

// bin is where a suite's programs are below its prefix.
func (s suite) bin(prefix string) string {
	return filepath.Join(prefix, fmt.Sprintf("root/usr/lib/postgresql/%d/bin", s.major))
}

// StartPrivate runs a server from Debian packages that it unpacks, once, into
// opts.CacheDir. That needs apt-get, dpkg and Debian's keyring on this machine
// and access to the mirror that apt is configured for, but not root.
func StartPrivate(ctx context.Context, opts Options) (*Server, error) {
	inst, err := installPrivate(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("private packages: %w", err)
	}
	s, err := startCluster(ctx, opts, inst)
	if err != nil {
		return nil, fmt.Errorf("private server in %s: %w", inst.bin, err)
	}
	s.Kind = KindPrivate
	return s, nil
}

// installPrivate returns the first suite that is there already or can be
// installed, of the version that the data folder needs.
func installPrivate(ctx context.Context, opts Options) (installation, error) {
	if opts.CacheDir == "" {
		return installation{}, errors.New("CacheDir is not set")
	}
	if _, err := serverAccount(); err != nil { // better now than after a download
		return installation{}, err
	}
	cache, err := filepath.Abs(opts.CacheDir)
	if err != nil {
		return installation{}, err
	}
	var wanted []suite
	for _, s := range suites() {
		if major := opts.wantMajor(); major == 0 || major == s.major {
			wanted = append(wanted, s)
		}
	}
	if len(wanted) == 0 {
		return installation{}, fmt.Errorf("%w: the data folder needs PostgreSQL %d", errUnavailable, opts.wantMajor())
	}
	for _, s := range wanted {
		if _, err := os.Stat(s.prefix(cache)); err == nil {
			return installation{s.bin(s.prefix(cache)), s.major}, nil
		}
	}
	return installFirst(ctx, cache, wanted, newProgress(opts.Log))
}

func installFirst(ctx context.Context, cache string, wanted []suite, log *progress) (installation, error) {
	mirror, err := debianMirror(ctx)
	if err != nil {
		return installation{}, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return installation{}, err
	}
	var lock *fileLock
	err = log.during("waiting for another installation", nil, func() (err error) {
		lock, err = waitLock(ctx, filepath.Join(cache, "install.lock"))
		return err
	})
	if err != nil {
		return installation{}, err
	}
	defer lock.unlock()
	var refused []error
	for _, s := range wanted {
		err := s.install(ctx, cache, mirror, log)
		if err == nil {
			return installation{s.bin(s.prefix(cache)), s.major}, nil
		}
		if ctx.Err() != nil {
			return installation{}, err
		}
		log.say("%s: %v", s.name, err)
		refused = append(refused, fmt.Errorf("%s: %w", s.name, err))
	}
	return installation{}, unavailable("no suite", refused)
}

// install makes the suite's prefix appear, complete, or not at all. Only
// verified package files stay behind when it fails or is cut short, and are
// not downloaded again. The caller holds the cache's lock.
func (s suite) install(ctx context.Context, cache, mirror string, log *progress) (err error) {
	prefix := s.prefix(cache)
	if _, err := os.Stat(prefix); err == nil {
		return nil // another process was faster
	}
	log.say("installing PostgreSQL %d with pgvector from Debian %s into %s (once, about 95 MB, nothing else is changed)",
		s.major, s.name, prefix)
	if err := removeLeftovers(cache); err != nil {
		return err
	}
	work, err := os.MkdirTemp(cache, "install-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := os.Chmod(work, 0o755); err != nil { // it becomes the prefix, which the account must enter
		return err
	}

	a, err := newAPT(ctx, filepath.Join(work, "apt"), mirror, s.name, log)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("postgresql-%d", s.major)
	packages, err := a.resolve(ctx, name, name+"-pgvector")
	if err != nil {
		return err
	}
	archives := filepath.Join(cache, "archives")
	if err := a.download(ctx, archives, packages); err != nil {
		return err
	}
	if err := unpack(ctx, archives, packages, filepath.Join(work, "root"), log); err != nil {
		return err
	}
	if err := s.finish(ctx, work, packages); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(work, "apt")); err != nil {
		return err
	}
	if err := os.Rename(work, prefix); err != nil {
		return err
	}
	log.say("installed %d packages", len(packages))
	return os.RemoveAll(archives)
}

// removeLeftovers removes what installers that were killed left.
func removeLeftovers(cache string) error {
	old, err := filepath.Glob(filepath.Join(cache, "install-*"))
	if err != nil {
		return err
	}
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// finish turns unpacked packages into programs that run here, proves that
// they do, and notes what they were made of.
func (s suite) finish(ctx context.Context, work string, packages []debPackage) error {
	root, bin := filepath.Join(work, "root"), s.bin(work)
	for _, dir := range []string{"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info"} {
		if err := os.RemoveAll(filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	for _, dir := range []string{"bitcode", "llvmjit"} { // for the JIT, which is off
		if err := os.RemoveAll(filepath.Join(bin, "../lib", dir)); err != nil {
			return err
		}
	}
	if err := wrapPrograms(root, bin); err != nil {
		return err
	}
	inst, err := inspectInstalled(ctx, bin)
	if err != nil {
		return fmt.Errorf("unpacked programs: %w", err)
	}
	if inst.major != s.major {
		return fmt.Errorf("unpacked programs are PostgreSQL %d, want %d", inst.major, s.major)
	}
	var list strings.Builder
	for _, p := range packages {
		fmt.Fprintf(&list, "%s  %s\n", p.sha256, p.file)
	}
	return os.WriteFile(filepath.Join(work, "packages.txt"), []byte(list.String()), 0o644)
}
