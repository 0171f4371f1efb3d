package pgstore

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// Search implements [knowledge.Records]. It takes one round trip, and another for
// each of these: the collection has not been searched during the last second, its
// filter not during the last minute, or its recall not been looked up for ten seconds.
func (s *Store) Search(ctx context.Context, tenant knowledge.TenantID, search knowledge.Search) (knowledge.Found, error) {
	var found knowledge.Found
	err := s.withDefinition(ctx, tenant, search.Collection, func(d definition) (current bool, err error) {
		search := search // narrowed by what its name stands for this time
		if err := search.Validate(d.names().Seen()); err != nil {
			return false, err
		}
		if search.Filter, err = d.narrow(search.Filter); err != nil {
			return false, err
		}
		plan, err := s.plan(ctx, tenant, d, search)
		if err != nil {
			return false, err
		}
		found, current, err = s.searchAs(ctx, tenant, d, search, plan.Plan)
		if err != nil || !current {
			return current, err
		}
		if len(found.Matches) < search.Limit && plan.Method == methodHNSW { // many that have expired were among the candidates
			plan.Method = methodIterative
			if found, current, err = s.searchAs(ctx, tenant, d, search, plan.Plan); err != nil || !current {
				return current, err
			}
		}
		if len(found.Matches) < search.Limit && !isExact(plan.Method) {
			if found, current, err = s.searchShort(ctx, tenant, d, search, plan, found); err != nil || !current {
				return current, err
			}
		}
		s.offerSample(tenant, d, search, plan)
		if search.Explain {
			found.Plan.Explained, err = s.explainSearch(ctx, tenant, d, search, found.Plan)
		}
		return current, err
	})
	if err != nil {
		return knowledge.Found{}, fmt.Errorf("search: %w", err)
	}
	return found, nil
}

// searchShort goes on where an index found too few: it gave up, or there are no
// more. Where comparing all is affordable that tells which; otherwise, or when the
// caller bounded the scan, found is short.
func (s *Store) searchShort(ctx context.Context, tenant knowledge.TenantID, d definition, search knowledge.Search, by planned, found knowledge.Found) (knowledge.Found, bool, error) {
	method, cost := exactMethod(d, by.estimate)
	if search.MaxScan > 0 || cost > affordable {
		found.Short = true
		return found, true, nil
	}
	plan := by.Plan
	plan.Method, plan.Ef, plan.MaxScan = method, 0, 0
	return s.searchAs(ctx, tenant, d, search, plan)
}

// setHNSWSQL makes the server follow the plan of an index. enable_sort leaves it as
// the only way to the order: without statistics the server may take sorting all rows
// for cheaper. A scan that is not iterative ends at ef candidates, of which some may
// have expired or be deleted; it costs a quarter less where that does not matter.
const setHNSWSQL = `
SELECT set_config('tars.tenant', @tenant, true),
	set_config('hnsw.ef_search', @ef, true),
	set_config('hnsw.iterative_scan', @iterative, true),
	set_config('hnsw.max_scan_tuples', @max_scan, true),
	set_config('hnsw.scan_mem_multiplier', '8', true),
	set_config('enable_sort', 'off', true),
	set_config('enable_seqscan', 'off', true),
	set_config('plan_cache_mode', 'force_generic_plan', true)`

// setGenericSQL has the server plan a statement once a connection: it names the
// leaf that it looks at, so that there is nothing to prune for each call, and there
// is one good plan whatever its parameters are. That one must not be a scan of the
// leaf, which was best when it was small and belongs to other collections too.
const setGenericSQL = `
SELECT set_config('tars.tenant', @tenant, true),
	set_config('enable_seqscan', 'off', true),
	set_config('plan_cache_mode', 'force_generic_plan', true)`

// setFilteredSQL makes the server find rows by the index of a declared field: that
// it is cheaper was seen already.
const setFilteredSQL = `
SELECT set_config('tars.tenant', @tenant, true),
	set_config('enable_seqscan', 'off', true)`

