// Package cell is the [vmhost.Driver] of production: each loaded program runs
// in a process of its own that has been sealed off before it read a byte of its
// owner's. The process is this binary again, started as "tars cell".
//
// A [Launcher] starts processes in a jail; a session is the host's end of the
// wire to one of them; a program keeps one session, starts it when a call needs
// it, ends it when it is idle, and starts it again when it has died. What the
// process does inside is in vmhost/cell/worker, how it is sealed in
// vmhost/cell/seal, what is spoken in vmhost/cell/wire.
//
// A guest ends at its deadline by the meter inside (vmhost/wasm). That is not
// relied on: a call that passes its deadline by the grace takes the cell with it,
// since native code that runs without end stops its process's garbage collector
// and with that the other calls in it; those are tried once more in a new cell.
//
// Nothing that comes from a cell is believed. What breaks the protocol or a
// limit, or does not answer, is killed and never used again.
package cell

import (
	"os"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/seal"
	"github.com/tars-project/tars/vmhost/cell/worker"
	"github.com/tars-project/tars/vmhost/wazerovm"
)

// Task is work of the binary's own for [Driver.Do]; see [worker.Task].
type Task = worker.Task

// Main is the "cell" command: what runs inside. The program must call it before
// anything else when its first argument is "cell", and end with the code that
// it returns at once. tasks are those that [Driver.Do] may name.
func Main(tasks map[string]Task) int {
	return worker.Run(os.Args[2:], func(r seal.Report) vmhost.Driver {
		return wazerovm.New(&wazerovm.Files{Pagemap: r.Pagemap, Images: r.Images})
	}, tasks)
}
