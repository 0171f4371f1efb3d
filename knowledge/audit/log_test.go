package audit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/audit"
	"github.com/tars-project/tars/knowledge/audit/audittest"
)

var quiet = slog.New(slog.DiscardHandler)

// TestLogWhileTheStoreFails: nothing is lost that was taken, who waits is not told that
// something is kept which is not, and once too much waits, all wait.
func TestLogWhileTheStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := audittest.NewMemory()
		store.Fail(knowledge.ErrUnavailable)
		log := audit.NewLog(store, audit.Options{Log: quiet, MaxWaiting: 3})
		soon := func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), time.Second) }
		ctx, cancel := soon()
		defer cancel()
		if err := log.Record(ctx, "alice", audittest.Event(0)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Record while the store fails = %v, want DeadlineExceeded", err)
		}
		for n := range 2 {
			if err := log.Note(t.Context(), "bob", audittest.Event(n)); err != nil {
				t.Errorf("Note = %v, want nil", err)
			}
		}
		ctx, cancel = soon()
		defer cancel()
		if err := log.Note(ctx, "bob", audittest.Event(9)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Note without room = %v, want DeadlineExceeded", err)
		}
		if s := log.Stats(); s.Waiting != 3 || !s.Failing || s.Dropped != 0 {
			t.Errorf("Stats = %+v, want 3 waiting and the writing failing", s)
		}
		store.Fail(nil)
		time.Sleep(2 * audit.FlushPause)
		audittest.Check(t, store, "alice", 1)
		audittest.Check(t, store, "bob", 2)
		if s := log.Stats(); s != (audit.Stats{}) {
			t.Errorf("Stats once the store works = %+v, want nothing left", s)
		}
		if err := log.Close(t.Context()); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
	})
}

// picky does not take events of a name.
type picky struct{ *audittest.Memory }

func (p picky) Append(ctx context.Context, owner knowledge.TenantID, events []audit.Event) error {
	for _, e := range events {
		if e.Name == "c7" {
			return errors.New("no, for no reason that passes")
		}
	}
	return p.Memory.Append(ctx, owner, events)
}

// TestLogGivesOneUp: an event that cannot be kept does not keep the others back, and who
// waits for it is not told that it is kept.
func TestLogGivesOneUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := audittest.NewMemory()
		log := audit.NewLog(picky{store}, audit.Options{Log: quiet})
		for n := range 7 {
			_ = log.Note(t.Context(), "alice", audittest.Event(n))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := log.Record(ctx, "alice", audittest.Event(7)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Record of what cannot be kept = %v, want DeadlineExceeded", err)
		}
		if err := log.Record(t.Context(), "alice", audittest.Event(8)); err != nil {
			t.Errorf("Record after it = %v, want nil", err)
		}
		audittest.Check(t, store, "alice", 8)
		if s := log.Stats(); s.Dropped != 1 || s.Waiting != 0 {
			t.Errorf("Stats = %+v, want one dropped", s)
		}
		_ = log.Close(t.Context())
	})
}

// TestHashIsDocumented: docs/audit.md has this event and its hash, for who checks chains
// with other programs.
func TestHashIsDocumented(t *testing.T) {
	e := audit.Event{
		ID: "A", At: time.UnixMicro(1_770_091_506_789_000), Actor: "admin", Remote: "192.0.2.1", Operation: "createKey",
		Kind: "key", Name: "acme/key_x", Status: 201, Outcome: "ok", RequestID: "r", Details: []string{"name", "scopes"},
	}
	got := audit.Mark{}.Next(audit.Operator, e)
	if want := "78d7e0160fd3883e783232eaf17609876057fae55c3144992908bc5df647bca4"; got.Hash.String() != want {
		t.Errorf("hash = %s, want %s", got.Hash, want)
	}
}

// TestNormal: what an event may not have is taken out, and what it has in two ways it has in
// one.
func TestNormal(t *testing.T) {
	e := audit.Event{Name: strings.Repeat("ä", 600) + "\n", RequestID: "a\x00b", At: time.Now()}
	for n := range 100 {
		e.Details = append(e.Details, fmt.Sprintf("d%02d", 99-n), "d00")
	}
	got := e.Normal()
	if got.ID == "" || len(got.Name) != audit.MaxName || got.RequestID != "a\ufffdb" || len(got.Details) != audit.MaxDetails || got.Details[1] != "d01" {
		t.Errorf("Normal = %+v, want it with an id, bounded, without control characters", got)
	}
	if again := got.Normal(); fmt.Sprint(again) != fmt.Sprint(got) {
		t.Errorf("Normal twice = %+v, want what once gives", again)
	}
}
