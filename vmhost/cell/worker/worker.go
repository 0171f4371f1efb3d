// Package worker is the inside of a cell: it closes the seal, then runs one
// program for the host at the other end of the wire. vmhost/cell starts it.
//
// It trusts the host and bounds itself by what the host told it; that the
// bounds hold when a guest has taken the worker over is the kernel's part and
// the host's.
package worker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/seal"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// Exit codes. Those of the runtime itself are 1 and 2.
const (
	exitOK       = 0  // the host said so, or is gone
	exitSeal     = 10 // the seal could not be closed; the reason is on the standard error
	exitProtocol = 11 // the host sent nonsense
)

// Run is the whole life of a worker process. The arguments are those of
// seal.Plan; the wire is descriptor seal.WireFD. engine makes the driver whose
// programs run here, after the seal is closed, from what the seal left open; tasks
// are what else may be asked of it. Run returns the exit code, and the caller must end the process with it at once:
// guests may still be running.
func Run(args []string, engine func(seal.Report) vmhost.Driver, tasks map[string]Task) int {
	plan, err := seal.ParseArgs(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tars cell:", err)
		return exitSeal
	}
	conn, report, err := enter(plan)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tars cell:", err)
		return exitSeal
	}
	if plan.Folder == seal.FolderWrite {
		err = serveCompile(conn, engine(report), report.Folder)
	} else {
		s := newServer(conn, engine(report), fit)
		s.folder, s.tasks = report.Folder, tasks
		err = s.serve()
	}
	if err != nil {
		return exitProtocol
	}
	return exitOK
}

// enter closes the seal and says so.
func enter(plan seal.Plan) (io.ReadWriter, seal.Report, error) {
	if plan.Folder == seal.FolderWrite {
		// A file that gets too long is an error of its writer, not the
		// end of the process.
		signal.Ignore(unix.SIGXFSZ)
	}
	os.Clearenv()
	// Not inherited by what might be executed, and watched by the runtime's
	// poller instead of blocking a thread; opens the poller before the
	// filter forbids that.
	unix.CloseOnExec(seal.WireFD)
	if err := unix.SetNonblock(seal.WireFD, true); err != nil {
		return nil, seal.Report{}, fmt.Errorf("wire: %w", err)
	}
	conn := os.NewFile(seal.WireFD, "wire")
	report, err := seal.Close(plan)
	if err != nil {
		return nil, seal.Report{}, err
	}
	hello := wire.Hello{
		Version: wire.Version, Namespaces: report.Namespaces,
		LandlockABI: uint32(report.LandlockABI), Took: report.Took,
	}
	if err := wire.NewWriter(conn).Write(wire.OpHello, 0, 0, hello.Append(nil)); err != nil {
		return nil, seal.Report{}, fmt.Errorf("hello: %w", err)
	}
	return conn, report, nil
}

// maxSkew is how far the machine's clock may be from the host's. In a jail they
// are the same; a machine that was restored from a saved state must have been
// told the time before it serves guests that may see a clock.
const maxSkew = time.Minute

// checkSetUp refuses limits that make no sense.
func checkSetUp(m wire.Setup) error {
	const maxProcs = 1024 // far beyond what a host asks for; each costs memory
	if m.Memory <= 0 || m.Procs <= 0 || m.Procs > maxProcs {
		return errors.New("setup without limits that make sense")
	}
	if skew := time.Since(m.Wall).Abs(); skew > maxSkew {
		return fmt.Errorf("the clock is %v off the host's", skew)
	}
	return nil
}

// gcPercent lets garbage grow further than by default before it is collected:
// new instances leave 66 KB each, and collecting took two thirds of the processor
// time of a cell that made nothing else (187 µs a call against 59). The memory limit
// holds all the same.
const gcPercent = 400

// fit fits the runtime to what the host allows.
func fit(m wire.Setup) {
	runtime.GOMAXPROCS(int(m.Procs))
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(m.Memory / 10 * 9)
}
