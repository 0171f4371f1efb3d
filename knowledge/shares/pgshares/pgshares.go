// Package pgshares keeps shares in PostgreSQL: the tables shares and share_reads of
// migrations.
//
// Owners and grantees go through the role tars_app, each as itself: row-level security
// gives the grantee nothing but the reading of what is given to it. What is counted goes
// through the role tars_jobs. That shares end with their view is seen to by a trigger.
package pgshares

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
	"github.com/tars-project/tars/knowledge/shares"
)

// Store implements [shares.Store].
type Store struct{ app, jobs *pgxpool.Pool }

var _ shares.Store = (*Store)(nil)

// New returns a store on pools of the roles tars_app and tars_jobs.
func New(app, jobs *pgxpool.Pool) *Store { return &Store{app, jobs} }

const (
	// lockSQL makes those wait who share something of one tenant's, so that what is
	// counted holds.
	lockSQL = `SELECT pg_advisory_xact_lock(hashtextextended('tars.shares ' || @tenant, 0))`

	// holdViewSQL keeps the view until the share of it is there, and so ends with it.
	holdViewSQL = `SELECT name FROM views WHERE tenant_id = @tenant AND name = @view FOR KEY SHARE`

	endExpiredSQL = `
UPDATE shares SET revoked_at = expires_at
WHERE tenant_id = @tenant AND revoked_at IS NULL AND expires_at <= clock_timestamp()`

	countSQL = `
SELECT count(*), coalesce(max(share_id) FILTER (WHERE view = @view AND grantee = @grantee), '')
FROM shares
WHERE tenant_id = @tenant AND revoked_at IS NULL`

	forgetSQL = `
DELETE FROM shares
WHERE tenant_id = @tenant AND share_id IN (
	SELECT share_id FROM shares
	WHERE tenant_id = @tenant AND revoked_at IS NOT NULL
	ORDER BY revoked_at DESC, share_id
	OFFSET @most)`

	// insertSQL takes the time of now and not that of the transaction: the view may be
	// younger than this.
	insertSQL = `
INSERT INTO shares (tenant_id, share_id, view, grantee, note, created_by, created_at, expires_at)
VALUES (@tenant, @id, @view, @grantee, @note, @by, clock_timestamp(), @expires)
RETURNING ` + columns

	columns = `tenant_id, share_id, view, grantee, note, created_by, created_at, expires_at, revoked_at`
)

// Grant implements [shares.Store].
func (s *Store) Grant(ctx context.Context, owner knowledge.TenantID, share knowledge.Share) (made knowledge.Share, err error) {
	share.Owner = owner
	if err := share.Check(time.Now()); err != nil {
		return knowledge.Share{}, err
	}
	args := pgx.NamedArgs{
		"tenant": string(owner), "id": string(share.ID), "view": string(share.View), "grantee": string(share.Grantee),
		"note": share.Note, "by": share.CreatedBy, "expires": orNull(share.Expires), "most": knowledge.MaxShares,
	}
	err = pgtx.Write(ctx, s.app, owner, func(tx pgx.Tx) error {
		if err := prepare(ctx, tx, share, args); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, insertSQL, args)
		if err != nil {
			return err
		}
		made, err = pgx.CollectExactlyOneRow(rows, scan)
		return err
	})
	if err != nil {
		return knowledge.Share{}, fmt.Errorf("grant share: %w", err)
	}
	return made, nil
}

// prepare makes sure that a share may be made, and makes room for it.
func prepare(ctx context.Context, tx pgx.Tx, share knowledge.Share, args pgx.NamedArgs) error {
	if _, err := tx.Exec(ctx, lockSQL, args); err != nil {
		return err
	}
	var name string
	switch err := tx.QueryRow(ctx, holdViewSQL, args).Scan(&name); {
	case errors.Is(err, pgx.ErrNoRows):
		return knowledge.NotFound("view", share.View)
	case err != nil:
		return err
	}
	if _, err := tx.Exec(ctx, endExpiredSQL, args); err != nil {
		return err
	}
	standing, same := 0, knowledge.ShareID("")
	switch err := tx.QueryRow(ctx, countSQL, args).Scan(&standing, &same); {
	case err != nil:
		return err
	case same != "":
		return knowledge.AlreadyShared(same)
	case standing >= knowledge.MaxShares:
		return knowledge.TooManyShares()
	}
	_, err := tx.Exec(ctx, forgetSQL, args)
	return err
}

const revokeSQL = `
UPDATE shares SET revoked_at = coalesce(revoked_at, clock_timestamp())
WHERE tenant_id = @tenant AND share_id = @id
RETURNING ` + columns

// Revoke implements [shares.Store].
func (s *Store) Revoke(ctx context.Context, owner knowledge.TenantID, id knowledge.ShareID) (ended knowledge.Share, err error) {
	args := pgx.NamedArgs{"tenant": string(owner), "id": string(id)}
	err = pgtx.Write(ctx, s.app, owner, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, revokeSQL, args)
		if err != nil {
			return err
		}
		if ended, err = pgx.CollectExactlyOneRow(rows, scan); errors.Is(err, pgx.ErrNoRows) {
			err = knowledge.NotFound("share", id)
		}
		return err
	})
	if err != nil {
		return knowledge.Share{}, fmt.Errorf("revoke share: %w", err)
	}
	return ended, nil
}

