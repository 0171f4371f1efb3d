package cell

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/tars-project/tars/vmhost"
)

// TestTurns: accounts get slots in turn, whoever has more waiting; who gives up is
// passed over, and no slot is lost.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		slot, err := turns.take(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		var got []vmhost.Account
		wait := func(ctx context.Context, account vmhost.Account) {
			go func() {
				slot, err := turns.take(ctx, account)
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("take = %v, want context.Canceled", err)
					}
					return
				}
				got = append(got, account) // one at a time: there is one slot
				turns.give(slot)
			}()
			synctest.Wait()
		}
		leaving, leave := context.WithCancel(t.Context())
		wait(t.Context(), "a")
		wait(leaving, "c")
		wait(t.Context(), "a")
		wait(t.Context(), "a")
		wait(t.Context(), "b")
		wait(t.Context(), "b")
		leave()
		synctest.Wait()
		turns.give(slot)
		synctest.Wait()
		want := []vmhost.Account{"a", "b", "a", "b", "a"}
		if len(got) != len(want) {
			t.Fatalf("turns %q, want %q", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("turns %q, want %q", got, want)
				break
			}
		}
		if len(turns.free) != 1 || len(turns.queue) != 0 || len(turns.order) != 0 {
			t.Errorf("%d slots free, %d accounts waiting, %d in order, want 1, 0, 0", len(turns.free), len(turns.queue), len(turns.order))
		}
	})
}
