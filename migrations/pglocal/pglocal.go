// Package pglocal gets a PostgreSQL with pgvector for development and tests
// on a machine where there may be none. It looks, in this order, for
//
//  1. a database that was named by the caller (StartURL),
//  2. a container engine that answers (StartDocker),
//  3. an installed server whose pgvector is new enough (StartLocal),
//  4. Debian packages, which it unpacks into a private folder and runs from
//     there without touching the system (StartPrivate).
//
// The servers of ways 3 and 4 listen on a unix socket inside a folder that
// only their own account and root can enter, and are children of this
// process: they end with it, however it ends. Nothing here needs root; under
// root the server runs as an unprivileged account, because PostgreSQL refuses
// root.
//
// The package reads no environment variables: whoever calls it says where
// things are. Migrating and provisioning a database is left to package
// migrations, databases for single tests to package pgtest.
package pglocal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
)

// Kinds of server, as told by Server.Kind.
const (
	KindURL     = "url"     // the caller's own
	KindDocker  = "docker"  // a container
	KindLocal   = "local"   // an installed server, as our child
	KindPrivate = "private" // unpacked packages, as our child
)

var (
	// ErrNoServer says that none of the ways led to a server. The error's
	// text holds the reason for each and what a user can install.
	ErrNoServer = errors.New("no PostgreSQL with pgvector can be had")

	// ErrVectorTooOld says that a server has no pgvector, or one below the floor.
	ErrVectorTooOld = errors.New("pgvector " + vectorFloor.String() + " or newer is needed")

	// ErrInUse says that another process runs a server on the same data folder.
	ErrInUse = errors.New("data folder is in use")

	// ErrAccount says that the account that would run the server cannot:
	// it has no passwd entry, or it cannot reach a folder it needs.
	ErrAccount = errors.New("account cannot run PostgreSQL")

	// errUnavailable marks a way that is not open on this machine, so that
	// the next one is tried; any other error of a way is final.
	errUnavailable = errors.New("not available")
)

// Options says what to start and where. The zero value is not usable: set
// DatabaseURL, or CacheDir and one of DataDir and Ephemeral.
type Options struct {
	// DatabaseURL, when not empty, is used as it is and nothing is started.
	DatabaseURL string

	// CacheDir is where packages are unpacked and kept, about 95 MB. Many
	// processes may share one. See DefaultCacheDir.
	CacheDir string

	// DataDir keeps the cluster, its log and its lock between runs. It is
	// created when absent. One server at a time can run on it.
	DataDir string

	// Ephemeral asks for an empty cluster in a temporary folder, fast and not
	// crash safe, which is removed on Close or when this process ends.
	// DataDir is then ignored.
	Ephemeral bool

	// NoDocker leaves out the second way.
	NoDocker bool

	// Image is the container image of the second way; default DefaultImage.
	Image string

	// TempDir holds ephemeral clusters; default os.TempDir().
	TempDir string

	// Log receives progress, one line at a time; default io.Discard.
	// It is never written to by two goroutines at once.
	Log io.Writer
}

// Server is a PostgreSQL that accepts connections and has pgvector at least
// at the floor. All methods may be called from several goroutines.
type Server struct {
	URL           string   // connects as superuser to database postgres; a given DatabaseURL unchanged
	Kind          string   // one of the Kind constants
	VectorVersion string   // of the extension in the database, or else of the one it would create
	Warnings      []string // what the user should know but need not act on at once

	exited <-chan struct{}             // closed when the server ended; nil when that cannot be known
	stop   func(context.Context) error // nil for the caller's own server
	once   sync.Once
	err    error
}

// Start finds a server in the order of the package comment. ctx bounds the
// starting only: the server runs until Close, or until this process ends.
//
// A way that is not open on this machine is passed over; an error of a way
// that is open is returned. When no way is open the error is ErrNoServer.
// A DataDir that already holds a cluster stays with the ways that made it,
// so that a container engine that appears later does not hide its data.
func Start(ctx context.Context, opts Options) (*Server, error) {
	if opts.DatabaseURL != "" {
		return StartURL(ctx, opts)
	}
	var reasons []error
	for _, way := range opts.ways() {
		s, err := way(ctx, opts)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, errUnavailable) || ctx.Err() != nil {
			return nil, err
		}
		reasons = append(reasons, err)
	}
	return nil, fmt.Errorf("%w:\n%w\n%s", ErrNoServer, errors.Join(reasons...), hint)
}

type way func(context.Context, Options) (*Server, error)

func (o Options) ways() []way {
	if o.NoDocker || (!o.Ephemeral && clusterMajor(filepath.Join(o.DataDir, "data")) != 0) {
		return []way{StartLocal, StartPrivate}
	}
	return []way{StartDocker, StartLocal, StartPrivate}
}

// StartURL checks the server at opts.DatabaseURL and returns it as it is.
// Its Close does nothing.
func StartURL(ctx context.Context, opts Options) (*Server, error) {
	s := &Server{URL: opts.DatabaseURL, Kind: KindURL}
	if err := s.inspect(ctx); err != nil {
		return nil, fmt.Errorf("given database: %w", err)
	}
	return s, nil
}

// Close ends the server and waits for it: with a checkpoint when its data is
// kept, at once when it is ephemeral, and then its folder is gone too. Only
// the first call does something; the others wait and return the same error.
// When ctx ends first the server is killed, which loses no committed data.
func (s *Server) Close(ctx context.Context) error {
	s.once.Do(func() {
		if s.stop != nil {
			s.err = s.stop(ctx)
		}
	})
	return s.err
}

// Exited is closed when a server that we started ends, with or without Close.
// It is nil, and so blocks for ever, for kinds "url" and "docker".
func (s *Server) Exited() <-chan struct{} { return s.exited }

// DefaultCacheDir tells where packages belong for a user. Root's are kept
// where the unprivileged account that runs the server can reach them, which
// root's home is not. xdg is the value of XDG_CACHE_HOME and may be empty.
func DefaultCacheDir(uid int, home, xdg string) string {
	switch {
	case uid == 0:
		return "/var/tmp/tars"
	case xdg != "":
		return filepath.Join(xdg, "tars")
	default:
		return filepath.Join(home, ".cache", "tars")
	}
}

const hint = `Any of these will do:
  - set DATABASE_URL to a PostgreSQL that has pgvector
  - start Docker
  - Debian 13 and later:  sudo apt-get install postgresql-17-pgvector
  - Ubuntu (untested):    sudo apt-get install postgresql-common &&
                          sudo /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y &&
                          sudo apt-get install postgresql-17-pgvector
  - macOS (untested):     brew install postgresql@17 pgvector`
