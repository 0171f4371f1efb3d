//go:build amd64 || arm64

package cell

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/tars-project/tars/vmhost"
)

// TestGoneProcess: nothing is asked of or done to a process id that may be somebody
// else's by now.
func TestGoneProcess(t *testing.T) {
	wire, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	thread := newSpawner()
	defer thread.close()
	p := &process{cmd: exec.Command("/bin/true"), wire: wire, ended: make(chan struct{})}
	if err := thread.start(p); err != nil {
		t.Fatal(err)
	}
	if exit := p.Wait(); exit.Code != 0 || exit.Signal != 0 {
		t.Errorf("Wait = %+v, want a good end", exit)
	}
	if _, err := p.Usage(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Usage of a process that is gone = %v, want ErrProcessDone", err)
	}
	if err := p.Adopt(Adoption{Account: vmhost.Account("a"), Memory: 1 << 20, CPUs: 1}); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Adopt of a process that is gone = %v, want ErrProcessDone", err)
	}
	p.Kill() // does nothing to anybody
}
