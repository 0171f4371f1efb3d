package load

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// service answers one search at a time, each in work; every bad-th fails.
type service struct {
	turn  chan struct{} // a mutex would not let the clock of synctest go on
	work  time.Duration
	bad   int
	asked map[int]int
}

func (s *service) clients(n int) []Client {
	s.asked, s.turn = map[int]int{}, make(chan struct{}, 1)
	all := make([]Client, n)
	for i := range all {
		all[i] = client{s}
	}
	return all
}

type client struct{ *service }

func (c client) Ask(n int) error {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	time.Sleep(c.work)
	c.asked[n]++
	if c.bad > 0 && n%c.bad == 0 {
		return errors.New("bad")
	}
	return nil
}

func (client) Close() error { return nil }

// TestClosed: each number is asked once, and each answer counted once.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{work: 10 * time.Millisecond, bad: 4}
		r, err := Closed(t.Context(), s.clients(2), 100, time.Second)
		if err != nil || len(r.Latencies)+r.Errors != len(s.asked) || r.Errors == 0 || r.First == nil {
			t.Fatalf("Closed = %d answers and %d errors (%v), %v, want the %d that were asked, some of them errors", len(r.Latencies), r.Errors, r.First, err, len(s.asked))
		}
		for n := range len(s.asked) {
			if s.asked[100+n] != 1 {
				t.Fatalf("search %d was made %d times, want once", 100+n, s.asked[100+n])
			}
		}
		if got, want := r.ErrorRate(), float64(r.Errors)/float64(len(s.asked)); got != want {
			t.Errorf("ErrorRate = %v, want %v", got, want)
		}
	})
}

// TestOpenCountsTheWait: a search that was due while the service was busy counts
// from then, and one that was never sent counts as late.
func TestOpenCountsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{work: 100 * time.Millisecond}
		r, err := Open(t.Context(), s.clients(1), 20, time.Second) // twice what it can do
		if err != nil || len(r.Latencies)+r.Errors+r.Late != 20 || r.Late == 0 {
			t.Fatalf("Open = %d answers, %d errors, %d late, %v, want 20 together, some of them late", len(r.Latencies), r.Errors, r.Late, err)
		}
		if last := r.Latencies[len(r.Latencies)-1]; last < 500*time.Millisecond {
			t.Errorf("the longest latency is %v, want the wait behind others in it", last)
		}
		if r.ErrorRate() == 0 {
			t.Error("ErrorRate is 0, want late searches in it")
		}
	})
}
