package shares_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/recent"
	"github.com/tars-project/tars/knowledge/shares"
	"github.com/tars-project/tars/knowledge/shares/sharestest"
)

const (
	owner   = knowledge.TenantID("owner")
	grantee = knowledge.TenantID("grantee")
	view    = knowledge.CollectionName("v")
)

// everything is a tenant's views: whatever is asked for is there.
type everything struct{}

func (everything) View(_ context.Context, _ knowledge.TenantID, name knowledge.CollectionName) (knowledge.View, error) {
	return knowledge.View{Name: name}, nil
}

// store counts look-ups, which take a moment after they have read, and fails writes on
// demand, before or after they are done.
type store struct {
	*sharestest.Memory
	lookups atomic.Int64
	fail    atomic.Bool
	lose    atomic.Bool
}

func newStore() *store { return &store{Memory: sharestest.NewMemory(everything{})} }

func (s *store) Shared(ctx context.Context, grantee, owner knowledge.TenantID, view knowledge.CollectionName) (knowledge.Share, error) {
	s.lookups.Add(1)
	found, err := s.Memory.Shared(ctx, grantee, owner, view)
	time.Sleep(10 * time.Millisecond)
	return found, err
}

func (s *store) WriteReads(ctx context.Context, writer string, reads []shares.DayReads) error {
	if s.fail.Load() {
		return knowledge.ErrUnavailable
	}
	err := s.Memory.WriteReads(ctx, writer, reads)
	if s.lose.Load() {
		return knowledge.ErrUnavailable // it is done, but nobody hears of it
	}
	return err
}

func registry(t *testing.T, s shares.Store, log *slog.Logger) *shares.Registry {
	t.Helper()
	r := shares.NewRegistry(s, log)
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func grant(t *testing.T, r *shares.Registry) knowledge.Share {
	t.Helper()
	s, err := r.Grant(t.Context(), owner, knowledge.Share{View: view, Grantee: grantee, CreatedBy: "key_1"})
	if err != nil {
		t.Fatalf("Grant = %v, want nil", err)
	}
	return s
}

func shared(t *testing.T, r *shares.Registry) bool {
	t.Helper()
	_, err := r.Shared(t.Context(), grantee, owner, view)
	if err != nil && !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Shared = %v, want nil or ErrNotFound", err)
	}
	return err == nil
}

// TestRemembersForASecond: many queries are one look-up; what this node grants or
// revokes shows at once, what another revokes within a second.
func TestRemembersForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		here, there := registry(t, s, nil), registry(t, s, nil)
		if shared(t, here) || shared(t, there) {
			t.Error("Shared before it is granted = nil, want ErrNotFound")
		}
		share := grant(t, here)
		s.lookups.Store(0)
		for range 5 {
			if !shared(t, here) || !shared(t, there) {
				t.Error("Shared = ErrNotFound, want the share")
			}
		}
		if n := s.lookups.Load(); n != 2 {
			t.Errorf("%d look-ups, want 1 of each", n)
		}
		if err := here.Revoke(t.Context(), owner, share.ID, "key_1"); err != nil {
			t.Fatal(err)
		}
		if shared(t, here) {
			t.Error("Shared where it was revoked = nil, want ErrNotFound at once")
		}
		time.Sleep(recent.Stale)
		if shared(t, there) {
			t.Error("Shared elsewhere after a second = nil, want ErrNotFound")
		}
		again := grant(t, there)
		if got, err := here.Shared(t.Context(), grantee, owner, view); err != nil || got.ID != again.ID {
			t.Errorf("Shared anew = %+v, %v, want %s", got, err, again.ID)
		}
	})
}

// TestRevokedWhileLookedUp: a look-up that has read the share before it was revoked, and
// ends after, gives nothing.
func TestRevokedWhileLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registry(t, newStore(), nil)
		share := grant(t, r)
		var lookup sync.WaitGroup
		lookup.Go(func() {
			if shared(t, r) {
				t.Error("Shared, revoked meanwhile = nil, want ErrNotFound")
			}
		})
		time.Sleep(5 * time.Millisecond)
		if err := r.Revoke(t.Context(), owner, share.ID, "key_1"); err != nil {
			t.Fatal(err)
		}
		lookup.Wait()
		if shared(t, r) {
			t.Error("Shared after that = nil, want ErrNotFound")
		}
	})
}

