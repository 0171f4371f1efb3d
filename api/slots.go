package api

import (
	"sync"

	"github.com/tars-project/tars/knowledge"
)

// slots bounds how many streams of a kind are under way: of all tenants, and of
// each, so that slow streams of a few leave room for others. It is safe for
// concurrent use.
type slots struct {
	all, each int
	what      string // in the plural, for the error

	mu   sync.Mutex
	held map[knowledge.TenantID]int
	n    int
}

func newSlots(all, each int, what string) *slots {
	return &slots{all: all, each: each, what: what, held: map[knowledge.TenantID]int{}}
}

// take takes a slot, which the function that it returns gives back, or returns a
// [knowledge.LimitError] at once.
func (s *slots) take(tenant knowledge.TenantID) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.held[tenant] >= s.each:
		return nil, knowledge.Limit("the tenant has as many " + s.what + " under way as it may")
	case s.n >= s.all:
		return nil, knowledge.Limit("this server has as many " + s.what + " under way as it may")
	}
	s.held[tenant]++
	s.n++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.n--
		if s.held[tenant]--; s.held[tenant] == 0 {
			delete(s.held, tenant)
		}
	}, nil
}
