package memstore

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"github.com/tars-project/tars/knowledge"
)

// live yields the records of c that have not expired. The caller holds the lock.
func (s *Store) live(c *collection) iter.Seq[knowledge.Record] {
	now := s.now()
	return func(yield func(knowledge.Record) bool) {
		for _, r := range c.records {
			if !expired(r, now) && !yield(r) {
				return
			}
		}
	}
}

// Facets implements [knowledge.Records]. It always counts all records.
func (s *Store) Facets(ctx context.Context, tenant knowledge.TenantID, request knowledge.FacetSearch) ([]knowledge.FacetCounts, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := request.Validate(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, err := s.resolve(ctx, tenant, request.Collection)
	if err != nil {
		return nil, err
	}
	filter, err := c.narrow(request.Filter)
	if err != nil {
		return nil, err
	}
	if err := request.CheckView(c.view); err != nil {
		return nil, err
	}
	if err := request.CheckFields(c.Fields); err != nil {
		return nil, knowledge.At("facets", err)
	}
	all := make([]knowledge.FacetCounts, len(request.Facets))
	for i, f := range request.Facets {
		all[i] = knowledge.FacetCounts{Field: f.Field}
		have := map[any]int64{}
		for r := range s.live(c.collection) {
			if filter.Admits(c.Collection, r) {
				all[i].Counted++
				count(have, r.Metadata[f.Field])
			}
		}
		if len(f.Ranges) > 0 {
			all[i].Ranges = inRanges(f.Ranges, have)
		} else {
			all[i].Values = mostFrequent(have, f.Limit)
		}
	}
	return all, nil
}

// count adds the value of one record, each item of a list once.
func count(have map[any]int64, value any) {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for i, v := range list {
		switch v.(type) {
		case string, float64, bool:
			if !slices.Contains(list[:i], v) {
				have[v]++
			}
		}
	}
}

func inRanges(ranges []knowledge.Range, have map[any]int64) []int64 {
	n := make([]int64, len(ranges))
	for value, times := range have {
		x, ok := value.(float64)
		for i, r := range ranges {
			if ok && (r.From == nil || x >= *r.From) && (r.To == nil || x < *r.To) {
				n[i] += times
			}
		}
	}
	return n
}

func mostFrequent(have map[any]int64, limit int) []knowledge.ValueCount {
	list := make([]knowledge.ValueCount, 0, len(have))
	for value, n := range have {
		list = append(list, knowledge.ValueCount{Value: value, Count: n})
	}
	slices.SortFunc(list, func(a, b knowledge.ValueCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), compareValues(a.Value, b.Value))
	})
	return list[:min(len(list), limit)]
}

// compareValues orders false, true, then numbers, then strings.
func compareValues(a, b any) int {
	kind := func(v any) int {
		switch v := v.(type) {
		case bool:
			if v {
				return 1
			}
			return 0
		case float64:
			return 2
		}
		return 3
	}
	if c := cmp.Compare(kind(a), kind(b)); c != 0 {
		return c
	}
	switch x := a.(type) {
	case float64:
		return cmp.Compare(x, b.(float64))
	case string:
		return cmp.Compare(x, b.(string))
	}
	return 0
}
