package pglocal

import (
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
)

// watchdog is a small shell that outlives us by a moment. It reads a pipe of
// which only this process holds the other end; when that closes, because we
// closed it or because we were killed, it runs its script and ends. So what
// must not be left behind is not, whatever happens to us.
type watchdog struct {
	pipe  io.Closer
	owner any
	ended chan struct{} // closed when its script has run and err is set
	err   error
}

// clusterScript ends the server of a cluster folder ($1) with a signal ($2)
// and, if $3 is "remove", removes the folder. A process id from a file may
// have been given to another process since, hence the look at its directory.
const clusterScript = `
p=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$p" ] && { [ ! -e /proc/self/cwd ] || [ "$(readlink "/proc/$p/cwd")" = "$1/data" ]; }; then
    kill -s "$2" "$p"
fi
[ "$3" = remove ] || exit 0
n=0
while [ -n "$p" ] && kill -0 "$p" && [ $n -lt 50 ]; do sleep 0.1; n=$((n+1)); done
n=0
while rm -rf "$1"; [ -e "$1" ] && [ $n -lt 50 ]; do sleep 0.1; n=$((n+1)); done`

// startWatchdog starts one. Until it ends, owner and what that refers to are
// kept from the garbage collector, which would close forgotten files: the pipe
// and so the server, or a lock.
func startWatchdog(owner any, script string, args ...string) (*watchdog, error) {
	const untilClosed = "exec >/dev/null 2>&1\nwhile read -r _; do :; done\n"
	cmd := exec.Command("/bin/sh", append([]string{"-c", untilClosed + script, "tars-pg-watchdog"}, args...)...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C is not for it
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start watchdog: %w", err)
	}
	w := &watchdog{pipe: pipe, owner: owner, ended: make(chan struct{})}
	go func() {
		w.err = cmd.Wait()
		runtime.KeepAlive(w)
		close(w.ended)
	}()
	return w, nil
}

// finish lets the script run and waits for it. A script finds nothing left
// to do when we have cleaned up ourselves.
func (w *watchdog) finish() error {
	w.pipe.Close()
	<-w.ended
	return w.err
}
