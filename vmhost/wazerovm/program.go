package wazerovm

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/tars-project/tars/vmhost"
)

const (
	pageSize = 64 << 10
	// maxMemory keeps the size of a memory within 32 bits: at 4 GiB the
	// engine's own size calls return 0.
	maxMemory = 65535 * pageSize
)

// program is a compiled module in an engine of its own, so that nothing, not
// even a cache of code, is shared between programs.
type program struct {
	src     vmhost.Source
	runtime wazero.Runtime
	module  wazero.CompiledModule
	forget  func() // tells the driver that the program is gone

	mu     sync.Mutex
	closed bool
	calls  map[*vm]context.CancelCauseFunc
	idle   sync.WaitGroup // calls under way
	ended  sync.Once
	err    error // of closing the engine
}

var _ vmhost.Program = (*program)(nil)

// engine is how a module is run. Tests compare the ways.
type engine struct {
	metered       bool                    // by the meter of vmhost/wasm, as always in production
	ready         bool                    // the module has its meter already
	interruptible bool                    // by the engine's own look at the context in each loop, which costs tight loops a factor of 20 and more
	cache         wazero.CompilationCache // where compiled code is put and looked for; nil for nowhere
	room          int64                   // for code that is put there, bytes; for errors alone
}

// compile makes a program of a module. What goes wrong in it is the module's
// fault, or the engine's in face of the module: both refuse the module.
func compile(ctx context.Context, e engine, src vmhost.Source) (p *program, err error) {
	if src.Limits.Memory <= 0 || src.Limits.Memory%pageSize != 0 || src.Limits.Memory > maxMemory {
		return nil, refuse("memory limit of %d bytes: need a multiple of %d, at most %d", src.Limits.Memory, pageSize, int64(maxMemory))
	}
	background := context.WithoutCancel(ctx) // the engine outlives the load
	p = &program{src: src, calls: make(map[*vm]context.CancelCauseFunc), forget: func() {}}
	p.src.Module = nil // compiled below; not needed again
	defer func() {
		if r := recover(); r != nil {
			err = refuse("the engine cannot compile the module: %v", firstLine(fmt.Sprint(r)))
		}
		if err != nil && p.runtime != nil {
			_ = p.runtime.Close(background) // the reason for failing matters more
			p = nil
		}
	}()
	module := src.Module
	if e.metered && !e.ready {
		m, err := meterModule(src)
		if err != nil {
			return p, err
		}
		module = m.Module
	}
	p.runtime = wazero.NewRuntimeWithConfig(background, runtimeConfig(e))
	if p.module, err = p.runtime.CompileModule(background, module); err != nil {
		return p, e.fault(err)
	}
	if err := checkExports(p.module, src.Limits); err != nil {
		return p, err
	}
	if err := p.link(background, e.metered); err != nil {
		return p, fmt.Errorf("%w: link host functions: %w", vmhost.ErrUnavailable, err)
	}
	return p, ctx.Err()
}

// checkExports makes sure of what run relies on, whatever was checked before.
func checkExports(m wazero.CompiledModule, limits vmhost.Limits) error {
	memory, ok := m.ExportedMemories()[exportMemory]
	if !ok {
		return refuse("the module exports no memory by the name %q", exportMemory)
	}
	if need := int64(memory.Min()) * pageSize; need > limits.Memory {
		return refuse("the module starts with %d bytes of memory, its limit is %d", need, limits.Memory)
	}
	for _, f := range exportedFunctions() {
		def, ok := m.ExportedFunctions()[f.name]
		switch {
		case !ok && f.optional:
		case !ok:
			return refuse("the module exports no function by the name %q", f.name)
		case string(def.ParamTypes()) != string(f.params) || string(def.ResultTypes()) != string(f.results):
			return refuse("export %q has another type than the plugin world gives it", f.name)
		}
	}
	return nil
}

// refuse says why a module is not run.
func refuse(format string, args ...any) error {
	return &vmhost.RefusedError{Offset: -1, Detail: fmt.Sprintf(format, args...)}
}

// try starts one VM, under the wall-clock limit of a call, and drops it. It
// sees a fixed clock and random numbers that depend on the module alone.
func (p *program) try(ctx context.Context) error {
	limited, cancel := context.WithTimeoutCause(ctx, p.src.Limits.Wall, vmhost.ErrDeadline)
	defer cancel()
	limited, v, err := p.enter(limited, vmhost.Request{Deterministic: true, Seed: p.src.Digest})
	if err != nil {
		return err
	}
	defer p.leave(v)
	err = v.guarded(func() error { return v.start(limited) })
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case v.memory.err != nil:
		return fmt.Errorf("%w: map linear memory: %w", vmhost.ErrUnavailable, v.memory.err)
	default:
		return refuse("the module does not initialise: %s", firstLine(err.Error()))
	}
}

// Call implements [vmhost.Program]: one fresh VM, one call of handle. The reply
// carries the log and the usage also when there is an error.
func (p *program) Call(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
	start := time.Now()
	ctx, v, err := p.enter(ctx, req)
	if err != nil {
		return vmhost.Reply{}, err
	}
	defer p.leave(v)
	var output []byte
	err = v.guarded(func() error {
		if err := v.start(ctx); err != nil {
			return err
		}
		output, err = v.handle(ctx, req.Capability, req.Input)
		return err
	})
	reply := v.reply(time.Since(start))
	if err != nil {
		return reply, err
	}
	reply.Output = output
	return reply, nil
}

// enter makes a VM and counts it among those that Close waits for. The context
// that it returns ends when the program is closed.
func (p *program) enter(ctx context.Context, req vmhost.Request) (context.Context, *vm, error) {
	v := newVM(p, req)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, errClosed
	}
	ctx, p.calls[v] = context.WithCancelCause(withVM(ctx, v))
	p.idle.Add(1)
	return ctx, v, nil
}

// leave frees the VM and forgets it.
func (p *program) leave(v *vm) {
	v.close()
	p.mu.Lock()
	p.calls[v](nil)
	delete(p.calls, v)
	p.mu.Unlock()
	p.idle.Done()
}

// Close implements [vmhost.Program]. It cancels the calls under way and waits
// for them, since the engine's code must not go away under a guest.
func (p *program) Close() error {
	p.mu.Lock()
	p.closed = true
	for _, cancel := range p.calls {
		cancel(errClosed)
	}
	p.mu.Unlock()
	p.idle.Wait()
	p.ended.Do(func() {
		p.err = p.runtime.Close(context.Background())
		p.forget()
	})
	return p.err
}

// guarded runs f, and turns a panic of the engine or of this package into
// [vmhost.ErrCrashed].
func (v *vm) guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v\n%s", vmhost.ErrCrashed, r, debug.Stack())
		}
	}()
	return f()
}
