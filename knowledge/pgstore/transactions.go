package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// within is the store whose statements are all part of tx. It knows no definition
// yet, for what is remembered outside may be newer than what tx sees.
func (s *Store) within(tx pgx.Tx) *Store {
	inside := *s
	inside.app, inside.definitions = tx, newDefinitions(time.Now)
	return &inside
}

// Atomically implements [knowledge.Transactions].
func (s *Store) Atomically(ctx context.Context, tenant knowledge.TenantID, do func(knowledge.Session) error) error {
	return s.atomically(ctx, tenant, func(pgx.Tx) error { return nil }, do)
}

// Exclusively implements [knowledge.Transactions]. The locks come in the order in
// which changes of names take them.
func (s *Store) Exclusively(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, do func(knowledge.Session) error) error {
	if _, limited := knowledge.ViewsOf(ctx); limited {
		return knowledge.NotFound("collection", collection)
	}
	return s.atomically(ctx, tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockTenantSQL, pgx.NamedArgs{"tenant": string(tenant)}); err != nil {
			return err
		}
		_, err := lockDefinition(ctx, tx, tenant, collection)
		return err
	}, do)
}

// atomically calls do in a transaction, after what must come first in it.
func (s *Store) atomically(ctx context.Context, tenant knowledge.TenantID, first func(pgx.Tx) error, do func(knowledge.Session) error) error {
	forgot := false
	err := pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		if err := first(tx); err != nil {
			return err
		}
		inner := s.within(tx)
		defer func() { forgot = forgot || inner.definitions.age() > 0 }()
		return do(inner)
	})
	if forgot { // what names stand for was changed
		s.definitions.forget(tenant)
	}
	return err
}

// The lock of an attempt is held to the end of its transaction, which is before
// another can have it and after all can see what it kept.
const lockAttemptSQL = `SELECT pg_try_advisory_xact_lock(hashtextextended('tars.idempotency ' || @tenant || ' ' || @key, 0))`

const keptReplySQL = `
SELECT route = @route AND principal = @principal AND body_hash = @body_hash, status, header, body
FROM idempotency
WHERE tenant_id = @tenant AND key = @key AND expires_at > now()`

const forgetReplySQL = `DELETE FROM idempotency WHERE tenant_id = @tenant AND key = @key`

const keepReplySQL = `
INSERT INTO idempotency (tenant_id, key, route, principal, body_hash, status, header, body, expires_at)
VALUES (@tenant, @key, @route, @principal, @body_hash, @status, @header, @body, now() + @life::interval)`

func attemptArgs(tenant knowledge.TenantID, a knowledge.Attempt) pgx.NamedArgs {
	return pgx.NamedArgs{
		"tenant": string(tenant), "key": a.Key, "route": a.Route, "principal": a.Principal, "body_hash": a.Body[:],
	}
}

// Once implements [knowledge.Transactions].
func (s *Store) Once(ctx context.Context, tenant knowledge.TenantID, attempt knowledge.Attempt, do func(knowledge.Session) (knowledge.Reply, error)) (knowledge.Reply, bool, error) {
	var reply knowledge.Reply
	var replayed bool
	forgot := false
	err := pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		args := attemptArgs(tenant, attempt)
		var locked bool
		if err := tx.QueryRow(ctx, lockAttemptSQL, args).Scan(&locked); err != nil {
			return err
		}
		if !locked {
			return knowledge.ErrRunning
		}
		var err error
		if reply, replayed, err = scanReply(tx.QueryRow(ctx, keptReplySQL, args)); replayed || err != nil {
			return err
		}
		inner := s.within(tx)
		reply, err = do(inner)
		if forgot = forgot || inner.definitions.age() > 0; err != nil {
			return err
		}
		args["status"], args["header"], args["body"], args["life"] = reply.Status, reply.Header, reply.Body, knowledge.IdempotencyLife
		if reply.Header == nil {
			args["header"] = map[string]string{}
		}
		if reply.Body == nil {
			args["body"] = []byte{}
		}
		if _, err := tx.Exec(ctx, forgetReplySQL, args); err != nil { // one past its life
			return err
		}
		_, err = tx.Exec(ctx, keepReplySQL, args)
		return err
	})
	if forgot {
		s.definitions.forget(tenant)
	}
	if err != nil {
		return knowledge.Reply{}, false, fmt.Errorf("attempt: %w", err)
	}
	return reply, replayed, nil
}

