package pglocal

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func startPrivate(t *testing.T, opts Options) *Server {
	t.Helper()
	s, err := StartPrivate(t.Context(), opts)
	if err != nil {
		t.Fatalf("StartPrivate() = %v", err)
	}
	t.Cleanup(func() { closeServer(t, s) })
	return s
}

func closeServer(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("Close() = %v", err)
	}
}

// socketOf is the folder of the socket that a URL names.
func socketOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("host")
}

func TestDataIsKept(t *testing.T) {
	opts := testOptions(t)
	opts.DataDir = filepath.Join(openDir(t), "data")
	s := startPrivate(t, opts)
	if s.Kind != KindPrivate || s.VectorVersion == "" {
		t.Errorf("StartPrivate() = kind %q with pgvector %q, want %q with a version", s.Kind, s.VectorVersion, KindPrivate)
	}
	run(t, s.URL, "create extension vector")
	run(t, s.URL, "create table kept as select '[1,2]'::vector v")
	closeServer(t, s)
	if !missing(socketOf(t, s.URL)) {
		t.Errorf("Close() left the socket's folder")
	}

	begin := time.Now()
	s = startPrivate(t, opts)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the second start took %v, want at most 5 s", took)
	}
	if got := query(t, s.URL, "select v::text from kept"); got != "[1,2]" {
		t.Errorf("after a restart the row is %s, want [1,2]", got)
	}
	for setting, want := range map[string]string{"jit": "off", "listen_addresses": "", "fsync": "on", "server_encoding": "UTF8"} {
		if got := query(t, s.URL, "show "+setting); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
}

func TestKilledServerKeepsCommits(t *testing.T) {
	opts := testOptions(t)
	opts.DataDir = filepath.Join(openDir(t), "data")
	s := startPrivate(t, opts)
	run(t, s.URL, "create table kept as select 'committed' as word")
	pid, err := strconv.Atoi(query(t, s.URL, "select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Exited()
	closeServer(t, s)
	s = startPrivate(t, opts)
	if got := query(t, s.URL, "select word from kept"); got != "committed" {
		t.Errorf("after kill -9 the row is %q, want \"committed\"", got)
	}
}

func TestKilledParent(t *testing.T) {
	opts := testOptions(t)
	opts.DataDir = filepath.Join(openDir(t), "data")
	h := startHelper(t, opts, nil)
	run(t, h.url, "create table kept as select 'committed' as word")
	if s, err := StartPrivate(t.Context(), opts); !errors.Is(err, ErrInUse) {
		t.Errorf("StartPrivate() on a folder in use = %v, %v, want ErrInUse", s, err)
	}
	if err := RemoveData(t.Context(), opts); !errors.Is(err, ErrInUse) {
		t.Errorf("RemoveData() on a folder in use = %v, want ErrInUse", err)
	}
	if err := h.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = h.cmd.Wait()
	s := startPrivate(t, opts) // at once, while the orphan shuts down
	if got := query(t, s.URL, "select word from kept"); got != "committed" {
		t.Errorf("after its parent's kill -9 the row is %q, want \"committed\"", got)
	}
	closeServer(t, s)
	if err := RemoveData(t.Context(), opts); err != nil || !missing(opts.DataDir) {
		t.Errorf("RemoveData() = %v, want the folder gone", err)
	}
	if err := RemoveData(t.Context(), opts); err != nil {
		t.Errorf("RemoveData() of nothing = %v", err)
	}
}

func TestEphemeralLeavesNothing(t *testing.T) {
	opts := testOptions(t)
	opts.Ephemeral = true
	t.Run("closed", func(t *testing.T) {
		opts.TempDir = openDir(t)
		s := startPrivate(t, opts)
		if got := query(t, s.URL, "show fsync"); got != "off" {
			t.Errorf("fsync = %q, want off", got)
		}
		closeServer(t, s)
		if left, _ := os.ReadDir(opts.TempDir); len(left) != 0 {
			t.Errorf("Close() left %v", left)
		}
	})
	t.Run("parent killed", func(t *testing.T) {
		opts.TempDir = openDir(t)
		h := startHelper(t, opts, nil)
		data := filepath.Join(filepath.Dir(socketOf(t, h.url)), "data")
		if pids, err := processesIn(data); err != nil || len(pids) == 0 {
			t.Fatalf("processesIn(%s) = %v, %v, want the server", data, pids, err)
		}
		if err := h.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "folder and processes are gone", func() bool {
			left, err := os.ReadDir(opts.TempDir)
			pids, pidsErr := processesIn(data)
			return err == nil && pidsErr == nil && len(left) == 0 && len(pids) == 0
		})
	})
	t.Run("cancelled", func(t *testing.T) {
		opts.TempDir = openDir(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := StartPrivate(ctx, opts)
			done <- err
		}()
		eventually(t, "initdb has begun", func() bool {
			found, _ := filepath.Glob(filepath.Join(opts.TempDir, "*/data.new/*"))
			return len(found) > 0
		})
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("StartPrivate() = %v, want context.Canceled", err)
		}
		if left, _ := os.ReadDir(opts.TempDir); len(left) != 0 {
			t.Errorf("a cancelled start left %v", left)
		}
	})
}