// setSQL makes the settings of a plan. One that is exact needs few: its ORDER BY
// is one that no index serves; but what is best for a filter depends on its values.
func setSQL(d definition, plan knowledge.Plan, filter knowledge.Filter) string {
	switch {
	case plan.Method == methodFiltered:
		return setFilteredSQL
	case plan.Method != methodExact:
		return setHNSWSQL
	case !filter.IsZero() || d.main != noMain:
		return pgtx.SetTenant
	}
	return setGenericSQL
}

// searchSQL frames a plan's SQL. The collection's row is part of the statement,
// so of its snapshot: no row means that the collection is not, or no longer,
// what and where we believe it to be; one row without a record means no match.
const searchSQL = `
SELECT m.id, m.text, m.metadata, m.version, m.distance, %[2]s
FROM collections c
LEFT JOIN (%[1]s) m ON true
WHERE ` + currentSQL + `
ORDER BY m.distance, m.id`

// compareSQL compares the rows of a leaf one by one. It takes the distance, the
// vector if it is wanted, the leaf, what makes its rows the collection's, and the
// filter. It compares at the precision that is kept.
const compareSQL = `
	(SELECT r.id, r.text, r.metadata, r.version, %[1]s AS distance, %[2]s AS vector
	FROM %[3]s r
	WHERE %[4]s
	  AND %[5]s
	ORDER BY distance, r.id
	LIMIT @limit)`

// indexSQL takes the order of the index besides: the distance between the forms
// of both vectors that are as in tars.build_vector_index. That form may be of
// less precision; what it found is compared again, so that scores are the same
// as those of an exact search.
const indexSQL = `
	(SELECT r.id, r.text, r.metadata, r.version, %[1]s AS distance, %[2]s AS vector
	FROM %[3]s r
	WHERE %[4]s
	  AND %[5]s
	ORDER BY %[6]s
	LIMIT @candidates)`

// bothSQL takes what was found in each place.
const bothSQL = `
	SELECT n.id, n.text, n.metadata, n.version, n.distance, n.vector
	FROM (%s
	UNION ALL%s) n
	ORDER BY n.distance, n.id
	LIMIT @limit`

// operators of pgvector; "higher is nearer" is made of them by score.
var operators = map[knowledge.Metric]string{
	knowledge.Cosine: "<=>", knowledge.L2: "<->", knowledge.IP: "<#>",
}

// score turns what an operator gives into the score of [knowledge.Match].
func score(metric knowledge.Metric, distance float64) float64 {
	if metric == knowledge.Cosine {
		return 1 - distance
	}
	return -distance // <#> is the negative inner product
}

// indexOrder is what the index of main orders by.
func indexOrder(d definition) string {
	form := func(vector string) string { return fmt.Sprintf("%s::halfvec(%d)", vector, d.Dimension()) }
	operator := operators[d.Metric]
	switch {
	case d.mainIndex.Quantization == knowledge.Binary:
		form = func(vector string) string { return fmt.Sprintf("binary_quantize(%s)::bit(%d)", vector, d.Dimension()) }
		operator = "<~>" // Hamming
	case d.Metric == knowledge.Cosine:
		form = func(vector string) string { return fmt.Sprintf("l2_normalize(%s)::halfvec(%d)", vector, d.Dimension()) }
	case d.Dimension() <= knowledge.MaxFullDimension && d.Precision == knowledge.Float32:
		form = func(vector string) string { return fmt.Sprintf("%s::vector(%d)", vector, d.Dimension()) }
	}
	return form(d.vector()) + " " + operator + " " + form(d.queryVector())
}

