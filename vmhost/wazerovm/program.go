package wazerovm

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

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
	globals []string // exports of the mutable globals, when an instance can be restored
	files   *Files   // for images
	owned   bool     // files are the program's own
	image   *image   // nil: every call gets a new instance
	tables  int64    // most bytes of its tables
	forget  func()   // tells the driver that the program is gone

	pool   pool
	mu     sync.Mutex
	closed bool
	calls  map[*entry]struct{}
	idle   sync.WaitGroup // calls under way
	ended  sync.Once
	err    error // of closing the engine
}

var _ vmhost.Program = (*program)(nil)

// engine is how a module is run. Tests compare the ways.
type engine struct {
	metered       bool // by the meter of vmhost/wasm, as always in production
	interruptible bool // by the engine's own look at the context in each loop, which costs tight loops a factor of 20 and more
}

// compile makes a program of a module. What goes wrong in it is the module's
// fault, or the engine's in face of the module: both refuse the module.
func compile(ctx context.Context, e engine, src vmhost.Source) (p *program, err error) {
	src.Limits = src.Limits.WithDefaults()
	if src.Limits.Memory <= 0 || src.Limits.Memory%pageSize != 0 || src.Limits.Memory > maxMemory {
		return nil, refuse("memory limit of %d bytes: need a multiple of %d, at most %d", src.Limits.Memory, pageSize, int64(maxMemory))
	}
	config := wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst | experimental.CoreFeaturesTailCall).
		WithDebugInfoEnabled(false). // back-traces through DWARF take up to a second
		WithCloseOnContextDone(e.interruptible)
	background := context.WithoutCancel(ctx) // the engine outlives the load
	p = &program{src: src, calls: make(map[*entry]struct{}), forget: func() {}}
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
	if e.metered {
		m, err := metered(src)
		if err != nil {
			return p, err
		}
		module, p.tables = m.Module, m.TableEntries*tableEntry
		p.restorable(m)
	}
	p.runtime = wazero.NewRuntimeWithConfig(background, config)
	if p.module, err = p.runtime.CompileModule(background, module); err != nil {
		return p, refuse("%s", firstLine(err.Error()))
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

// Call implements [vmhost.Program]: one VM at the program's image, or a new one,
// and one call of handle. The reply carries the log and the usage also when there
// is an error.
func (p *program) Call(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
	start := time.Now()
	ctx, e, err := p.enter(ctx)
	if err != nil {
		return vmhost.Reply{}, err
	}
	defer p.leave(e)
	v := p.pool.take()
	if v == nil {
		v = p.newVM()
	}
	defer p.keep(v)
	v.begin(req)
	ctx = withVM(ctx, v)
	v.cpu.start()
	defer v.cpu.stop() // before somebody else has the VM
	var output []byte
	err = v.guarded(func() error {
		if err := v.ready(ctx); err != nil {
			return err
		}
		output, err = v.handle(ctx, req.Capability, req.Input)
		return err
	})
	reply := v.reply()
	reply.Usage.Restore = p.settleAfter(v, err)
	reply.Usage.VM = time.Since(start)
	if err != nil {
		return reply, err
	}
	reply.Output = output
	return reply, nil
}

// newVM returns a VM without an instance.
func (p *program) newVM() *vm {
	return &vm{program: p, memory: &memory{limit: p.src.Limits.Memory}, pages: scanner{pagemap: p.files.pagemap()}}
}

// ready gives a new VM its instance and what a call begins with: its image, or,
// if there is none, what the module's own initialisation makes of it.
func (v *vm) ready(ctx context.Context) error {
	if v.instance != nil {
		return nil
	}
	if err := v.instantiate(ctx); err != nil {
		return err
	}
	if img := v.program.image; img != nil {
		if err := v.settle(img); err != nil {
			return fmt.Errorf("%w: %w", vmhost.ErrUnavailable, err)
		}
		return nil
	}
	return v.initialize(ctx)
}

// settleAfter puts the VM back at its image after a call that gave an answer, so
// that it can be kept, and says how long that took. A VM that cannot be kept, for
// which every other end of a call is a reason, is marked as spoilt.
func (p *program) settleAfter(v *vm, err error) time.Duration {
	var refusal *vmhost.GuestError
	if p.image == nil || v.spoilt || (err != nil && !errors.As(err, &refusal)) {
		v.spoilt = true
		return 0
	}
	start := time.Now()
	if v.deep {
		v.lookUp()
	}
	if v.restore(p.image) != nil {
		v.spoilt = true
		return 0
	}
	return time.Since(start)
}

// entry is a call under way.
type entry struct{ cancel context.CancelCauseFunc }

// enter counts a call among those that Close waits for. The context that it
// returns ends when the program is closed.
func (p *program) enter(parent context.Context) (context.Context, *entry, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, errClosed
	}
	ctx, cancel := context.WithCancelCause(parent)
	e := &entry{cancel}
	p.calls[e] = struct{}{}
	p.idle.Add(1)
	return ctx, e, nil
}

func (p *program) leave(e *entry) {
	e.cancel(nil)
	p.mu.Lock()
	delete(p.calls, e)
	p.mu.Unlock()
	p.idle.Done()
}

// keep keeps a VM for another call, or frees it.
func (p *program) keep(v *vm) {
	if v.spoilt || !p.pool.put(v) {
		v.close()
	}
}

// Close implements [vmhost.Program]. It cancels the calls under way and waits
// for them, since the engine's code must not go away under a guest.
func (p *program) Close() error {
	p.mu.Lock()
	p.closed = true
	for e := range p.calls {
		e.cancel(errClosed)
	}
	p.mu.Unlock()
	p.idle.Wait()
	p.ended.Do(func() {
		p.pool.close()
		p.err = errors.Join(p.image.close(), p.runtime.Close(context.Background()))
		if p.owned {
			p.files.close()
		}
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
