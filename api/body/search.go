package body

import (
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

// SearchRequest is the body of searchRecords. Its collection is not part of it.
type SearchRequest query.SearchText

func (b *SearchRequest) decode(d *decoder) error { return d.search((*query.SearchText)(b)) }

// PluginSearch is what a plugin asks the host function search for: the body of
// searchRecords with the collection as a member.
type PluginSearch query.SearchText

func (b *PluginSearch) decode(d *decoder) error {
	s := (*query.SearchText)(b)
	err := d.object(func(name string) (err error) {
		if name != "collection" {
			return d.searchMember(name, s)
		}
		s.Collection, err = parsed(d, knowledge.ParseCollectionName)
		return err
	})
	if err == nil && s.Collection == "" {
		err = missing("collection")
	}
	return err
}

// FilterDocument is a filter by itself.
type FilterDocument knowledge.Filter

func (b *FilterDocument) decode(d *decoder) error {
	filter, err := d.filter()
	*b = FilterDocument(filter)
	return err
}

// SearchBatch is the body of searchRecordsBatch. Its searches' collection is not
// part of it.
type SearchBatch struct{ Searches []query.SearchText }

func (b *SearchBatch) decode(d *decoder) error {
	given := false
	err := d.object(func(name string) error {
		if name != "searches" {
			return unknown()
		}
		given = true
		return d.array(1, query.MaxBatchSearches, func(int) error {
			var s query.SearchText
			err := d.search(&s)
			b.Searches = append(b.Searches, s)
			return err
		})
	})
	if err == nil && !given {
		err = missing("searches")
	}
	return err
}

func (d *decoder) search(s *query.SearchText) error {
	return d.object(func(name string) error { return d.searchMember(name, s) })
}

func (d *decoder) searchMember(name string, s *query.SearchText) (err error) {
	if known, err := d.stage(name, &s.Stages); known {
		return err
	}
	switch name {
	case "text":
		s.Text, err = d.text(1, query.MaxQueryText)
	case "vector":
		s.Vector, err = d.vector()
	case "mode":
		s.Mode, err = d.mode()
	case "recommend":
		s.Recommend, err = d.recommend()
	case "limit":
		s.Limit, err = count(d, 1, knowledge.MaxLimit)
	case "offset":
		s.Offset, err = count(d, 0, knowledge.MaxLimit-1)
	case "candidates":
		s.Candidates, err = count(d, 1, knowledge.MaxLimit)
	case "filter":
		s.Filter, err = d.filter()
	case "exact":
		s.Exact, err = d.boolean()
	case "ef":
		s.Ef, err = count(d, 1, knowledge.MaxEf)
	case "max_scan":
		s.MaxScan, err = count(d, 1, knowledge.MaxScan)
	case "group_by":
		s.GroupBy, err = d.groupBy()
	case "facets":
		err = d.array(0, knowledge.MaxFacets, func(int) error {
			f, err := d.facet()
			s.Facets = append(s.Facets, f)
			return err
		})
	default:
		err = unknown()
	}
	return err
}

func (d *decoder) recommend() (*query.Recommend, error) {
	r, given := &query.Recommend{}, false
	err := d.object(func(name string) error {
		switch name {
		case "positive":
			given = true
			return d.ids(1, &r.Positive)
		case "negative":
			return d.ids(0, &r.Negative)
		}
		return unknown()
	})
	if err == nil && !given {
		err = missing("positive")
	}
	return r, err
}

func (d *decoder) ids(least int, into *[]knowledge.RecordID) error {
	return d.array(least, query.MaxExamples, func(int) error {
		id, err := d.recordID()
		*into = append(*into, id)
		return err
	})
}

func (d *decoder) groupBy() (*query.GroupBy, error) {
	g := &query.GroupBy{}
	err := d.object(func(name string) (err error) {
		switch name {
		case "field":
			g.Field, err = d.fieldName()
		case "groups":
			g.Groups, err = count(d, 1, query.MaxGroups)
		case "size":
			g.Size, err = count(d, 1, query.MaxGroupSize)
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && g.Field == "" {
		err = missing("field")
	}
	return g, err
}

func (d *decoder) facet() (knowledge.Facet, error) {
	f := knowledge.Facet{Limit: 10}
	err := d.object(func(name string) (err error) {
		switch name {
		case "field":
			f.Field, err = d.fieldName()
		case "limit":
			f.Limit, err = count(d, 1, knowledge.MaxFacetValues)
		case "ranges":
			err = d.array(1, knowledge.MaxFacetRanges, func(int) error {
				r, err := d.facetRange()
				f.Ranges = append(f.Ranges, r)
				return err
			})
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && f.Field == "" {
		err = missing("field")
	}
	return f, err
}

func (d *decoder) facetRange() (r knowledge.Range, err error) {
	err = d.object(func(name string) (err error) {
		switch name {
		case "from":
			r.From, err = d.within(-maxNumber, maxNumber)
		case "to":
			r.To, err = d.within(-maxNumber, maxNumber)
		default:
			err = unknown()
		}
		return err
	})
	return r, err
}

func (d *decoder) fieldName() (string, error) { return d.text(1, knowledge.MaxFilterField) }

// maxNumber is the largest size of a number that scores are made or compared with.
const maxNumber = 1e15

// within reads a number from low to high.
func (d *decoder) within(low, high float64) (*float64, error) {
	x, err := d.number()
	if err == nil && !(x >= low && x <= high) {
		err = knowledge.Invalid("", "is out of range; need %g to %g", low, high)
	}
	return &x, err
}

// above reads a number of more than 0, up to high.
func (d *decoder) above(high float64) (float64, error) {
	x, err := d.number()
	if err == nil && !(x > 0 && x <= high) {
		err = knowledge.Invalid("", "is out of range; need more than 0, up to %g", high)
	}
	return x, err
}
