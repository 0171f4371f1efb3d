package embed

import (
	"errors"
	"fmt"
	"testing"
)

// handle is a client of which only its end matters.
type handle struct {
	Client
	closed bool
}

func (h *handle) Close() { h.closed = true }

func TestClients(t *testing.T) {
	c := newClients(2)
	opened := map[string]*handle{}
	get := func(name, edition string) *handle {
		t.Helper()
		got, err := c.get(own{"alice", Name(name)}, edition, func() (Client, error) {
			h := new(handle)
			opened[name+edition] = h
			return h, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got.(*handle)
	}
	a := get("a", "1")
	if again := get("a", "1"); again != a {
		t.Error("the same edition was opened twice, want it once")
	}
	if next := get("a", "2"); next == a || !a.closed {
		t.Error("another edition did not take the place of the first, want the first closed")
	}
	get("b", "1")
	get("a", "2") // used last
	get("c", "1")
	if !opened["b1"].closed || opened["a2"].closed || opened["c1"].closed {
		t.Error("beyond the bound, want b, which was not used longest, closed, and no other")
	}
	if _, err := c.get(own{"alice", "d"}, "1", func() (Client, error) { return nil, errors.New("no") }); err == nil {
		t.Error("get = no error, want that of open")
	}
	c.drop(own{"bob", "a"})
	if opened["a2"].closed {
		t.Error("drop of another tenant's name closed a, want it left")
	}
	c.closeAll()
	for name, h := range opened {
		if !h.closed {
			t.Error(fmt.Sprint(name, " is open after closeAll, want every client closed"))
		}
	}
}
