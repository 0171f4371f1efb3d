package pgaudit_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge/audit"
	"github.com/tars-project/tars/knowledge/audit/audittest"
	"github.com/tars-project/tars/knowledge/audit/pgaudit"
	"github.com/tars-project/tars/migrations/pgtest"
)

func TestStore(t *testing.T) {
	audittest.Run(t, func(t *testing.T) (one, other audit.Store) {
		db := pgtest.DB(t)
		return pgaudit.New(db.AppPool(t), db.JobsPool(t)), pgaudit.New(db.AppPool(t), db.JobsPool(t))
	})
}

// TestCutWrites: events whose writing is cut off at any moment, also in the commit, and
// that are written again until somebody says that they are, are there once.
func TestCutWrites(t *testing.T) {
	db := pgtest.DB(t)
	s := pgaudit.New(db.AppPool(t), db.JobsPool(t))
	const events = 200
	cuts, took := 0, time.Second // that one write took
	for n := range events {
		e := audittest.Event(n)
		for {
			ctx, cancel := context.WithTimeout(t.Context(), took/2+rand.N(took))
			start := time.Now()
			err := s.Append(ctx, "alice", []audit.Event{e})
			cancel()
			if err == nil {
				took = max(time.Since(start), 100*time.Microsecond)
				break
			}
			took += took / 10 // a connection that was cut is made anew
			cuts++
		}
	}
	audittest.Check(t, s, "alice", events)
	if cuts < 10 {
		t.Errorf("%d writes were cut, want enough to mean something", cuts)
	}
}

// TestTampering: whoever may do anything with the tables is found out, and at which event.
func TestTampering(t *testing.T) {
	for what, test := range map[string]struct {
		sql  string
		want int64 // the event at which the chain is broken
	}{
		"a changed actor":          {`UPDATE audit_events SET actor = 'key_other' WHERE seq = 4`, 4},
		"a changed time":           {`UPDATE audit_events SET at = at + interval '1 microsecond' WHERE seq = 4`, 4},
		"a changed status":         {`UPDATE audit_events SET status = 204 WHERE seq = 1`, 1},
		"changed details":          {`UPDATE audit_events SET details = '{records}' WHERE seq = 9`, 9},
		"fields that run together": {`UPDATE audit_events SET kind = kind || left(name, 1), name = substr(name, 2) WHERE seq = 4`, 4},
		"a changed hash":           {`UPDATE audit_events SET hash = sha256('x') WHERE seq = 4`, 4},
		"a hash that fits":         {`UPDATE audit_events SET actor = 'x', hash = sha256('x') WHERE seq = 4`, 4},
		"a removed event":          {`DELETE FROM audit_events WHERE seq = 4`, 4},
		"a removed beginning":      {`DELETE FROM audit_events WHERE seq <= 3`, 1},
		"a removed end":            {`DELETE FROM audit_events WHERE seq >= 8`, 8},
		"all removed":              {`DELETE FROM audit_events`, 1},
		"a reordered pair":         {`UPDATE audit_events SET seq = CASE seq WHEN 4 THEN 105 ELSE 104 END WHERE seq IN (4, 5); UPDATE audit_events SET seq = seq - 100 WHERE seq > 100`, 4},
		"a closed gap":             {`DELETE FROM audit_events WHERE seq = 4; UPDATE audit_events SET seq = seq + 100 WHERE seq > 4; UPDATE audit_events SET seq = seq - 101 WHERE seq > 100; UPDATE audit_heads SET seq = 9`, 4},
		"a shortened head":         {`UPDATE audit_heads SET seq = 9`, 10},
		"another's event":          {`UPDATE audit_events a SET actor = b.actor, event_id = b.event_id, at = b.at, previous = b.previous, hash = b.hash FROM audit_events b WHERE a.tenant_id = 'alice' AND b.tenant_id = 'bob' AND a.seq = 1 AND b.seq = 1`, 1},
		"nothing at all":           {`SELECT 1`, 0},
	} {
		t.Run(what, func(t *testing.T) {
			db := pgtest.DB(t)
			s := pgaudit.New(db.AppPool(t), db.JobsPool(t))
			for n := range 10 {
				e := audittest.Event(n)
				if err := errors.Join(s.Append(t.Context(), "alice", []audit.Event{e}), s.Append(t.Context(), "bob", []audit.Event{e})); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := db.OwnerPool(t).Exec(t.Context(), `SET search_path = tars; `+test.sql); err != nil {
				t.Fatal(err)
			}
			_, err := audittest.Verify(t.Context(), s, "alice")
			var broken *audit.BrokenError
			if test.want == 0 {
				if err != nil {
					t.Errorf("Verify = %v, want nil", err)
				}
				return
			}
			if !errors.As(err, &broken) || broken.Seq != test.want {
				t.Errorf("Verify = %v, want it broken at %d", err, test.want)
			}
		})
	}
}

// TestDatabaseKeepsTheChain: what does not go on from the head is refused, whoever sends it.
func TestDatabaseKeepsTheChain(t *testing.T) {
	db := pgtest.DB(t)
	s := pgaudit.New(db.AppPool(t), db.JobsPool(t))
	if err := s.Append(t.Context(), "alice", []audit.Event{audittest.Event(1), audittest.Event(2)}); err != nil {
		t.Fatal(err)
	}
	for what, seq := range map[string]string{"a fork": "1, sha256('fork')", "a gap": "4, (SELECT hash FROM audit_heads)", "another predecessor": "3, sha256('x')"} {
		_, err := db.OwnerPool(t).Exec(t.Context(), `
			SET search_path = tars;
			INSERT INTO audit_events (tenant_id, seq, previous, event_id, at, actor, remote, operation, kind, name, status, outcome, request_id, details, hash)
			SELECT 'alice', v.*, 'x', now(), '', '', '', '', '', 200, 'ok', '', '{}', sha256('x') FROM (SELECT `+seq+`) AS v`)
		if err == nil || !strings.Contains(err.Error(), "does not go on from the head") {
			t.Errorf("%s: %v, want it refused by the chain", what, err)
		}
	}
	audittest.Check(t, s, "alice", 2)
}
