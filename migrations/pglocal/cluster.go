package pglocal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// installation is a set of PostgreSQL programs that has pgvector.
type installation struct {
	bin   string // folder of initdb and postgres
	major int    // PostgreSQL's major version
}

// cluster is a folder with all that belongs to one server: data, run (its
// socket), server.log and lock.
type cluster struct {
	installation
	account
	dir       string // absolute, without symbolic links
	socketDir string
	ephemeral bool
	log       *progress
}

// startCluster starts a server of an installation on opts' folder, which it
// makes and fills when needed.
func startCluster(ctx context.Context, opts Options, inst installation) (s *Server, err error) {
	acct, err := serverAccount()
	if err != nil {
		return nil, err
	}
	c := cluster{installation: inst, account: acct, ephemeral: opts.Ephemeral, log: newProgress(opts.Log)}
	if err := c.makeDir(opts); err != nil {
		return nil, fmt.Errorf("cluster folder: %w", err)
	}
	lock, err := tryLock(filepath.Join(c.dir, "lock"))
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("%s: %w", c.dir, ErrInUse)
	} else if err != nil {
		return nil, err
	}
	run := &running{cluster: c, lock: lock}
	defer func() {
		if err != nil {
			err = errors.Join(err, run.stop(context.WithoutCancel(ctx)))
		}
	}()
	if err := run.start(ctx); err != nil {
		return nil, err
	}
	s = &Server{URL: run.url(), exited: run.server.exited, stop: run.stop}
	return s, s.inspect(ctx)
}

// makeDir makes the cluster's folder and fills dir and socketDir.
func (c *cluster) makeDir(opts Options) error {
	dir := opts.DataDir
	if c.ephemeral {
		var err error
		if dir, err = os.MkdirTemp(opts.TempDir, "tars-pg-"); err != nil {
			return err
		}
		if err := c.own(dir); err != nil {
			return errors.Join(err, os.Remove(dir))
		}
	} else {
		if dir == "" {
			return errors.New("neither DataDir nor Ephemeral is set")
		}
		mode := os.FileMode(0o700)
		if c.switched {
			mode = 0o755 // for the account to pass; what it holds is closed to others
		}
		if err := os.MkdirAll(dir, mode); err != nil {
			return err
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if c.dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	c.socketDir = socketDir(c.dir)
	return nil
}

// plainPath has nothing that lists of folders or hosts, or URLs, would read
// as more than a name.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9/._-]+$`)

// socketDir is a folder of the cluster, or one below /tmp if the path would
// not fit a socket address (108 bytes on Linux, 104 elsewhere) or is not plain.
func socketDir(dir string) string {
	const most = 103
	inside := filepath.Join(dir, "run")
	if len(inside)+len("/.s.PGSQL.5432.lock") <= most && plainPath.MatchString(inside) {
		return inside
	}
	return fmt.Sprintf("/tmp/tars-pg-%x", sha256.Sum256([]byte(dir)))[:len("/tmp/tars-pg-")+16]
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

// url is the superuser's address. The name stands where other code that
// derives addresses for other roles looks for it.
func (c *cluster) url() string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/postgres"}
	u.RawQuery = url.Values{"host": {c.socketDir}, "port": {"5432"}, "sslmode": {"disable"}}.Encode()
	return u.String()
}

// clusterMajor is the version that made a data folder; 0 if there is none.
func clusterMajor(data string) int {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if err != nil {
		return 0
	}
	major, _ := strconv.Atoi(string(bytes.TrimSpace(text)))
	return major
}

// command is a program of the installation, run as the account, with an
// environment that is the same everywhere.
func (c *cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = c.attr()
	return cmd
}

// initialise makes the data folder, whole or not at all.
func (c *cluster) initialise(ctx context.Context) error {
	if clusterMajor(c.data()) != 0 {
		return nil
	}
	fresh := filepath.Join(c.dir, "data.new")
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := c.mkdir(fresh); err != nil {
		return err
	}
	args := []string{"-D", fresh, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-instructions"}
	if runtime.GOOS == "linux" {
		args = append(args, "--locale=C.UTF-8")
	} else {
		args = append(args, "--locale=en_US.UTF-8", "--lc-collate=C")
	}
	if c.ephemeral {
		args = append(args, "--no-sync")
	}
	var out bytes.Buffer
	cmd := c.command("initdb", args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := c.log.during("making a new cluster", nil, func() error { return runToEnd(ctx, cmd) })
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, tail(out.Bytes()))
	}
	return os.Rename(fresh, c.data())
}

// runToEnd runs a command that must not outlive ctx or this process, and
// neither may its own children.
func runToEnd(ctx context.Context, cmd *exec.Cmd) error {
	cmd.WaitDelay = 5 * time.Second // for pipes that a grandchild holds open
	ch, err := startChild(cmd, syscall.SIGKILL)
	if err != nil {
		return err
	}
	select {
	case <-ch.exited:
		return ch.err
	case <-ctx.Done():
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its whole group
		<-ch.exited
		return ctx.Err()
	}
}

// running is a cluster whose lock we hold and whose server may be up.
type running struct {
	cluster
	lock     *fileLock
	watchdog *watchdog
	server   *child
	logFile  *os.File
}

func (r *running) start(ctx context.Context) (err error) {
	sig, after := "INT", "keep"
	if r.ephemeral {
		sig, after = "QUIT", "remove"
	}
	if r.watchdog, err = startWatchdog(r, clusterScript, r.dir, sig, after); err != nil {
		return err
	}
	for _, dir := range []string{r.bin, r.dir} {
		if err := r.reaches(ctx, dir); err != nil {
			return err
		}
	}
	if err := r.initialise(ctx); err != nil {
		return err
	}
	if err := r.clearOrphans(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(r.socketDir); err != nil { // with a dead server's socket
		return err
	}
	if err := r.mkdir(r.socketDir); err != nil {
		return err
	}
	return r.launch(ctx)
}

func (r *running) launch(ctx context.Context) (err error) {
	if r.logFile, err = openLog(filepath.Join(r.dir, "server.log")); err != nil {
		return err
	}
	begin, err := r.logFile.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	args := []string{"-D", r.data(), "-p", "5432"}
	for _, s := range r.settings() {
		args = append(args, "-c", s)
	}
	cmd := r.command("postgres", args...)
	cmd.Stdout, cmd.Stderr = r.logFile, r.logFile
	sig := syscall.SIGINT // fast shutdown: a checkpoint, then the end
	if r.ephemeral {
		sig = syscall.SIGQUIT // immediate shutdown
	}
	if r.server, err = startChild(cmd, sig); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	if err := r.log.during("starting the server", nil, func() error { return r.ready(ctx) }); err != nil {
		text, _ := os.ReadFile(r.logFile.Name())
		return fmt.Errorf("start postgres: %w: %s", err, tail(text[min(begin, int64(len(text))):]))
	}
	return nil
}

func (r *running) settings() []string {
	s := []string{
		"listen_addresses=", // the socket only
		"unix_socket_directories=" + r.socketDir,
		"unix_socket_permissions=0700",
		"logging_collector=off",
		"jit=off", // costs more than it gains on short queries
	}
	if r.ephemeral {
		s = append(s, "fsync=off", "full_page_writes=off", "synchronous_commit=off",
			"wal_level=minimal", "max_wal_senders=0", "max_connections=200")
	}
	return s
}

// ready waits until the server answers. Recovery after a crash may take long,
// so only ctx and the server's own end bound the wait while the socket is not
// there or the server says that it is starting; any other answer is an error.
func (r *running) ready(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, r.url())
		if err == nil {
			return conn.Close(ctx)
		}
		if !comingUp(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.server.exited:
			return fmt.Errorf("it ended: %w", r.server.err)
		case <-tick.C:
		}
	}
}

// comingUp tells whether a failure to connect is that of a server that starts:
// no socket yet, no listener yet, or cannot_connect_now.
func comingUp(err error) bool {
	var told *pgconn.PgError
	if errors.As(err, &told) {
		return told.Code == "57P03"
	}
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF)
}