func TestAwkwardFolders(t *testing.T) {
	opts := testOptions(t)
	for _, name := range []string{strings.Repeat("long/", 30) + "data", "comma,and \"quote\"", "späce ünd 'quote'"} {
		t.Run(name, func(t *testing.T) {
			opts.DataDir = filepath.Join(openDir(t), name)
			s := startPrivate(t, opts)
			query(t, s.URL, "select 'answers'")
			closeServer(t, s)
			if dir := socketOf(t, s.URL); !missing(dir) {
				t.Errorf("Close() left %s", dir)
			}
		})
	}
}

// A crash leaves the number of a process that may since be another's.
func TestStalePostmasterPID(t *testing.T) {
	opts := testOptions(t)
	opts.DataDir = filepath.Join(openDir(t), "data")
	closeServer(t, startPrivate(t, opts))
	stale := fmt.Sprintf("%d\n%s/data\n1700000000\n5432\n%s/run\n\n", os.Getppid(), opts.DataDir, opts.DataDir)
	if err := os.WriteFile(filepath.Join(opts.DataDir, "data", "postmaster.pid"), []byte(stale), 0o644); err != nil {
		t.Fatal(err)
	}
	s := startPrivate(t, opts)
	query(t, s.URL, "select 'answers'")
}

// Under root the server runs as another; here its parent is that other too.
func TestUnprivileged(t *testing.T) {
	opts := testOptions(t)
	opts.DataDir = filepath.Join(openDir(t), "data")
	acct, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	var as *syscall.Credential
	if acct.switched {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		if acct, err = newAccount(nobody); err != nil {
			t.Fatal(err)
		}
		as = &syscall.Credential{Uid: uint32(acct.uid), Gid: uint32(acct.gid)}
		if err := os.Mkdir(opts.DataDir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(opts.DataDir, acct.uid, acct.gid); err != nil {
			t.Fatal(err)
		}
	}
	h := startHelper(t, opts, as)
	query(t, h.url, "select 'answers'")
	info, err := os.Stat(filepath.Join(opts.DataDir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != acct.uid {
		t.Errorf("the data folder belongs to %d, want %d", owner, acct.uid)
	}
}

func TestSocketIsClosedToOthers(t *testing.T) {
	opts := testOptions(t)
	opts.Ephemeral, opts.TempDir = true, openDir(t)
	s := startPrivate(t, opts)
	info, err := os.Stat(socketOf(t, s.URL))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("the socket's folder has mode %o, want 700", got)
	}
}

func TestAccounts(t *testing.T) {
	if a, err := lookupAccount(987654321); !errors.Is(err, ErrAccount) {
		t.Errorf("lookupAccount(uid without passwd entry) = %v, %v, want ErrAccount", a, err)
	}
	acct, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	if acct.uid == 0 {
		t.Errorf("serverAccount() is root")
	}
	closed := filepath.Join(openDir(t), "closed")
	if err := os.Mkdir(closed, 0); err != nil {
		t.Fatal(err)
	}
	if err := acct.reaches(t.Context(), closed); !errors.Is(err, ErrAccount) {
		t.Errorf("reaches(folder closed to all) = %v, want ErrAccount", err)
	}
	if err := acct.reaches(t.Context(), "/"); err != nil {
		t.Errorf("reaches(/) = %v", err)
	}
}
