// Package pgaudit keeps the audit log in PostgreSQL. What is noted, and when it is written,
// is for package audit.
package pgaudit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/audit"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// Store implements [audit.Store]. Make it with [New]; safe for concurrent use.
type Store struct{ app, jobs pgtx.DB }

var _ audit.Store = (*Store)(nil)

// New returns a store that adds and reads on connections of the role tars_app, and sweeps on
// those of tars_jobs.
func New(app, jobs pgtx.DB) *Store { return &Store{app, jobs} }

// headSQL holds the head of the chain until the transaction ends: who else adds to it, on
// any node, waits here.
const headSQL = `SELECT seq, hash FROM tars.audit_head()`

const keptSQL = `SELECT event_id FROM audit_events WHERE tenant_id = @tenant AND event_id = ANY (@ids)`

const insertSQL = `
INSERT INTO audit_events (tenant_id, seq, event_id, at, actor, remote, operation, kind, name, status, outcome, request_id, previous, hash, details)
SELECT @tenant, n.seq, n.event_id, n.at, n.actor, n.remote, n.operation, n.kind, n.name, n.status, n.outcome, n.request_id, n.previous, n.hash,
	string_to_array(n.details, E'\n')
FROM unnest(@seqs::bigint[], @ids::text[], @at::timestamptz[], @actors::text[], @remotes::text[], @operations::text[], @kinds::text[],
	@names::text[], @status::int[], @outcomes::text[], @requests::text[], @previous::bytea[], @hashes::bytea[], @details::text[])
	AS n (seq, event_id, at, actor, remote, operation, kind, name, status, outcome, request_id, previous, hash, details)
ORDER BY n.seq`

// Append implements [audit.Writer].
func (s *Store) Append(ctx context.Context, owner knowledge.TenantID, events []audit.Event) error {
	err := pgtx.Write(ctx, s.app, owner, func(tx pgx.Tx) error {
		var head audit.Mark
		var hash []byte
		if err := tx.QueryRow(ctx, headSQL).Scan(&head.Seq, &hash); err != nil {
			return err
		}
		copy(head.Hash[:], hash)
		kept, err := keptOf(ctx, tx, owner, events)
		if err != nil {
			return err
		}
		var entries []audit.Entry
		for _, e := range events {
			if slices.Contains(kept, e.ID) {
				continue
			}
			entry := head.Next(owner, e)
			entries, head = append(entries, entry), entry.Mark()
		}
		if len(entries) == 0 {
			return nil
		}
		_, err = tx.Exec(ctx, insertSQL, entryArgs(owner, entries))
		return err
	})
	if err != nil {
		return fmt.Errorf("append to the audit log: %w", err)
	}
	return nil
}

// keptOf are the ids of the events that the log has already.
func keptOf(ctx context.Context, tx pgx.Tx, owner knowledge.TenantID, events []audit.Event) ([]string, error) {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	rows, err := tx.Query(ctx, keptSQL, pgx.NamedArgs{"tenant": string(owner), "ids": ids})
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func entryArgs(owner knowledge.TenantID, entries []audit.Entry) pgx.NamedArgs {
	args := pgx.NamedArgs{"tenant": string(owner)}
	for name, value := range map[string]func(audit.Entry) any{
		"seqs": func(e audit.Entry) any { return e.Seq }, "ids": func(e audit.Entry) any { return e.ID },
		"at": func(e audit.Entry) any { return e.At }, "actors": func(e audit.Entry) any { return e.Actor },
		"remotes": func(e audit.Entry) any { return e.Remote }, "operations": func(e audit.Entry) any { return e.Operation },
		"kinds": func(e audit.Entry) any { return e.Kind }, "names": func(e audit.Entry) any { return e.Name },
		"status": func(e audit.Entry) any { return e.Status }, "outcomes": func(e audit.Entry) any { return e.Outcome },
		"requests": func(e audit.Entry) any { return e.RequestID }, "previous": func(e audit.Entry) any { return e.Previous[:] },
		"hashes": func(e audit.Entry) any { return e.Hash[:] }, "details": func(e audit.Entry) any { return strings.Join(e.Details, "\n") },
	} {
		column := make([]any, len(entries))
		for i, e := range entries {
			column[i] = value(e)
		}
		args[name] = column
	}
	return args
}

const columns = `seq, event_id, at, actor, remote, operation, kind, name, status, outcome, request_id, details, previous, hash`

const listSQL = `
SELECT ` + columns + `
FROM audit_events
WHERE tenant_id = @tenant
	AND (@before::bigint = 0 OR seq < @before)
	AND (@actor::text = '' OR actor = @actor)
	AND (@operation::text = '' OR operation = @operation)
	AND (@kind::text = '' OR kind = @kind)
	AND (@name::text = '' OR name = @name)
	AND (@outcome::text = '' OR outcome = @outcome)
	AND (@since::timestamptz IS NULL OR at >= @since)
	AND (@until::timestamptz IS NULL OR at < @until)
ORDER BY seq DESC
LIMIT @limit`

// Events implements [audit.Reader].
func (s *Store) Events(ctx context.Context, owner knowledge.TenantID, want audit.Selection, limit int) (found []audit.Entry, err error) {
	args := pgx.NamedArgs{
		"tenant": string(owner), "before": want.Before, "actor": want.Actor, "operation": want.Operation, "kind": want.Kind, "name": want.Name,
		"outcome": want.Outcome, "since": timeOrNil(want.Since), "until": timeOrNil(want.Until), "limit": limit,
	}
	err = pgtx.Read(ctx, s.app, owner, listSQL, args, func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, scanEntry)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the audit log: %w", err)
	}
	return found, nil
}