// TestExpiresWhileRemembered: what is remembered is not of use beyond its time.
func TestExpiresWhileRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := registry(t, newStore(), nil)
		s := knowledge.Share{View: view, Grantee: grantee, Expires: time.Now().Add(500 * time.Millisecond)}
		if _, err := r.Grant(t.Context(), owner, s); err != nil {
			t.Fatal(err)
		}
		if !shared(t, r) {
			t.Error("Shared = ErrNotFound, want the share")
		}
		time.Sleep(500 * time.Millisecond)
		if shared(t, r) {
			t.Error("Shared after its time = nil, want ErrNotFound")
		}
	})
}

// TestLimitedCallers: who is limited to views shares nothing, ends nothing, sees no
// shares and has none.
func TestLimitedCallers(t *testing.T) {
	r := registry(t, newStore(), nil)
	share := grant(t, r)
	ctx := knowledge.LimitToViews(t.Context(), []knowledge.CollectionName{view})
	_, grantErr := r.Grant(ctx, owner, knowledge.Share{View: view, Grantee: "other"})
	_, givenErr := r.Given(ctx, owner, "", 1)
	_, receivedErr := r.Received(ctx, grantee, "", 1)
	for what, err := range map[string]error{"Grant": grantErr, "Revoke": r.Revoke(ctx, owner, share.ID, "k"), "Given": givenErr, "Received": receivedErr} {
		if !errors.Is(err, knowledge.ErrForbidden) {
			t.Errorf("%s = %v, want ErrForbidden", what, err)
		}
	}
	if _, err := r.Shared(ctx, grantee, owner, view); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Shared = %v, want ErrNotFound", err)
	}
	if !shared(t, r) {
		t.Error("Shared for another caller = ErrNotFound, want the share")
	}
}

// used is how much the share was read, as its owner sees it.
func used(t *testing.T, s shares.Store) shares.Reads {
	t.Helper()
	given, err := s.Given(t.Context(), owner, "", 9)
	if err != nil || len(given) != 1 {
		t.Fatalf("Given = %+v, %v, want one", given, err)
	}
	return given[0].Total
}

// TestReadsAreWrittenOnce: what was read is written within a second or so and at the
// end, and counts once, also when a write fails, or is not heard of, and across days.
func TestReadsAreWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		r := shares.NewRegistry(s, nil)
		share := grant(t, r)
		want := shares.Reads{}
		read := func() {
			r.Read(share, 10)
			want.Queries, want.Rows = want.Queries+1, want.Rows+10
		}
		second := func(what string) {
			t.Helper()
			time.Sleep(1100 * time.Millisecond)
			if got := used(t, s); got != want {
				t.Errorf("%s: read %+v, want %+v", what, got, want)
			}
		}
		read()
		read()
		second("two reads")
		s.fail.Store(true)
		before := want
		read()
		time.Sleep(3 * time.Second)
		if got := used(t, s); got != before {
			t.Errorf("while writes fail: read %+v, want %+v", got, before)
		}
		s.fail.Store(false)
		second("writes go again")
		s.lose.Store(true)
		read()
		time.Sleep(3 * time.Second)
		s.lose.Store(false)
		second("after writes that nobody heard of")
		for range 3 {
			time.Sleep(24 * time.Hour)
			read()
			second("the next day")
		}
		read()
		if err := r.Close(t.Context()); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
		if got := used(t, s); got != want {
			t.Errorf("after Close: read %+v, want %+v", got, want)
		}
	})
}

// TestLog: what is granted, revoked and refused is in the log.
func TestLog(t *testing.T) {
	var log strings.Builder
	r := registry(t, newStore(), slog.New(slog.NewTextHandler(&log, nil)))
	_, _ = r.Shared(knowledge.AskedBy(t.Context(), "key_3"), grantee, owner, view)
	share := grant(t, r)
	if err := r.Revoke(t.Context(), owner, share.ID, "key_2"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`level=WARN msg="shared view refused" tenant=grantee owner=owner view=v key=key_3`,
		`level=INFO msg="share granted" share=` + string(share.ID) + ` tenant=owner view=v grantee=grantee key=key_1`,
		`level=INFO msg="share revoked" share=` + string(share.ID) + ` tenant=owner view=v grantee=grantee key=key_2`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log = %s, want %s", log.String(), want)
		}
	}
}
