package pgstore

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// facetsSQL takes the filter and one select for each facet. One row more than is
// counted tells whether there are more.
const facetsSQL = `
WITH looked AS MATERIALIZED (
	SELECT r.metadata
	FROM records r
	WHERE ` + liveSQL + `
	  AND %s
	LIMIT @most + 1
),
counted AS MATERIALIZED (SELECT metadata FROM looked LIMIT @most),
seen AS (SELECT count(*) AS n FROM looked)
SELECT f.facet, f.value, f.count, seen.n
FROM collections c
CROSS JOIN seen
LEFT JOIN (%s) f ON true
WHERE ` + currentSQL + `
ORDER BY f.facet, f.n`

// scalarsSQL takes the number of the facet. It gives the distinct scalars of a
// record's field, those in a list too.
const scalarsSQL = `
		SELECT v FROM (SELECT metadata -> @facet%[1]d::text) AS m (v) WHERE jsonb_typeof(v) IN ('boolean', 'number', 'string')
		UNION
		SELECT v
		FROM jsonb_array_elements(CASE jsonb_typeof(metadata -> @facet%[1]d::text) WHEN 'array' THEN metadata -> @facet%[1]d::text ELSE '[]' END) AS v
		WHERE jsonb_typeof(v) IN ('boolean', 'number', 'string')`

// valuesSQL takes the number of the facet. It orders equal counts by kind, false
// and true, numbers, strings, and by value.
const valuesSQL = `
	(SELECT %[1]d AS facet, value::text AS value, count(*) AS count,
		row_number() OVER (ORDER BY count(*) DESC, array_position(ARRAY['boolean', 'number', 'string'], jsonb_typeof(value)),
			CASE jsonb_typeof(value) WHEN 'number' THEN value::float8 WHEN 'boolean' THEN value::bool::int END,
			(value #>> '{}') COLLATE "C") AS n
	FROM counted, LATERAL (` + scalarsSQL + `) AS v (value)
	GROUP BY value
	ORDER BY n
	LIMIT @limit%[1]d)`

// rangesSQL takes the number of the facet. It gives a line for each range.
const rangesSQL = `
	(SELECT %[1]d AS facet, NULL::text AS value, count(x.value) AS count, b.n
	FROM unnest(@from%[1]d::float8[], @to%[1]d::float8[]) WITH ORDINALITY AS b (low, high, n)
	LEFT JOIN (
		SELECT value::float8
		FROM counted, LATERAL (` + scalarsSQL + `) AS v (value)
		WHERE jsonb_typeof(value) = 'number'
	) x ON x.value >= b.low AND x.value < b.high
	GROUP BY b.n)`

// Facets implements [knowledge.Records]. It reads the metadata of every record
// that passes the filter, up to the bound: some 0.1 s for 100,000.
func (s *Store) Facets(ctx context.Context, tenant knowledge.TenantID, request knowledge.FacetSearch) ([]knowledge.FacetCounts, error) {
	if err := request.Validate(); err != nil {
		return nil, err
	}
	var counts []knowledge.FacetCounts
	err := s.withDefinition(ctx, tenant, request.Collection, func(d definition) (current bool, err error) {
		if err := request.CheckFields(d.Fields); err != nil {
			return false, knowledge.At("facets", err)
		}
		if err := request.CheckView(d.view); err != nil {
			return false, err
		}
		counts, current, err = s.countFacets(ctx, tenant, d, request)
		return current, err
	})
	if err != nil {
		return nil, fmt.Errorf("facets: %w", err)
	}
	return counts, nil
}

func (s *Store) countFacets(ctx context.Context, tenant knowledge.TenantID, d definition, request knowledge.FacetSearch) (all []knowledge.FacetCounts, current bool, err error) {
	args := d.args(tenant)
	args["most"] = s.options.MaxFacetRecords
	where, err := d.where(request.Filter, args)
	if err != nil {
		return nil, false, err
	}
	parts := make([]string, len(request.Facets))
	for i, f := range request.Facets {
		args[fmt.Sprintf("facet%d", i)] = f.Field
		if len(f.Ranges) > 0 {
			parts[i] = fmt.Sprintf(rangesSQL, i)
			args[fmt.Sprintf("from%d", i)], args[fmt.Sprintf("to%d", i)] = bounds(f.Ranges)
		} else {
			parts[i] = fmt.Sprintf(valuesSQL, i)
			args[fmt.Sprintf("limit%d", i)] = f.Limit
		}
	}
	all = make([]knowledge.FacetCounts, len(request.Facets))
	sql := fmt.Sprintf(facetsSQL, where, strings.Join(parts, " UNION ALL "))
	err = pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, sql, args, func(rows pgx.Rows) error {
		for i, f := range request.Facets {
			all[i] = knowledge.FacetCounts{Field: f.Field}
		}
		for rows.Next() {
			current = true
			if err := scanFacet(rows, all, int64(s.options.MaxFacetRecords)); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	return all, current, err
}

// bounds are those of the ranges, infinite where there is none.
func bounds(ranges []knowledge.Range) (from, to []float64) {
	for _, r := range ranges {
		low, high := math.Inf(-1), math.Inf(1)
		if r.From != nil {
			low = *r.From
		}
		if r.To != nil {
			high = *r.To
		}
		from, to = append(from, low), append(to, high)
	}
	return from, to
}

// scanFacet adds one line to the counts of its facet; a line without a facet has
// the number of records alone.
func scanFacet(row pgx.Row, all []knowledge.FacetCounts, most int64) error {
	var (
		facet      *int
		value      *string
		count      *int64
		lookedInto int64
	)
	if err := row.Scan(&facet, &value, &count, &lookedInto); err != nil {
		return err
	}
	for i := range all {
		all[i].Counted, all[i].Approximate = min(lookedInto, most), lookedInto > most
	}
	switch {
	case facet == nil:
	case value == nil:
		all[*facet].Ranges = append(all[*facet].Ranges, *count)
	default:
		var v any
		if err := json.Unmarshal([]byte(*value), &v); err != nil {
			return fmt.Errorf("decode value: %w", err)
		}
		all[*facet].Values = append(all[*facet].Values, knowledge.ValueCount{Value: v, Count: *count})
	}
	return nil
}