func timeOrNil(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

func scanEntry(row pgx.CollectableRow) (e audit.Entry, err error) {
	var previous, hash []byte
	err = row.Scan(&e.Seq, &e.ID, &e.At, &e.Actor, &e.Remote, &e.Operation, &e.Kind, &e.Name, &e.Status, &e.Outcome, &e.RequestID, &e.Details, &previous, &hash)
	e.At = e.At.UTC()
	copy(e.Previous[:], previous)
	copy(e.Hash[:], hash)
	return e, err
}

const marksSQL = `SELECT seq, hash, swept_seq, swept_hash FROM audit_heads WHERE tenant_id = @tenant`

const hashSQL = `SELECT hash FROM audit_events WHERE tenant_id = @tenant AND seq = @seq`

const walkSQL = `
SELECT ` + columns + `
FROM audit_events
WHERE tenant_id = @tenant AND seq > @after
ORDER BY seq
LIMIT @limit`

// walkPage is how many entries a walk reads at once.
const walkPage = 1000

// Walk implements [audit.Reader].
func (s *Store) Walk(ctx context.Context, owner knowledge.TenantID, after int64, begin func(first, last audit.Mark) error, each func(audit.Entry) error) error {
	return pgtx.Snapshot(ctx, s.app, owner, func(tx pgx.Tx) error {
		first, last, err := marks(ctx, tx, owner, after)
		if err != nil {
			return err
		}
		if err := begin(first, last); err != nil {
			return err
		}
		for at := first.Seq; ; {
			rows, err := tx.Query(ctx, walkSQL, pgx.NamedArgs{"tenant": string(owner), "after": at, "limit": walkPage})
			if err != nil {
				return err
			}
			page, err := pgx.CollectRows(rows, scanEntry)
			if err != nil {
				return err
			}
			for _, e := range page {
				if err := each(e); err != nil {
					return err
				}
				at = e.Seq
			}
			if len(page) < walkPage {
				return nil
			}
		}
	})
}

// marks are the places between which a walk goes.
func marks(ctx context.Context, tx pgx.Tx, owner knowledge.TenantID, after int64) (first, last audit.Mark, err error) {
	var head, swept []byte
	args := pgx.NamedArgs{"tenant": string(owner), "seq": after}
	rows, err := tx.Query(ctx, marksSQL, args)
	if err != nil {
		return first, last, err
	}
	if _, err := pgx.ForEachRow(rows, []any{&last.Seq, &head, &first.Seq, &swept}, func() error { return nil }); err != nil {
		return first, last, err
	}
	copy(last.Hash[:], head)
	copy(first.Hash[:], swept)
	switch {
	case after > last.Seq:
		return first, last, audit.TooFar(after, last.Seq)
	case after <= first.Seq:
		return first, last, nil
	}
	if err := tx.QueryRow(ctx, hashSQL, args).Scan(&head); err != nil {
		return first, last, fmt.Errorf("event %d of the audit log: %w", after, gone(err))
	}
	first.Seq = after
	copy(first.Hash[:], head)
	return first, last, nil
}

// gone makes the error of a row that must be there one of no kind: nobody asked for it.
func gone(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errors.New("is missing")
	}
	return err
}

// staleSQL are the logs that have something to sweep.
const staleSQL = `SELECT DISTINCT tenant_id FROM audit_events WHERE at < now() - @age::interval`

// sweepChunk is how many events one transaction of the sweep deletes at most: some 20 ms of
// locks.
const sweepChunk = 5000

// holdSQL keeps a second sweep of the same log waiting, and who adds to it.
const holdSQL = `SELECT FROM audit_heads WHERE tenant_id = @tenant FOR UPDATE`

const sweepSQL = `
WITH oldest AS (
	SELECT seq, at, hash
	FROM audit_events
	WHERE tenant_id = @tenant
	ORDER BY seq
	LIMIT @chunk
), final AS (
	SELECT seq, hash
	FROM oldest
	WHERE seq < coalesce((SELECT min(seq) FROM oldest WHERE at >= now() - @age::interval), 9223372036854775807)
	ORDER BY seq DESC
	LIMIT 1
), swept AS (
	UPDATE audit_heads h SET swept_seq = final.seq, swept_hash = final.hash
	FROM final
	WHERE h.tenant_id = @tenant
)
DELETE FROM audit_events e
USING final
WHERE e.tenant_id = @tenant AND e.seq <= final.seq`

// Sweep implements [audit.Store].
func (s *Store) Sweep(ctx context.Context, age time.Duration) (total int64, err error) {
	var owners []string
	err = pgx.BeginFunc(ctx, s.jobs, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, staleSQL, pgx.NamedArgs{"age": age})
		if err == nil {
			owners, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		return err
	})
	for i := 0; err == nil && i < len(owners); {
		var n int64
		if n, err = s.sweep(ctx, owners[i], age); n < sweepChunk {
			i++
		}
		total += n
	}
	if err != nil {
		return total, fmt.Errorf("sweep the audit log: %w", pgtx.Kind(ctx, err))
	}
	return total, nil
}

func (s *Store) sweep(ctx context.Context, owner string, age time.Duration) (n int64, err error) {
	err = pgx.BeginFunc(ctx, s.jobs, func(tx pgx.Tx) error {
		args := pgx.NamedArgs{"tenant": owner, "age": age, "chunk": sweepChunk}
		if _, err := tx.Exec(ctx, holdSQL, args); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, sweepSQL, args)
		n = tag.RowsAffected()
		return err
	})
	return n, err
}