// searchAs carries out a valid search by a plan.
func (s *Store) searchAs(ctx context.Context, tenant knowledge.TenantID, d definition, search knowledge.Search, plan knowledge.Plan) (found knowledge.Found, current bool, err error) {
	args := d.args(tenant)
	sql, err := searchStatement(d, search, plan, args)
	if err != nil {
		return found, false, err
	}
	found.Plan = plan
	err = pgtx.ReadWith(ctx, s.app, setSQL(d, plan, search.Filter), sql, args, func(rows pgx.Rows) error {
		found.Matches = make([]knowledge.Match, 0, search.Limit)
		return readMatches(rows, d, &found, &current)
	})
	if pgtx.Code(err) == pgerrcode.UndefinedTable { // its main is gone, for another
		return found, false, nil
	}
	return found, current, err
}

// readMatches adds the rows of a search to found, and reports whether the
// collection was current.
func readMatches(rows pgx.Rows, d definition, found *knowledge.Found, current *bool) error {
	label := d.names().Label()
	for rows.Next() {
		*current = true
		m := knowledge.Match{Collection: label}
		ok, err := scanMatch(rows, d.Metric, &m)
		if err != nil {
			return err
		}
		m.Metadata = d.view.Hide(m.Metadata)
		if ok {
			found.Matches = append(found.Matches, m)
		}
	}
	return rows.Err()
}

// candidates is how many the index is asked for: a few more than wanted, since
// relaxed order and less precision may put a near one just behind; as many as it
// can give where it knows but a bit of each component.
func candidates(d definition, search knowledge.Search, plan knowledge.Plan) int {
	if d.mainIndex.Quantization == knowledge.Binary {
		return max(plan.Ef, search.Limit)
	}
	return min(search.Limit+search.Limit/4+5, max(plan.Ef, search.Limit))
}

// searchStatement gives the SQL of a plan and adds the filter's parameters to args.
func searchStatement(d definition, search knowledge.Search, plan knowledge.Plan, args pgx.NamedArgs) (string, error) {
	args["vector"], args["limit"] = search.Vector, search.Limit
	args["candidates"] = candidates(d, search, plan)
	args["ef"], args["max_scan"], args["iterative"] = strconv.Itoa(plan.Ef), strconv.Itoa(plan.MaxScan), iterative(plan)
	where, err := filterSQL(d, search.Filter, args)
	if err != nil {
		return "", err
	}
	distance := d.vector() + " " + operators[d.Metric] + " " + d.queryVector()
	vector, sent := "NULL", "NULL::bytea"
	if search.Vectors {
		vector, sent = d.vector(), sentVector("m.vector") // as it is until few are left
	}
	inner := fmt.Sprintf(compareSQL, distance, vector, leaf(d.placement), writeLiveSQL, where)
	switch {
	case d.main == noMain:
	case isExact(plan.Method):
		inner = fmt.Sprintf(bothSQL, inner, fmt.Sprintf(compareSQL, distance, vector, leaf(d.main), mainLiveSQL, where))
	default:
		inner = fmt.Sprintf(bothSQL, inner, fmt.Sprintf(indexSQL, distance, vector, leaf(d.main), mainLiveSQL, where, indexOrder(d)))
	}
	return fmt.Sprintf(searchSQL, inner, sent), nil
}

// iterative is the scan of an index that a plan asks for.
func iterative(plan knowledge.Plan) string {
	if plan.Method == methodIterative {
		return "relaxed_order"
	}
	return "off"
}

// leaf is the table of a place.
func leaf(place int32) string { return fmt.Sprintf("records_%d", place) }

// scanMatch reports whether the row has a match.
func scanMatch(row pgx.Row, metric knowledge.Metric, m *knowledge.Match) (bool, error) {
	var (
		id, text *string
		metadata []byte
		version  *int64
		distance *float64
	)
	if err := row.Scan(&id, &text, &metadata, &version, &distance, (*sentFloats)(&m.Vector)); err != nil || id == nil {
		return false, err
	}
	m.ID, m.Text, m.Version, m.Score = knowledge.RecordID(*id), *text, *version, score(metric, *distance)
	var err error
	m.Metadata, err = decodeMetadata(metadata)
	return true, err
}
