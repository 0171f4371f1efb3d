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
// programs run here, after the seal is closed, from what the seal left open. Run
// returns the exit code, and the caller must end the process with it at once:
// guests may still be running.
func Run(args []string, engine func(seal.Report) vmhost.Driver) int {
	conn, report, err := enter(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tars cell:", err)
		return exitSeal
	}
	s := newServer(conn, engine(report), fit)
	if err := s.serve(); err != nil {
		return exitProtocol
	}
	return exitOK
}

// enter closes the seal and says so.
func enter(args []string) (io.ReadWriter, seal.Report, error) {
	plan, err := seal.ParseArgs(args)
	if err != nil {
		return nil, seal.Report{}, err
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

// fit fits the runtime to what the host allows.
func fit(m wire.Setup) {
	runtime.GOMAXPROCS(int(m.Procs))
	debug.SetMemoryLimit(m.Memory / 10 * 9)
}
