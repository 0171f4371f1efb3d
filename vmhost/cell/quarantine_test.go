package cell

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/vmhost"
)

func digestOf(i int) vmhost.Digest { return vmhost.DigestOf([]byte(strconv.Itoa(i))) }

// TestQuarantineRegister: so many deaths in a row, counted for each account and
// program apart, and a good call between them begins the count again.
func TestQuarantineRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuarantine(3)
		if q.strike("a", digestOf(1), "first", false) || q.strike("a", digestOf(1), "second", false) {
			t.Error("in quarantine after fewer than 3 deaths")
		}
		q.acquit("a", digestOf(1))
		for range 2 {
			q.strike("a", digestOf(1), "x", false)
			q.strike("b", digestOf(1), "x", false)
			q.strike("a", digestOf(2), "x", false)
		}
		if err := q.check("a", digestOf(1)); err != nil {
			t.Errorf("check after 2 deaths = %v, want nil", err)
		}
		time.Sleep(time.Hour)
		since := time.Now()
		if !q.strike("a", digestOf(1), "third", false) || q.strike("a", digestOf(1), "of a cell still alive", false) {
			t.Error("strike: want true for the third death alone")
		}
		var got *vmhost.QuarantinedError
		want := vmhost.Quarantine{Account: "a", Digest: digestOf(1), Reason: "third", Since: since, Deaths: 3}
		if err := q.check("a", digestOf(1)); !errors.As(err, &got) || got.Quarantine != want {
			t.Errorf("check = %+v, want %+v", err, want)
		}
		q.acquit("a", digestOf(1)) // a late answer of a cell that was still alive
		if !errors.Is(q.check("a", digestOf(1)), vmhost.ErrQuarantined) {
			t.Error("a good call has ended the quarantine")
		}
		if err := errors.Join(q.check("b", digestOf(1)), q.check("a", digestOf(2))); err != nil {
			t.Errorf("check of others = %v, want nil", err)
		}
		if !q.release("a", digestOf(1)) || q.release("a", digestOf(1)) || q.release("b", digestOf(1)) {
			t.Error("release: want true once, for what is in quarantine")
		}
		if !q.strike("a", digestOf(1), "alarm", true) {
			t.Error("an alarm was not enough")
		}
	})
}

// TestQuarantineBounded: an account with many bad programs fills up its own share
// and nobody else's.
func TestQuarantineBounded(t *testing.T) {
	q := newQuarantine(1)
	q.strike("other", digestOf(0), "x", false)
	for i := range 3 * maxOffenders {
		q.strike("a", digestOf(i), "x", false)
	}
	if got := len(q.list()); got != maxOffenders+1 {
		t.Errorf("%d programs in quarantine, want %d and another's", got, maxOffenders)
	}
	if err := q.check("a", digestOf(3*maxOffenders-1)); err == nil {
		t.Error("the newest is not in quarantine")
	}
	if err := q.check("other", digestOf(0)); err == nil {
		t.Error("another account's is not in quarantine")
	}
}

// TestDeathOf: what cells die of, and who is to blame.
func TestDeathOf(t *testing.T) {
	killed := Exit{Code: -1, Signal: 9}
	for _, c := range []struct {
		cause  error
		exit   Exit
		want   Death
		blames bool
	}{
		{errRetired, Exit{}, "", false},
		{errStopped, killed, "", false},
		{errStopped, Exit{Code: -1, Signal: 31}, DeathSyscall, true},
		{crash(killed), killed, DeathSignal, true},
		{crash(killed), Exit{Code: -1, Signal: 9, OutOfMemory: true}, DeathMemory, true},
		{crash(Exit{Code: 2}), Exit{Code: 2}, DeathExit, true},
		{errKilled, killed, DeathSilence, false},
		{errSilent, killed, DeathSilence, false},
		{errSpun, killed, DeathCPU, true},
		{errBurns, killed, DeathCPU, true},
		{errSlow, killed, DeathLoad, false},
	} {
		got, unnatural := deathOf(c.cause, c.exit)
		if got != c.want || unnatural != (c.want != "") || (unnatural && got.blames() != c.blames) {
			t.Errorf("deathOf(%v, %v) = %q, %v, to blame %v; want %q, to blame %v", c.cause, c.exit, got, unnatural, got.blames(), c.want, c.blames)
		}
	}
}