// scanReply reads a kept reply, if there is one.
func scanReply(row pgx.Row) (reply knowledge.Reply, kept bool, err error) {
	var same bool
	switch err := row.Scan(&same, &reply.Status, &reply.Header, &reply.Body); {
	case errors.Is(err, pgx.ErrNoRows):
		return knowledge.Reply{}, false, nil
	case err != nil:
		return knowledge.Reply{}, false, err
	case !same:
		return knowledge.Reply{}, false, knowledge.ErrReused
	}
	return reply, true, nil
}

// Replay implements [knowledge.Transactions].
func (s *Store) Replay(ctx context.Context, tenant knowledge.TenantID, attempt knowledge.Attempt) (knowledge.Reply, bool, error) {
	var reply knowledge.Reply
	var kept bool
	err := pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, keptReplySQL, attemptArgs(tenant, attempt), func(rows pgx.Rows) (err error) {
		if rows.Next() {
			reply, kept, err = scanReply(rows)
		}
		return errors.Join(err, rows.Err())
	})
	if err != nil {
		return knowledge.Reply{}, false, fmt.Errorf("replay: %w", err)
	}
	return reply, kept, nil
}

const sweepRepliesSQL = `
DELETE FROM idempotency
WHERE ctid = ANY (ARRAY(
	SELECT ctid FROM idempotency
	WHERE expires_at <= now()
	LIMIT @most))`

const sweepImportsSQL = `
DELETE FROM imports
WHERE ctid = ANY (ARRAY(
	SELECT ctid FROM imports
	WHERE updated_at <= now() - @life::interval
	LIMIT @most))`

// SweepReplies implements [knowledge.Transactions].
func (s *Store) SweepReplies(ctx context.Context, most int) (int64, error) {
	var n int64
	for _, sql := range []string{sweepRepliesSQL, sweepImportsSQL} {
		tag, err := s.jobs.Exec(ctx, sql, pgx.NamedArgs{"most": most, "life": knowledge.ImportLife})
		if err != nil {
			return n, fmt.Errorf("sweep replies: %w", pgtx.Kind(ctx, err))
		}
		n += tag.RowsAffected()
	}
	return n, nil
}

// touchPlacesSQL holds the tables of the tenant's records to the end of the
// transaction, so that none is dropped of which a snapshot still tells.
const touchPlacesSQL = `SELECT FROM records WHERE placement = ANY (@places::int[]) AND tenant_id = @tenant LIMIT 0`

// placesSQL are the places of the tenant's records in the snapshot, and whether
// all of them are there now.
const placesSQL = `
SELECT array_agg(place), coalesce(bool_and(to_regclass('tars.records_' || place) IS NOT NULL), true)
FROM (
	SELECT placement AS place FROM collections WHERE tenant_id = @tenant
	UNION
	SELECT main FROM collections WHERE tenant_id = @tenant AND main IS NOT NULL
) p`

// snapshotAttempts bounds how often a snapshot is begun again because a place that
// it tells of was dropped before it could be held.
const snapshotAttempts = 4

// Snapshot implements [knowledge.Transactions].
func (s *Store) Snapshot(ctx context.Context, tenant knowledge.TenantID, do func(knowledge.Reader) error) error {
	for range snapshotAttempts {
		held := false
		err := pgtx.Snapshot(ctx, s.app, tenant, func(tx pgx.Tx) error {
			var err error
			if held, err = holdPlaces(ctx, tx, tenant); err != nil || !held {
				return err
			}
			return do(s.within(tx))
		})
		if held || err != nil {
			return err
		}
	}
	return fmt.Errorf("snapshot: places keep going: %w", knowledge.ErrUnavailable)
}

// holdPlaces makes sure that the places that the snapshot tells of stay.
func holdPlaces(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID) (bool, error) {
	args := pgx.NamedArgs{"tenant": string(tenant)}
	var places []int32
	var there bool
	if err := tx.QueryRow(ctx, placesSQL, args).Scan(&places, &there); err != nil {
		return false, err
	}
	args["places"] = places
	if _, err := tx.Exec(ctx, touchPlacesSQL, args); err != nil {
		return false, err
	}
	// Again, now that none can go any more. The names are looked up in the
	// present, not in the snapshot.
	err := tx.QueryRow(ctx, placesSQL, args).Scan(&places, &there)
	return there, err
}