// usedSQL takes a condition and the column of who made it. The condition names a tenant
// by its column: both policies of the table admit rows.
const usedSQL = `
SELECT tenant_id, share_id, view, grantee, note, %[2]s, created_at, expires_at, revoked_at, today.queries, today.rows, total.queries, total.rows
FROM shares s,
LATERAL (
	SELECT coalesce(sum(queries), 0)::bigint AS queries, coalesce(sum(rows), 0)::bigint AS rows
	FROM share_reads r WHERE r.tenant_id = s.tenant_id AND r.share_id = s.share_id
) total,
LATERAL (
	SELECT coalesce(sum(queries), 0)::bigint AS queries, coalesce(sum(rows), 0)::bigint AS rows
	FROM share_reads r WHERE r.tenant_id = s.tenant_id AND r.share_id = s.share_id AND r.day = @today
) today
WHERE s.%[1]s = @tenant AND s.share_id > @after
ORDER BY s.share_id
LIMIT @limit`

// Given implements [shares.Store].
func (s *Store) Given(ctx context.Context, owner knowledge.TenantID, after knowledge.ShareID, limit int) ([]shares.Used, error) {
	return s.list(ctx, owner, fmt.Sprintf(usedSQL, "tenant_id", "created_by"), after, limit)
}

// Received implements [shares.Store].
func (s *Store) Received(ctx context.Context, grantee knowledge.TenantID, after knowledge.ShareID, limit int) ([]shares.Used, error) {
	return s.list(ctx, grantee, fmt.Sprintf(usedSQL, "grantee", "''"), after, limit)
}

func (s *Store) list(ctx context.Context, tenant knowledge.TenantID, sql string, after knowledge.ShareID, limit int) (found []shares.Used, err error) {
	args := pgx.NamedArgs{"tenant": string(tenant), "after": string(after), "limit": limit, "today": time.Now().UTC()}
	err = pgtx.Read(ctx, s.app, tenant, sql, args, func(rows pgx.Rows) error {
		found = []shares.Used{}
		for rows.Next() {
			var u shares.Used
			var err error
			if u.Share, err = scanShare(rows, &u.Today.Queries, &u.Today.Rows, &u.Total.Queries, &u.Total.Rows); err != nil {
				return err
			}
			found = append(found, u)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list shares: %w", err)
	}
	return found, nil
}

const sharedSQL = `
SELECT tenant_id, share_id, view, grantee, note, '', created_at, expires_at, revoked_at
FROM shares
WHERE tenant_id = @owner AND standing = @view AND grantee = @grantee
  AND (expires_at IS NULL OR expires_at > clock_timestamp())`

// Shared implements [shares.Store]. It reads as the grantee.
func (s *Store) Shared(ctx context.Context, grantee, owner knowledge.TenantID, view knowledge.CollectionName) (share knowledge.Share, err error) {
	args := pgx.NamedArgs{"owner": string(owner), "view": string(view), "grantee": string(grantee)}
	err = pgtx.Read(ctx, s.app, grantee, sharedSQL, args, func(rows pgx.Rows) (err error) {
		if share, err = pgx.CollectExactlyOneRow(rows, scan); errors.Is(err, pgx.ErrNoRows) {
			err = knowledge.NotShared(view)
		}
		return err
	})
	if err != nil {
		return knowledge.Share{}, fmt.Errorf("look up share: %w", err)
	}
	return share, nil
}

// writeReadsSQL leaves out shares that are forgotten: nobody can see what they were
// read. A writer's sums only grow.
const writeReadsSQL = `
INSERT INTO share_reads AS r (tenant_id, share_id, grantee, day, writer, queries, rows)
SELECT s.tenant_id, s.share_id, s.grantee, n.day, @writer, n.queries, n.rows
FROM unnest(@owners::text[], @shares::text[], @days::date[], @queries::bigint[], @rows::bigint[]) AS n (tenant_id, share_id, day, queries, rows)
JOIN shares s ON s.tenant_id = n.tenant_id AND s.share_id = n.share_id
ON CONFLICT (tenant_id, share_id, day, writer) DO UPDATE SET
	queries = greatest(r.queries, excluded.queries),
	rows = greatest(r.rows, excluded.rows)`

// WriteReads implements [shares.Store].
func (s *Store) WriteReads(ctx context.Context, writer string, reads []shares.DayReads) error {
	var owners, ids []string
	var days []time.Time
	var queries, rows []int64
	for _, r := range reads {
		owners, ids, days = append(owners, string(r.Owner)), append(ids, string(r.Share)), append(days, r.Day)
		queries, rows = append(queries, r.Queries), append(rows, r.Rows)
	}
	args := pgx.NamedArgs{"writer": writer, "owners": owners, "shares": ids, "days": days, "queries": queries, "rows": rows}
	if _, err := s.jobs.Exec(ctx, writeReadsSQL, args); err != nil {
		return fmt.Errorf("write reads of shares: %w", pgtx.Kind(ctx, err))
	}
	return nil
}

func scan(row pgx.CollectableRow) (knowledge.Share, error) { return scanShare(row) }

// scanShare reads the columns of a share, before more.
func scanShare(row pgx.Row, more ...any) (s knowledge.Share, err error) {
	var expires, revoked *time.Time
	err = row.Scan(append([]any{&s.Owner, &s.ID, &s.View, &s.Grantee, &s.Note, &s.CreatedBy, &s.Created, &expires, &revoked}, more...)...)
	s.Created, s.Expires, s.Revoked = s.Created.UTC(), orZero(expires), orZero(revoked)
	return s, err
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
