package wazerovm

import (
	"context"
	"encoding/binary"

	"github.com/tars-project/tars/vmhost/wasm"
)

// WASI preview 1 as far as a language runtime needs it to come up, and no
// further: there is a clock, there are random numbers, standard output and
// standard error go to the log, standard input is at its end, arguments and
// environment are empty. There are no files, no folders and no sockets: every
// other function is there to be linked, and fails as it does for a file that is
// not open. All state is in the vm, which ends with the call.
//
// A pointer of the guest that lies outside its memory fails with errnoFault, as
// the specification has it.

// errno is an error number of WASI preview 1.
type errno uint32

const (
	errnoSuccess   errno = 0
	errnoBadFile   errno = 8
	errnoFault     errno = 21
	errnoInvalid   errno = 28
	errnoNoSyscall errno = 52
)

// wasiFunction is a function of WASI that returns an error number.
type wasiFunction func(ctx context.Context, v *vm, args []uint64) errno

// wasiFunctions returns a body for each function of WASI preview 1.
func wasiFunctions() map[string]hostFunction {
	implemented := map[string]wasiFunction{
		"args_get":            nothing,
		"args_sizes_get":      twoZeros,
		"environ_get":         nothing,
		"environ_sizes_get":   twoZeros,
		"clock_res_get":       clockResolution,
		"clock_time_get":      clockTime,
		"fd_close":            openFile,
		"fd_datasync":         openFile,
		"fd_fdstat_get":       fileStatus,
		"fd_fdstat_set_flags": openFile,
		"fd_read":             readFile,
		"fd_sync":             openFile,
		"fd_write":            writeFile,
		"poll_oneoff":         poll,
		"proc_raise":          noSyscall,
		"random_get":          randomBytes,
		"sched_yield":         nothing,
	}
	functions := map[string]hostFunction{"proc_exit": exit}
	for name := range wasm.PluginImports()[wasm.WASIModule] {
		if name == "proc_exit" {
			continue
		}
		body, ok := implemented[name]
		if !ok {
			body = noSuchFile
		}
		functions[name] = func(ctx context.Context, v *vm, stack []uint64) { stack[0] = uint64(body(ctx, v, stack)) }
	}
	return functions
}

func nothing(context.Context, *vm, []uint64) errno    { return errnoSuccess }
func noSuchFile(context.Context, *vm, []uint64) errno { return errnoBadFile }
func noSyscall(context.Context, *vm, []uint64) errno  { return errnoNoSyscall }

// twoZeros is args_sizes_get and environ_sizes_get: no strings, of no bytes.
func twoZeros(_ context.Context, v *vm, args []uint64) errno {
	if e := v.put32(uint32(args[0]), 0); e != errnoSuccess {
		return e
	}
	return v.put32(uint32(args[1]), 0)
}

// isStream reports whether a descriptor is one of standard input, output and
// error, which are all that is open.
func isStream(fd uint64) bool { return uint32(fd) <= 2 }

// openFile does nothing to an open file.
func openFile(_ context.Context, _ *vm, args []uint64) errno {
	if !isStream(args[0]) {
		return errnoBadFile
	}
	return errnoSuccess
}

// fileStatus is fd_fdstat_get: a terminal, so that C buffers by the line, which
// can only be read or only be written.
func fileStatus(_ context.Context, v *vm, args []uint64) errno {
	const (
		size            = 24
		characterDevice = 2
		rightRead       = 1 << 1
		rightWrite      = 1 << 6
	)
	if !isStream(args[0]) {
		return errnoBadFile
	}
	b, err := v.memory.view().span(uint32(args[1]), size)
	if err != nil {
		return errnoFault
	}
	clear(b)
	b[0] = characterDevice
	rights := uint64(rightWrite)
	if uint32(args[0]) == 0 {
		rights = rightRead
	}
	binary.LittleEndian.PutUint64(b[8:], rights)
	return errnoSuccess
}

// readFile is fd_read: standard input is at its end.
func readFile(_ context.Context, v *vm, args []uint64) errno {
	if uint32(args[0]) != 0 {
		return errnoBadFile
	}
	return v.put32(uint32(args[3]), 0)
}

// writeFile is fd_write: to the log.
func writeFile(_ context.Context, v *vm, args []uint64) errno {
	const (
		maxVectors = 1024 // as many as the usual systems take
		vectorSize = 8
	)
	fd, count := uint32(args[0]), uint32(args[2])
	if fd != 1 && fd != 2 {
		return errnoBadFile
	}
	if count > maxVectors {
		return errnoInvalid
	}
	mem := v.memory.view()
	vectors, err := mem.span(uint32(args[1]), count*vectorSize)
	if err != nil {
		return errnoFault
	}
	var written uint32
	for ; len(vectors) > 0; vectors = vectors[vectorSize:] {
		b, err := mem.span(pair(vectors))
		if err != nil {
			return errnoFault
		}
		if uint64(written)+uint64(len(b)) > uint64(len(mem)) {
			break // the same bytes over and over: a short write
		}
		v.streams.write(int(fd)-1, b)
		written += uint32(len(b))
	}
	return v.put32(uint32(args[3]), written)
}

// randomBytes is random_get.
func randomBytes(ctx context.Context, v *vm, args []uint64) errno {
	const chunk = 64 << 10 // between looks at ctx
	b, err := v.memory.view().span(uint32(args[0]), uint32(args[1]))
	if err != nil {
		return errnoFault
	}
	for len(b) > 0 {
		v.endIfDone(ctx)
		n := min(len(b), chunk)
		_, _ = v.random.Read(b[:n]) // neither source fails: crypto/rand ends the process instead
		b = b[n:]
	}
	return errnoSuccess
}

// exit is proc_exit. A plugin is called many times and has nothing to exit
// from, whatever the code: it is how language runtimes end after a panic or
// when memory runs out.
func exit(_ context.Context, v *vm, stack []uint64) {
	v.end(v.trap("the guest called proc_exit with code %d", uint32(stack[0])))
}

// endIfDone ends the call if its context has ended: host functions that take
// long look for themselves.
func (v *vm) endIfDone(ctx context.Context) {
	if ctx.Err() != nil {
		v.end(v.fault(ctx, ctx.Err()))
	}
}

// put32 writes a number for the guest.
func (v *vm) put32(ptr, n uint32) errno {
	b, err := v.memory.view().span(ptr, 4)
	if err != nil {
		return errnoFault
	}
	binary.LittleEndian.PutUint32(b, n)
	return errnoSuccess
}

// put64 writes a number for the guest.
func (v *vm) put64(ptr uint32, n uint64) errno {
	b, err := v.memory.view().span(ptr, 8)
	if err != nil {
		return errnoFault
	}
	binary.LittleEndian.PutUint64(b, n)
	return errnoSuccess
}
