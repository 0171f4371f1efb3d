package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
	. "github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild" //nolint:revive,staticcheck // instructions read as in the text format
)

// service is a program in a cell of the shipped binary.
type service struct {
	driver  *cell.Driver
	program vmhost.Program
	others  []int // cells that were there before
}

// pid is the process of the cell that serves the program.
func (s service) pid() (int, error) { return servingCell(s.others) }

// withCell runs f with a program in a cell.
func withCell(ctx context.Context, j job, change func(*cell.Options), f func(service) error) (err error) {
	others, err := cells()
	if err != nil {
		return err
	}
	opts := cell.Options{Executable: j.Executable, MinGrade: cell.GradeJailLite}
	if change != nil {
		change(&opts)
	}
	d, err := cell.New(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	p, err := d.Load(ctx, j.source())
	if err != nil {
		return err
	}
	return f(service{d, p, others})
}

// coldFirstCall is how long the first call takes of a program that was loaded
// once and has no cell any more, with a blank cell ready as in the server: the
// median of n.
func coldFirstCall(ctx context.Context, j job, n int) (time.Duration, error) {
	const idle = 40 * time.Millisecond
	var took []time.Duration
	err := withCell(ctx, j, func(o *cell.Options) { o.IdleTimeout, o.Blanks = idle, 1 }, func(s service) error {
		for range n {
			pid, err := s.pid()
			if err != nil {
				return err
			}
			err = eventually(ctx, "the idle cell to end", func() (bool, error) {
				now, err := cells()
				return !slices.Contains(now, pid), err
			})
			if err == nil {
				err = eventually(ctx, "a blank cell", func() (bool, error) { return s.driver.Stats().Blanks > 0, nil })
			}
			if err != nil {
				return err
			}
			start := time.Now()
			reply, err := s.program.Call(ctx, vmhost.Request{Capability: j.Capability, Input: j.Input})
			if err != nil || string(reply.Output) != ranked {
				return fmt.Errorf("first call: %q, %w", reply.Output, err)
			}
			took = append(took, time.Since(start))
		}
		return nil
	})
	return median(took), err
}

// eventually waits for something, for longer than it may take.
func eventually(ctx context.Context, what string, holds func() (bool, error)) error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if ok, err := holds(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return fmt.Errorf("waited 20 s for %s", what)
}

// cellSpawn is how long it takes to have a cell from nothing, with the smallest
// plugin there is compiled and tried in it: the median of n.
func cellSpawn(ctx context.Context, executable string, n int) (time.Duration, error) {
	module := Plugin{Pages: 1, Handle: I32(ResultAt), Data: []Data{{At: ResultAt, Bytes: OK(0, 0)}}}.Encode()
	j := job{Module: module, Capability: capability, Memory: vmhost.PageSize, Executable: executable}
	d, err := cell.New(cell.Options{Executable: executable, MinGrade: cell.GradeJailLite})
	if err != nil {
		return 0, err
	}
	var took []time.Duration
	for range n {
		start := time.Now()
		p, err := d.Load(ctx, j.source())
		if err != nil {
			return 0, errors.Join(err, d.Close())
		}
		took = append(took, time.Since(start))
		if err := p.Close(); err != nil {
			return 0, errors.Join(err, d.Close())
		}
	}
	return median(took), d.Close()
}

// hostCall is how long a guest waits for a host function that answers at once:
// from one call's arrival at the host to that of the next, sorted.
func hostCall(ctx context.Context, executable string, calls int) ([]time.Duration, error) {
	const each = 500 // host functions in a call
	search := []Import{HostImport("search")}
	// handle asks for its own input, so many times.
	j := job{Module: Plugin{Pages: 16, Imports: search, Handle: Code(
		I32(each), Set(4),
		Loop(Get(2), Get(3), I32(ScratchAt), Call(0), I32(HeapAt), GlobalSet(0), // what the answer took is free again
			Get(4), I32(1), Sub(), Tee(4), BranchIf(0)),
		ReturnOK(I32(0), I32(0)),
	)}.Encode(), Capability: capability, Input: []byte(`{"text":"capital of France","limit":10}`), Memory: smallMemory, Executable: executable}
	answer := []byte(`{"matches":[{"id":"a","score":0.5,"text":"Paris is the capital of France."}]}`)
	var took []time.Duration
	src := j.source()
	src.Samples = nil // it would ask, and nobody answers a sample
	d, err := cell.New(cell.Options{Executable: executable, MinGrade: cell.GradeJailLite})
	if err != nil {
		return nil, err
	}
	p, err := d.Load(ctx, src)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	for range calls {
		var last time.Time
		_, err := p.Call(ctx, vmhost.Request{Capability: j.Capability, Input: j.Input, Host: func(context.Context, vmhost.HostCall) ([]byte, error) {
			now := time.Now()
			if !last.IsZero() {
				took = append(took, now.Sub(last))
			}
			last = now
			return answer, nil
		}})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("guest that calls the host: %w", err), d.Close())
		}
	}
	slices.Sort(took)
	return took, d.Close()
}

