package pglocal

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestInstallCancelled(t *testing.T) {
	testOptions(t)
	if !errors.Is(installs.cancelled, context.Canceled) {
		t.Errorf("installPrivate() = %v, want context.Canceled", installs.cancelled)
	}
	if want := []string{"archives", "install.lock"}; !slices.Equal(installs.afterCancelled, want) {
		t.Errorf("a cancelled installation left %q, want %q", installs.afterCancelled, want)
	}
}

func TestInstallConcurrently(t *testing.T) {
	testOptions(t)
	if installs.found[0] != installs.found[1] {
		t.Errorf("two installers found %v and %v, want the same", installs.found[0], installs.found[1])
	}
	if n := strings.Count(installs.log.String(), "installing"); n != 1 {
		t.Errorf("%d installations were made, want 1:\n%s", n, installs.log.String())
	}
	if strings.Contains(installs.log.String(), "downloading") {
		t.Errorf("packages were downloaded again after a cancelled installation:\n%s", installs.log.String())
	}
	if !missing(installs.leftover) {
		t.Errorf("%s, of a killed installer, is still there", installs.leftover)
	}
	var names []string
	entries, err := os.ReadDir(installs.cache)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) != 2 || names[0] != "install.lock" {
		t.Errorf("the cache holds %q, want the lock and one installation", names)
	}
}

func TestInstallNeedsTheDataFoldersVersion(t *testing.T) {
	dir := openDir(t)
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("12\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	opts := testOptions(t)
	opts.DataDir = dir
	if s, err := StartPrivate(t.Context(), opts); !errors.Is(err, errUnavailable) {
		t.Errorf("StartPrivate() on data of PostgreSQL 12 = %v, %v, want errUnavailable", s, err)
	}
	opts.NoDocker = true
	if s, err := Start(t.Context(), opts); !errors.Is(err, ErrNoServer) {
		t.Errorf("Start() on data of PostgreSQL 12 = %v, %v, want ErrNoServer", s, err)
	} else if !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("Start() = %v, want a hint what to install", err)
	}
}

// copyInstallation gives a test programs whose files it may change.
func copyInstallation(t *testing.T) (inst installation, control string) {
	t.Helper()
	testOptions(t)
	inst = installs.found[0]
	root, _, _ := strings.Cut(inst.bin, "/usr/lib/")
	dir := filepath.Join(openDir(t), "root")
	if out, err := exec.Command("cp", "-al", root, dir).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "usr/share/postgresql/*/extension/vector.control"))
	if err != nil || len(found) != 1 {
		t.Fatalf("found %q, %v, want one vector.control", found, err)
	}
	return installation{filepath.Join(dir, strings.TrimPrefix(inst.bin, root)), inst.major}, found[0]
}

// setVector replaces a control file, which is a link to the shared one.
func setVector(t *testing.T, control, version string) {
	t.Helper()
	if err := os.Remove(control); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if version == "" {
		return
	}
	if err := os.WriteFile(control, []byte("comment = 'x'\ndefault_version = '"+version+"'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFindInstalled(t *testing.T) {
	inst, control := copyInstallation(t)
	for _, c := range []struct {
		vector string
		major  int
		want   error
	}{
		{"0.8.7", 0, nil},
		{"0.8.0", inst.major, nil},
		{"0.8.7", inst.major - 1, errUnavailable},
		{"0.7.4", 0, ErrVectorTooOld},
		{"", 0, ErrVectorTooOld},
	} {
		setVector(t, control, c.vector)
		got, err := findInstalled(t.Context(), []string{inst.bin, "/nonexistent/*"}, c.major)
		if !errors.Is(err, c.want) || (err == nil) != (got == inst) {
			t.Errorf("findInstalled(pgvector %q, major %d) = %v, %v, want %v", c.vector, c.major, got, err, c.want)
		}
		if err != nil && !errors.Is(err, errUnavailable) {
			t.Errorf("findInstalled(pgvector %q) = %v, want the next way to be tried", c.vector, err)
		}
	}
}

func TestOldVectorIsRefused(t *testing.T) {
	inst, control := copyInstallation(t)
	opts := Options{Ephemeral: true, TempDir: openDir(t)}
	s, err := startCluster(t.Context(), opts, inst)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	for _, c := range []struct {
		vector   string
		want     error
		warnings int
	}{
		{"0.8.7", nil, 0},
		{"0.8.6", nil, 0},
		{"0.8.0", nil, 1},
		{"0.7.4", ErrVectorTooOld, 0},
		{"", ErrVectorTooOld, 0},
	} {
		setVector(t, control, c.vector)
		got, err := Start(t.Context(), Options{DatabaseURL: s.URL})
		if !errors.Is(err, c.want) {
			t.Errorf("Start(server with pgvector %q) = %v, want %v", c.vector, err, c.want)
			continue
		}
		if err != nil {
			continue
		}
		if got.URL != s.URL || got.Kind != KindURL || got.VectorVersion != c.vector || len(got.Warnings) != c.warnings {
			t.Errorf("Start(server with pgvector %q) = %+v, want %d warnings", c.vector, got, c.warnings)
		}
	}
	setVector(t, control, "0.7.4")
	opts.TempDir = openDir(t)
	if s, err := startCluster(t.Context(), opts, inst); !errors.Is(err, ErrVectorTooOld) {
		t.Errorf("startCluster(pgvector 0.7.4) = %v, %v, want ErrVectorTooOld", s, err)
	}
	if left, _ := os.ReadDir(opts.TempDir); len(left) != 0 {
		t.Errorf("a refused server left %v behind", left)
	}
}
