package knowledge

// MaxScroll is the most records of one page of a scroll.
const MaxScroll = 1000

// MaxScrollBytes is how many bytes of texts, vectors and metadata fill a page of
// a scroll, about: it ends early, after at least one record, when it has more.
const MaxScrollBytes = 8 << 20

// Selection says which records of a collection are meant: exactly one of IDs,
// Filter and All is given.
type Selection struct {
	IDs    []RecordID // 1 to [MaxBatch]; those that are not there are passed over
	Filter Filter     // not the zero filter
	All    bool
}

// Validate returns an [InvalidError] unless exactly one way to select is given,
// and is well formed and valid for c; see [Filter.Validate].
func (s Selection) Validate(c Collection) error {
	given := 0
	for _, is := range []bool{s.IDs != nil, !s.Filter.IsZero(), s.All} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return Invalid("", "gives %d of ids, filter and all; need one of them", given)
	case s.IDs != nil && (len(s.IDs) < 1 || len(s.IDs) > MaxBatch):
		return Invalid("ids", "has %d ids; need 1 to %d", len(s.IDs), MaxBatch)
	}
	for i, id := range s.IDs {
		if _, err := ParseRecordID(string(id)); err != nil {
			return At("ids["+itoa(i)+"]", err)
		}
	}
	return At("filter", s.Filter.Validate(c))
}

// Deleted is what a deletion of many records did.
type Deleted struct {
	Count int64 // records that were there, had not expired, and are gone
	// More says that the deletion stopped at a bound or at the end of its
	// time with records left. What it counts is gone for good; the same
	// deletion again goes on.
	More bool
}

// Count is a number of records.
type Count struct {
	Records  int64
	Estimate bool // it comes from statistics, not from counting
}

// Scroll asks for a page of records, in order of their ids.
type Scroll struct {
	After  RecordID // the last one of the page before; empty: from the first
	Limit  int      // 1 to [MaxScroll]
	Filter Filter
	// What a record is given with beside id, version and times.
	Text, Vector, Metadata bool
}

// Validate returns an [InvalidError] unless the scroll is valid for c.
func (s Scroll) Validate(c Collection) error {
	if s.Limit < 1 || s.Limit > MaxScroll {
		return Invalid("limit", "is %d; need 1 to %d", s.Limit, MaxScroll)
	}
	return At("filter", s.Filter.Validate(c))
}

// Page is one page of a scroll.
type Page struct {
	Records []Record // by id
	More    bool     // there may be records after the last
}
