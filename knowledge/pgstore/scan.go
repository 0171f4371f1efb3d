package pgstore

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// scrollSQL takes a condition. It gives a row for the collection, if it is where we
// believe it to be, and in it a record, if there is one; with each, how many of
// the limit there were before the bound on bytes. Sizes are those in storage,
// which need no unpacking. A page has its first record whatever its size.
const scrollSQL = `
SELECT p.found, p.id, p.text, p.vector, p.metadata, p.version, p.expires_at, p.created_at, p.updated_at
FROM collections c
LEFT JOIN LATERAL (
	SELECT q.id, q.version, q.expires_at, q.created_at, q.updated_at, q.found,
		CASE WHEN @text THEN q.text ELSE '' END AS text,
		CASE WHEN @vectors THEN coalesce(q.embedding, q.half::vector)::float4[] END AS vector,
		CASE WHEN @metadata THEN q.metadata ELSE '{}' END AS metadata
	FROM (
		SELECT *, count(*) OVER () AS found,
			coalesce(sum(
				CASE WHEN @text THEN octet_length(text) ELSE 0 END +
				CASE WHEN @vectors THEN @vector_bytes::int ELSE 0 END +
				CASE WHEN @metadata THEN pg_column_size(metadata) ELSE 0 END
			) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
		FROM (
			SELECT r.id, r.text, r.embedding, r.half, r.metadata, r.version, r.expires_at, r.created_at, r.updated_at
			FROM records r
			WHERE r.id > @after AND ` + liveSQL + ` AND %s
			ORDER BY r.id
			LIMIT @limit
		) r
	) q
	WHERE q.before < @most_bytes
) p ON true
WHERE ` + currentSQL + `
ORDER BY p.id`

// ScrollRecords implements [knowledge.Records].
func (s *Store) ScrollRecords(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, scroll knowledge.Scroll) (knowledge.Page, error) {
	var page knowledge.Page
	err := s.withDefinition(ctx, tenant, collection, func(d definition) (current bool, err error) {
		if err := scroll.Validate(d.names().Seen()); err != nil {
			return false, err
		}
		args := d.args(tenant)
		condition, err := d.where(scroll.Filter, args)
		if err != nil {
			return false, err
		}
		args["after"], args["limit"], args["most_bytes"] = string(scroll.After), scroll.Limit+1, knowledge.MaxScrollBytes
		args["text"], args["vectors"], args["metadata"] = scroll.Text, scroll.Vector, scroll.Metadata
		args["vector_bytes"] = 4 * d.Dimension()
		page = knowledge.Page{Records: []knowledge.Record{}}
		err = pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, fmt.Sprintf(scrollSQL, condition), args, func(rows pgx.Rows) error {
			for rows.Next() {
				current = true
				if err := scanScrolled(rows, d, scroll, &page); err != nil {
					return err
				}
			}
			return rows.Err()
		})
		return current, err
	})
	if err != nil {
		return knowledge.Page{}, fmt.Errorf("scroll records: %w", err)
	}
	if len(page.Records) > scroll.Limit {
		page.Records, page.More = page.Records[:scroll.Limit], true
	}
	return page, nil
}

// scanScrolled adds the record of a row, if it has one, to the page.
func scanScrolled(rows pgx.Rows, d definition, scroll knowledge.Scroll, page *knowledge.Page) error {
	var found *int64
	var id *string
	var r knowledge.Record
	if err := scanRecord(prefixed{rows, []any{&found, &id}}, &r); err != nil || id == nil {
		return err
	}
	r.ID = knowledge.RecordID(*id)
	if r.Metadata = d.view.Hide(r.Metadata); !scroll.Metadata {
		r.Metadata = nil
	}
	page.Records = append(page.Records, r)
	page.More = *found > int64(len(page.Records))
	return nil
}

// prefixed is a row with columns before those that its reader knows.
type prefixed struct {
	pgx.Row
	first []any
}

// Scan implements [pgx.Row].
func (p prefixed) Scan(into ...any) error { return p.Row.Scan(append(p.first, into...)...) }

// countFilteredSQL takes a condition.
const countFilteredSQL = `
SELECT count(r.id)
FROM collections c
LEFT JOIN records r ON ` + liveSQL + ` AND %s
WHERE ` + currentSQL + `
GROUP BY c.collection_id`

// estimateSQL takes a condition. Its answer is the plan, which is not run.
const estimateSQL = `
EXPLAIN (FORMAT JSON)
SELECT FROM records r
WHERE ` + liveSQL + ` AND %s`

// CountRecords implements [knowledge.Records]. An estimate is the planner's, from
// the statistics that PostgreSQL gathers of each place.
func (s *Store) CountRecords(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, filter knowledge.Filter, exact bool) (knowledge.Count, error) {
	count := knowledge.Count{Estimate: !exact}
	err := s.withDefinition(ctx, tenant, collection, func(d definition) (current bool, err error) {
		if err := filter.Validate(d.names().Seen()); err != nil {
			return false, knowledge.At("filter", err)
		}
		args := d.args(tenant)
		condition, err := d.where(filter, args)
		if err != nil {
			return false, err
		}
		if exact {
			err = pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, fmt.Sprintf(countFilteredSQL, condition), args, func(rows pgx.Rows) error {
				for rows.Next() {
					current = true
					if err := rows.Scan(&count.Records); err != nil {
						return err
					}
				}
				return rows.Err()
			})
			return current, err
		}
		err = pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, fmt.Sprintf(estimateSQL, condition), args, func(rows pgx.Rows) error {
			for rows.Next() {
				if err := scanEstimate(rows, &count.Records); err != nil {
					return err
				}
			}
			return rows.Err()
		})
		return true, err // where it was a moment ago is good enough to estimate
	})
	if err != nil {
		return knowledge.Count{}, fmt.Errorf("count records: %w", err)
	}
	return count, nil
}

// scanEstimate reads how many rows a plan expects.
func scanEstimate(rows pgx.Rows, into *int64) error {
	var text []byte
	if err := rows.Scan(&text); err != nil {
		return err
	}
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	if err := json.Unmarshal(text, &plans); err != nil || len(plans) != 1 {
		return fmt.Errorf("read a plan: %w", err)
	}
	*into = int64(plans[0].Plan.Rows)
	return nil
}
