package pglocal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// localFolders is where packagers put PostgreSQL's programs.
func localFolders() []string {
	return []string{
		"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
		"/usr/pgsql-*/bin",          // PGDG on Red Hat and its kin
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	}
}

// StartLocal runs an installed server whose pgvector is at least at the
// floor, as our child on a cluster of our own. The system's own clusters are
// not touched.
func StartLocal(ctx context.Context, opts Options) (*Server, error) {
	inst, err := findInstalled(ctx, localFolders(), opts.wantMajor())
	if err != nil {
		return nil, fmt.Errorf("installed server: %w", err)
	}
	s, err := startCluster(ctx, opts, inst)
	if err != nil {
		return nil, fmt.Errorf("installed server in %s: %w", inst.bin, err)
	}
	s.Kind = KindLocal
	return s, nil
}

// unavailable closes a way, for the reasons given or else for want of any.
func unavailable(otherwise string, reasons []error) error {
	if len(reasons) == 0 {
		return fmt.Errorf("%w: %s", errUnavailable, otherwise)
	}
	return fmt.Errorf("%w: %w", errUnavailable, errors.Join(reasons...))
}

// wantMajor is the version that an existing cluster needs; 0 is any.
func (o Options) wantMajor() int {
	if o.Ephemeral {
		return 0
	}
	return clusterMajor(filepath.Join(o.DataDir, "data"))
}

// findInstalled returns the newest installation in the folders that the
// patterns match, of a major version (0 is any) and with a pgvector at least
// at the floor. The error tells why each that was found will not do.
func findInstalled(ctx context.Context, patterns []string, major int) (installation, error) {
	var found []installation
	var refused []error
	for _, pattern := range patterns {
		folders, err := filepath.Glob(pattern)
		if err != nil {
			return installation{}, err
		}
		for _, bin := range folders {
			inst, err := inspectInstalled(ctx, bin)
			switch {
			case err != nil:
				refused = append(refused, fmt.Errorf("%s: %w", bin, err))
			case major != 0 && inst.major != major:
				refused = append(refused, fmt.Errorf("%s: is PostgreSQL %d, the data folder needs %d", bin, inst.major, major))
			default:
				found = append(found, inst)
			}
		}
	}
	if len(found) == 0 {
		return installation{}, unavailable("none found", refused)
	}
	return slices.MaxFunc(found, func(a, b installation) int { return a.major - b.major }), nil
}

func inspectInstalled(ctx context.Context, bin string) (installation, error) {
	major, err := serverMajor(ctx, bin)
	if err != nil {
		return installation{}, err
	}
	if _, err := exec.LookPath(filepath.Join(bin, "initdb")); err != nil {
		return installation{}, err
	}
	have, err := vectorOf(ctx, bin, major)
	if err != nil {
		return installation{}, err
	}
	if have.before(vectorFloor) {
		return installation{}, fmt.Errorf("%w, it has %s", ErrVectorTooOld, have)
	}
	return installation{bin: bin, major: major}, nil
}

var versionLine = regexp.MustCompile(`^postgres \(PostgreSQL\) (\d+)`)

func serverMajor(ctx context.Context, bin string) (int, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return 0, err
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("postgres --version said %.80q", out)
	}
	return strconv.Atoi(string(m[1]))
}

// vectorOf reads the version of the pgvector that belongs to bin. Where the
// shared files are differs between packagers; pg_config knows, if it is there.
func vectorOf(ctx context.Context, bin string, major int) (version, error) {
	shared := []string{
		filepath.Join(bin, fmt.Sprintf("../../../../share/postgresql/%d", major)),
		filepath.Join(bin, "../share/postgresql"),
		filepath.Join(bin, "../share"),
	}
	if out, err := exec.CommandContext(ctx, filepath.Join(bin, "pg_config"), "--sharedir").Output(); err == nil {
		shared = append(shared, strings.TrimSpace(string(out)))
	}
	for _, dir := range shared {
		f, err := os.Open(filepath.Join(dir, "extension", "vector.control"))
		if err != nil {
			continue
		}
		defer f.Close()
		v, err := controlVersion(f)
		if err != nil {
			return version{}, fmt.Errorf("%s: %w", f.Name(), err)
		}
		return v, nil
	}
	return version{}, fmt.Errorf("%w, it has none", ErrVectorTooOld)
}