// stop undoes start from wherever it got to, and lets the folder go.
func (r *running) stop(ctx context.Context) error {
	if r.server != nil {
		r.endServer(ctx)
	}
	var errs []error
	if r.logFile != nil {
		errs = append(errs, r.logFile.Close())
	}
	errs = append(errs, os.RemoveAll(r.socketDir))
	if r.ephemeral {
		errs = append(errs, os.RemoveAll(r.dir))
	}
	r.lock.unlock()
	if r.watchdog != nil {
		errs = append(errs, r.watchdog.finish())
	}
	return errors.Join(errs...)
}

func (r *running) endServer(ctx context.Context) {
	if r.ephemeral {
		r.server.signal(syscall.SIGQUIT)
	} else {
		r.server.signal(syscall.SIGINT)
	}
	select {
	case <-r.server.exited:
		return
	case <-ctx.Done():
	}
	r.server.signal(syscall.SIGQUIT) // no checkpoint: the log is replayed at the next start
	patience := time.NewTimer(5 * time.Second)
	defer patience.Stop()
	select {
	case <-r.server.exited:
	case <-patience.C:
		r.server.signal(syscall.SIGKILL)
		<-r.server.exited
	}
}

// openLog opens the server's log for appending; a long one is put aside first.
func openLog(path string) (*os.File, error) {
	const most = 16 << 20
	if info, err := os.Stat(path); err == nil && info.Size() > most {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// tail is the end of a program's output, for an error's text.
func tail(text []byte) string {
	const most = 1000
	text = bytes.TrimSpace(text)
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return string(text)
}
