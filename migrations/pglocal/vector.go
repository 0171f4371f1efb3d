package pglocal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// version is a pgvector release, x.y.z; a part left out counts as zero.
type version [3]int

var (
	// vectorFloor has iterative index scans, without which a filtered search
	// over an HNSW index silently returns too few rows.
	vectorFloor = version{0, 8, 0}
	// vectorGood is past a buffer overflow in parallel builds (fixed in
	// 0.8.2) and index corruption on vacuum (fixed in 0.8.4).
	vectorGood = version{0, 8, 6}
)

// parseVersion reads one to three decimal numbers separated by dots.
func parseVersion(s string) (version, error) {
	var v version
	parts := strings.Split(s, ".")
	if len(parts) > len(v) {
		return version{}, fmt.Errorf("version %q: more than %d parts", s, len(v))
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil {
			return version{}, fmt.Errorf("version %q: part %d is no number", s, i+1)
		}
		v[i] = int(n)
	}
	return v, nil
}

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

func (v version) before(w version) bool {
	for i := range v {
		if v[i] != w[i] {
			return v[i] < w[i]
		}
	}
	return false
}

// controlVersion reads default_version out of an extension's control file.
func controlVersion(r io.Reader) (version, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if !ok || strings.TrimSpace(name) != "default_version" {
			continue
		}
		value, _, _ = strings.Cut(value, "#")
		return parseVersion(strings.Trim(strings.TrimSpace(value), "'"))
	}
	if err := lines.Err(); err != nil {
		return version{}, err
	}
	return version{}, errors.New("no default_version")
}

// checkVector applies the floor to the version that a server told, which is
// empty when it has no pgvector. The string is a warning, or empty.
func checkVector(told string) (string, error) {
	if told == "" {
		return "", fmt.Errorf("%w, the server has none", ErrVectorTooOld)
	}
	v, err := parseVersion(told)
	if err != nil {
		return "", fmt.Errorf("pgvector: %w", err)
	}
	switch {
	case v.before(vectorFloor):
		return "", fmt.Errorf("%w, the server has %s", ErrVectorTooOld, v)
	case v.before(vectorGood):
		return fmt.Sprintf("pgvector %s has known faults in parallel index builds (before 0.8.2) "+
			"and in vacuum (before 0.8.4): upgrade to %s or newer", v, vectorGood), nil
	}
	return "", nil
}

const vectorVersionSQL = `
select coalesce(
    (select extversion from pg_extension where extname = 'vector'),
    (select default_version from pg_available_extensions where name = 'vector'),
    '')`

// inspect connects once and fills VectorVersion and Warnings.
func (s *Server) inspect(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.URL)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := conn.QueryRow(ctx, vectorVersionSQL).Scan(&s.VectorVersion); err != nil {
		return fmt.Errorf("ask for pgvector's version: %w", err)
	}
	warning, err := checkVector(s.VectorVersion)
	if err != nil {
		return err
	}
	if warning != "" {
		s.Warnings = append(s.Warnings, warning)
	}
	return nil
}
