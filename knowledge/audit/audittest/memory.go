package audittest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/audit"
)

// Memory keeps logs in memory, for tests of others. Make it with [NewMemory]; safe for
// concurrent use.
type Memory struct {
	mu   sync.Mutex
	logs map[knowledge.TenantID]*kept
	err  error // that Append gives instead of keeping anything
}

// kept is one log.
type kept struct {
	entries     []audit.Entry
	first, last audit.Mark
}

var _ audit.Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{logs: map[knowledge.TenantID]*kept{}} }

// Fail lets Append fail with err, or work again when it is nil.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// of returns the log of an owner, an empty one that is not kept when there is none.
func (m *Memory) of(owner knowledge.TenantID) kept {
	if k := m.logs[owner]; k != nil {
		return *k
	}
	return kept{}
}

// Append implements [audit.Writer].
func (m *Memory) Append(_ context.Context, owner knowledge.TenantID, events []audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	k := m.of(owner)
	for _, e := range events {
		if slices.ContainsFunc(k.entries, func(old audit.Entry) bool { return old.ID == e.ID }) {
			continue
		}
		entry := k.last.Next(owner, e)
		k.entries, k.last = append(k.entries, entry), entry.Mark()
	}
	m.logs[owner] = &k
	return nil
}

// Events implements [audit.Reader].
func (m *Memory) Events(_ context.Context, owner knowledge.TenantID, s audit.Selection, limit int) (found []audit.Entry, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range slices.Backward(m.of(owner).entries) {
		if len(found) < limit && picked(e, s) {
			found = append(found, e)
		}
	}
	return found, nil
}

func picked(e audit.Entry, s audit.Selection) bool {
	for _, pair := range [][2]string{{s.Actor, e.Actor}, {s.Operation, e.Operation}, {s.Kind, e.Kind}, {s.Name, e.Name}, {s.Outcome, e.Outcome}} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	return (s.Before == 0 || e.Seq < s.Before) && !e.At.Before(s.Since) && (s.Until.IsZero() || e.At.Before(s.Until))
}

// Walk implements [audit.Reader].
func (m *Memory) Walk(_ context.Context, owner knowledge.TenantID, after int64, begin func(first, last audit.Mark) error, each func(audit.Entry) error) error {
	m.mu.Lock()
	k := m.of(owner)
	m.mu.Unlock()
	first := k.first
	rest := k.entries
	switch {
	case after > k.last.Seq:
		return audit.TooFar(after, k.last.Seq)
	case after > first.Seq:
		n := after - first.Seq
		first, rest = rest[n-1].Mark(), rest[n:]
	}
	if err := begin(first, k.last); err != nil {
		return err
	}
	for _, e := range rest {
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

// Sweep implements [audit.Store].
func (m *Memory) Sweep(_ context.Context, age time.Duration) (n int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for owner := range m.logs {
		k := m.of(owner)
		for len(k.entries) > 0 && time.Since(k.entries[0].At) > age {
			k.first, k.entries = k.entries[0].Mark(), k.entries[1:]
			n++
		}
		m.logs[owner] = &k
	}
	return n, nil
}
