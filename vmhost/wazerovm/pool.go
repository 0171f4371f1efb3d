package wazerovm

import (
	"sync"
	"time"
)

// trimAfter is how long a program's VMs rest before they give up what they keep
// to be fast.
const trimAfter = time.Second

// pool holds the VMs of a program that are at their image and wait for a call.
// How many there are is bounded by how many calls there were at once. Safe for
// concurrent use.
type pool struct {
	mu     sync.Mutex
	closed bool
	vms    []*vm // the last used is the last
	timer  *time.Timer
	rested bool           // nothing was taken since the timer was set
	work   sync.WaitGroup // a trim that runs
}

// take returns a VM, nil when there is none. The last used comes first: its
// pages are the warmest.
func (p *pool) take() *vm {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rested = false
	last := len(p.vms) - 1
	if last < 0 {
		return nil
	}
	v := p.vms[last]
	p.vms[last] = nil
	p.vms = p.vms[:last]
	return v
}

// put keeps a VM that is at its image. It reports false when the pool is closed.
func (p *pool) put(v *vm) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.vms = append(p.vms, v)
	if p.timer == nil {
		p.rested = true
		p.work.Add(1)
		p.timer = time.AfterFunc(trimAfter, p.trim)
	}
	return true
}

// trim is what the timer does. While there are calls it only looks again later.
func (p *pool) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.work.Done()
	p.timer = nil
	switch {
	case p.closed || len(p.vms) == 0:
	case p.rested:
		p.shrink()
	default:
		p.rested = true
		p.work.Add(1)
		p.timer = time.AfterFunc(trimAfter, p.trim)
	}
}

// shrink makes VMs that have rested small: all but one go, and that one gives up
// the pages that it keeps. The caller holds mu.
func (p *pool) shrink() {
	for _, v := range p.vms[1:] {
		v.close()
	}
	clear(p.vms[1:])
	p.vms = p.vms[:1]
	if p.vms[0].trim() != nil {
		p.vms[0].close()
		p.vms = p.vms[:0]
	}
}

// close frees all VMs. Others that come later are not taken.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	vms := p.vms
	p.vms = nil
	if p.timer != nil && p.timer.Stop() {
		p.work.Done()
	}
	p.mu.Unlock()
	p.work.Wait()
	for _, v := range vms {
		v.close()
	}
}