// working is a plugin whose call runs a loop so many times.
func working(rounds int32) []byte {
	return Plugin{Pages: 16, Handle: Code(
		I32(rounds), Set(4),
		Loop(Get(5), Get(4), Mul(), I32(7), Add(), Set(5), Get(4), I32(1), Sub(), Tee(4), BranchIf(0)),
		I32(ScratchAt), Get(5), Store(0), // the sum is used
		ReturnOK(I32(0), I32(0)),
	)}.Encode()
}

// cpuEfficiency is the share of a cell's processor time that its guest gets when
// each call works for about 5 ms: what the receipts say that the calls took of the
// processor, by what the kernel says that the cell took.
func cpuEfficiency(ctx context.Context, executable string, calls int) (share float64, each time.Duration, err error) {
	measure := func(rounds int32, n int) (guest, total time.Duration, err error) {
		j := job{Module: working(rounds), Capability: capability, Input: []byte(`{}`), Memory: smallMemory, Executable: executable}
		err = withCell(ctx, j, nil, func(s service) error {
			pid, err := s.pid()
			if err != nil {
				return err
			}
			var used time.Duration
			var before, after time.Duration
			for i := range n + 5 { // the first ones warm up
				if i == 5 {
					if before, err = cpuTime(pid); err != nil {
						return err
					}
				}
				reply, err := s.program.Call(ctx, vmhost.Request{Capability: j.Capability, Input: j.Input})
				if err != nil {
					return err
				}
				if i >= 5 {
					used += reply.Usage.CPU
				}
			}
			if after, err = cpuTime(pid); err != nil {
				return err
			}
			guest, total = used/time.Duration(n), (after-before)/time.Duration(n)
			if guest <= 0 {
				return errors.New("receipts do not tell processor time")
			}
			return nil
		})
		return guest, total, err
	}
	const trial, work = 1_000_000, 5 * time.Millisecond
	guest, _, err := measure(trial, 20)
	if err != nil {
		return 0, 0, err
	}
	guest, total, err := measure(int32(trial*float64(work)/float64(guest)), calls)
	if err != nil {
		return 0, 0, err
	}
	return min(float64(guest)/float64(total), 1), guest, nil
}

// idleMemory is what resting costs, in kilobytes.
type idleMemory struct {
	cell  int64 // of a cell that has served and rests: its share of all memory
	vm    int64 // of each VM in the pool beyond the first: private memory of the cell
	guest int64 // of that, what lies in the guest's own memory
}

// busy is a call of the plugin in C that takes some milliseconds, so that calls
// that begin together run together.
var busy = vmhost.Request{Capability: "stress", Input: []byte("recurse 25")}

// withCompany runs f while a few other cells rest, as they do beside a server. What
// all processes of the binary share, which is mostly its code, is then counted to
// a cell in the part that it has of it.
func withCompany(ctx context.Context, j job, f func() error) (err error) {
	const company = 4
	d, err := cell.New(cell.Options{Executable: j.Executable, MinGrade: cell.GradeJailLite})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for range company {
		if _, err := d.Load(ctx, j.source()); err != nil {
			return err
		}
	}
	return f()
}

// idle measures a resting cell; with vms above 1 also what that many VMs keep.
func idle(ctx context.Context, j job, vms int) (m idleMemory, err error) {
	err = withCell(ctx, j, func(o *cell.Options) {
		if vms > 1 {
			o.CallsPerCell = vms
		}
	}, func(s service) error {
		for range 100 {
			if _, err := s.program.Call(ctx, vmhost.Request{Capability: j.Capability, Input: j.Input}); err != nil {
				return err
			}
		}
		pid, err := s.pid()
		if err != nil {
			return err
		}
		time.Sleep(2500 * time.Millisecond) // longer than a pool waits before it shrinks
		if m.cell, err = kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss"); err != nil || vms == 1 {
			return err
		}
		one, oneGuest, err := privateAfter(ctx, s.program, pid, 1)
		if err != nil {
			return err
		}
		many, manyGuest, err := privateAfter(ctx, s.program, pid, vms)
		m.vm, m.guest = (many-one)/int64(vms-1), (manyGuest-oneGuest)/int64(vms-1)
		return err
	})
	return m, err
}

// privateAfter is the private memory of a cell, and of the guests in it, right
// after so many calls at once, while the pool keeps their VMs.
func privateAfter(ctx context.Context, p vmhost.Program, pid, callers int) (all, guest int64, err error) {
	errs := make([]error, callers)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { _, errs[i] = p.Call(ctx, busy) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, 0, err
	}
	if all, err = kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Private_Dirty"); err != nil {
		return 0, 0, err
	}
	guest, err = privateOf(pid, "memfd:")
	return all, guest, err
}
