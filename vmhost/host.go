package vmhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tars-project/tars/vmhost/wasm"
)

// Options are what a [Host] is made with.
type Options struct {
	Slots      int           // most calls at once on this node; must be positive
	PerAccount int           // most calls at once of one account; 0 means Slots
	Queue      int           // most waiting calls of one account; 0 means 1,024
	QueueWait  time.Duration // longest wait for a slot; 0 means 30 s
	// Memory is the most that all calls may have reserved at once, bytes; see
	// [Limits.Reservation]. 0 means as much as the slots could.
	Memory int64
	// MaxLimits are the caps of the node, which a program's limits must not
	// pass; see there for what zero means.
	MaxLimits Limits
	// WASM are the caps on modules; the zero value means
	// [wasm.DefaultLimits]. Its MemoryPages is narrowed for each program to
	// its limits.
	WASM   wasm.Limits
	Logger *slog.Logger // for what no caller can be told; nil discards
}

// withDefaults checks the options and fills in what was left out.
func (o Options) withDefaults() (Options, error) {
	if o.Slots <= 0 {
		return o, fmt.Errorf("slots: %d, need at least 1", o.Slots)
	}
	if o.PerAccount <= 0 || o.PerAccount > o.Slots {
		o.PerAccount = o.Slots
	}
	if o.Queue <= 0 {
		o.Queue = 1024
	}
	if o.QueueWait <= 0 {
		o.QueueWait = 30 * time.Second
	}
	o.MaxLimits = o.MaxLimits.WithDefaults()
	if o.Memory <= 0 {
		o.Memory = int64(o.Slots) * o.MaxLimits.Reservation()
	}
	if o.WASM.Size == 0 {
		o.WASM = wasm.DefaultLimits()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := checkLimits(o.MaxLimits, o.MaxLimits); err != nil {
		return o, fmt.Errorf("limits of the node: %w", err)
	}
	return o, nil
}

// Host runs programs on a driver: it checks modules before the driver sees
// them, queues calls fairly, keeps limits on time and size, and gives errors
// their kinds. It believes nothing that comes back from the driver's machine.
// Safe for concurrent use.
type Host struct {
	driver Driver
	opts   Options
	slots  *slots

	mu      sync.Mutex
	closed  bool
	guests  int
	running map[*work]struct{} // loads and calls under way
	work    sync.WaitGroup     // as many
}

// work is a load or a call under way.
type work struct{ cancel context.CancelCauseFunc }

// New returns a host on a driver, which it owns from now on.
func New(driver Driver, opts Options) (*Host, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("vmhost: %w", err)
	}
	memory := memoryTree{most: opts.Memory}
	if machines, ok := driver.(resident); ok {
		memory.resident = machines.Resident
	}
	return &Host{
		driver:  driver,
		opts:    opts,
		slots:   newSlots(opts.Slots, opts.PerAccount, opts.Queue, memory),
		running: make(map[*work]struct{}),
	}, nil
}

// resident is a [Driver] whose machines keep memory that no call has reserved,
// such as VMs at their image between calls. Resident returns how many bytes that
// is now, on the whole node; it is asked under a lock for each call that starts,
// so it must be quick and must call nothing of the host.
type resident interface{ Resident() int64 }

var errHostClosed = fmt.Errorf("%w: the host is closed", ErrUnavailable)

// Tier returns how strongly calls are isolated.
func (h *Host) Tier() Tier { return h.driver.Tier() }

// Grade returns what of the tier this node reaches, such as "jail+cgroup".
func (h *Host) Grade() string { return h.driver.Grade() }

// Guests returns how many programs are loaded.
func (h *Host) Guests() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.guests
}

// Load checks a module and makes it ready for calls. The module is read by a
// bounded parser before anything else sees it. The error is [ErrRefused] when the
// module is at fault, with a [*RefusedError], or a [*BudgetError] if not one call
// would fit into the memory of its account or the node; [ErrUnavailable] when the
// machine is at fault, or ctx's.
func (h *Host) Load(ctx context.Context, src Source) (*Guest, error) {
	ctx, end, err := h.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	src.Limits = src.Limits.within(h.opts.MaxLimits)
	if err := h.check(src); err != nil {
		return nil, fmt.Errorf("load %v: %w", src.Digest, err)
	}
	program, err := h.driver.Load(ctx, src)
	if errors.Is(context.Cause(ctx), errHostClosed) {
		if err == nil {
			err = program.Close()
		}
		return nil, errors.Join(errHostClosed, err)
	}
	if err != nil {
		return nil, fmt.Errorf("load %v: %w", src.Digest, err)
	}
	src.Module = nil // the driver has it; what is left is small
	h.mu.Lock()
	h.guests++
	h.mu.Unlock()
	return &Guest{host: h, program: program, src: src, expect: newExpectation()}, nil
}

// begin counts a load or a call among those that Close waits for. The context
// that it returns ends with errHostClosed as its cause when the host's patience
// ends. end must be called once.
func (h *Host) begin(parent context.Context) (ctx context.Context, end func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil, errHostClosed
	}
	ctx, cancel := context.WithCancelCause(parent)
	w := &work{cancel: cancel}
	h.running[w] = struct{}{}
	h.work.Add(1)
	return ctx, func() {
		cancel(nil)
		h.mu.Lock()
		delete(h.running, w)
		h.mu.Unlock()
		h.work.Done()
	}, nil
}

// Close takes no more loads and calls, lets those under way finish until ctx
// ends, cancels what is left, and closes the driver with all programs. The
// error is ctx's if calls were cancelled, or the driver's. Only the first call
// does anything.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()

	drained := make(chan struct{})
	go func() {
		h.work.Wait()
		close(drained)
	}()
	var err error
	select {
	case <-drained:
	case <-ctx.Done():
		err = ctx.Err()
		h.cancelAll()
	}
	// A guest that does not look at its context ends with its machine.
	closeErr := h.driver.Close()
	<-drained
	if closeErr != nil {
		closeErr = fmt.Errorf("close the driver: %w", closeErr)
	}
	return errors.Join(err, closeErr)
}

// cancelAll ends the loads and calls under way.
func (h *Host) cancelAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.running {
		w.cancel(errHostClosed)
	}
}
