package cell

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// maxOffenders is how many programs of one account are remembered for having
// killed their cells; the oldest is forgotten. Whoever fills that up with programs
// of their own has every one of them start again from none.
const maxOffenders = 64

// quarantine remembers which programs kill their cells, also while they are not
// loaded. Make it with newQuarantine. Safe for concurrent use.
type quarantine struct {
	after int // deaths in a row that are enough

	known atomic.Int64 // offenders in all, so that calls seldom need the lock

	mu       sync.Mutex
	accounts map[vmhost.Account][]*vmhost.Quarantine // oldest first; Since is zero for those that still run
}

func newQuarantine(after int) *quarantine {
	return &quarantine{after: after, accounts: make(map[vmhost.Account][]*vmhost.Quarantine)}
}

// check returns a *[vmhost.QuarantinedError] if the program is not to be run.
func (q *quarantine) check(account vmhost.Account, digest vmhost.Digest) error {
	if q.known.Load() == 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if o := q.find(account, digest); o != nil && !o.Since.IsZero() {
		return &vmhost.QuarantinedError{Quarantine: *o}
	}
	return nil
}

// strike notes that a program has killed a cell, and reports whether that puts it
// into quarantine; an alarm does at once. reason says what the cell died of.
func (q *quarantine) strike(account vmhost.Account, digest vmhost.Digest, reason string, alarm bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	o := q.find(account, digest)
	if o == nil {
		if len(q.accounts[account]) == maxOffenders {
			q.drop(account, 0)
		}
		o = &vmhost.Quarantine{Account: account, Digest: digest}
		q.accounts[account] = append(q.accounts[account], o)
		q.known.Add(1)
	}
	if !o.Since.IsZero() {
		return false // a cell that was still alive when it was put in
	}
	o.Deaths++
	o.Reason = reason
	if !alarm && o.Deaths < q.after {
		return false
	}
	o.Since = time.Now()
	return true
}

// acquit forgets the deaths of a program that has not reached the quarantine.
func (q *quarantine) acquit(account vmhost.Account, digest vmhost.Digest) {
	q.remove(account, digest, func(o *vmhost.Quarantine) bool { return o.Since.IsZero() })
}

// release takes a program out of quarantine, and reports whether it was in it.
func (q *quarantine) release(account vmhost.Account, digest vmhost.Digest) bool {
	return q.remove(account, digest, func(o *vmhost.Quarantine) bool { return !o.Since.IsZero() })
}

// list returns the programs in quarantine, in no order.
func (q *quarantine) list() []vmhost.Quarantine {
	q.mu.Lock()
	defer q.mu.Unlock()
	var list []vmhost.Quarantine
	for _, offenders := range q.accounts {
		for _, o := range offenders {
			if !o.Since.IsZero() {
				list = append(list, *o)
			}
		}
	}
	return list
}

// remove forgets a program for which the condition holds.
func (q *quarantine) remove(account vmhost.Account, digest vmhost.Digest, condition func(*vmhost.Quarantine) bool) bool {
	if q.known.Load() == 0 {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, o := range q.accounts[account] {
		if o.Digest == digest && condition(o) {
			q.drop(account, i)
			return true
		}
	}
	return false
}

// find returns what is known of a program, or nil. The caller holds mu.
func (q *quarantine) find(account vmhost.Account, digest vmhost.Digest) *vmhost.Quarantine {
	for _, o := range q.accounts[account] {
		if o.Digest == digest {
			return o
		}
	}
	return nil
}

// drop forgets an offender. The caller holds mu.
func (q *quarantine) drop(account vmhost.Account, i int) {
	q.known.Add(-1)
	if q.accounts[account] = slices.Delete(q.accounts[account], i, i+1); len(q.accounts[account]) == 0 {
		delete(q.accounts, account)
	}
}
