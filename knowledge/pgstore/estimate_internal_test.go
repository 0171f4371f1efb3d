package pgstore

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
)

// TestEstimatesAreRemembered: for a minute, by collection, generation and filter,
// and so many at most.
func TestEstimatesAreRemembered(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	x := newRemembered[estimateKey, estimate](estimateLife, func() time.Time { return now })
	d := definition{id: 1, generation: 1}
	moved := definition{id: 1, generation: 2}
	key := func(d definition, f knowledge.Filter) estimateKey {
		k, err := estimateKeyOf(d, f)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	f, g := is("a", knowledge.OpEq, 1.0), is("a", knowledge.OpEq, "1")
	want := estimate{known: true, rows: 7, total: 9, served: true}
	x.remember(key(d, f), want)
	if got, ok := x.recall(key(d, f)); !ok || got != want {
		t.Errorf("recall = %+v, %v, want what was remembered", got, ok)
	}
	for name, other := range map[string]estimateKey{
		"another filter": key(d, g), "after a move": key(moved, f), "another collection": key(definition{id: 2, generation: 1}, f), "no filter": key(d, knowledge.Filter{}),
	} {
		if got, ok := x.recall(other); ok {
			t.Errorf("%s: recall = %+v, want none", name, got)
		}
	}
	now = now.Add(estimateLife)
	if got, ok := x.recall(key(d, f)); ok {
		t.Errorf("recall after a minute = %+v, want none", got)
	}
	for i := range maxRemembered + 10 {
		x.remember(key(definition{id: int64(i)}, f), want)
	}
	if len(x.known) > maxRemembered {
		t.Errorf("remembers %d, want at most %d", len(x.known), maxRemembered)
	}
}

// TestChoiceByCost walks over the sizes of a filter's share: few are compared all,
// as an index of a declared field finds them, many are found by the vector index,
// which keeps the more candidates the fewer pass; and there is one turning point.
func TestChoiceByCost(t *testing.T) {
	s := &Store{options: Options{}.withDefaults()}
	d := definition{Collection: knowledge.Collection{Embedder: knowledge.EmbedderInfo{Dimension: 100}}, main: 1000, bytes: 150 << 20}
	const total = 340_000
	search := knowledge.Search{Limit: 10, Filter: is("n", knowledge.OpLt, 1.0)}
	turned, lastEf := false, knowledge.MaxEf
	for rows := int64(10); rows <= total; rows = rows*3/2 + 1 {
		plan := s.choose(d, search, estimate{known: true, rows: rows, total: total, served: true}, tuning{})
		switch {
		case plan.Method == methodIterative:
			if plan.Ef > lastEf || plan.Ef < s.options.Ef || plan.MaxScan < 4*plan.Ef {
				t.Errorf("%d rows: plan %+v, want ef falling to %d and a scan of at least 4 times as many", rows, plan, s.options.Ef)
			}
			turned, lastEf = true, plan.Ef
		case turned || plan.Method != methodFiltered:
			t.Errorf("%d rows: plan %+v, want %s up to some share and %s from there", rows, plan, methodFiltered, methodIterative)
		}
	}
	if !turned {
		t.Error("no share of rows was found by the vector index")
	}
	// What no index serves is not found by one.
	if plan := s.choose(d, search, estimate{known: true, rows: 10, total: total}, tuning{}); plan.Method == methodFiltered {
		t.Errorf("plan = %+v, want no index of a declared field", plan)
	}
	// What recall called for.
	search.Filter = knowledge.Filter{}
	if plan := s.choose(d, search, estimate{}, tuning{ef: 300}); plan.Method != methodHNSW || plan.Ef != 300 {
		t.Errorf("plan = %+v, want ef 300", plan)
	}
	d.bytes = 100 << 20
	if plan := s.choose(d, search, estimate{}, tuning{ef: 1000, exact: true}); plan.Method != methodExact {
		t.Errorf("plan = %+v, want it exact", plan)
	}
	d.bytes = 10 << 30
	if plan := s.choose(d, search, estimate{}, tuning{ef: 1000, exact: true}); plan.Method != methodHNSW || plan.Ef != 1000 {
		t.Errorf("plan of 10 GiB = %+v, want the index with ef 1000: exact cannot be afforded", plan)
	}
}

// TestFieldsBeingFilled: until all records have a field in its column, it is looked
// up in the metadata, as one that is not declared.
func TestFieldsBeingFilled(t *testing.T) {
	f := is("lang", knowledge.OpEq, "go")
	for state, want := range map[knowledge.FieldState]string{"": "r.s1 = @filter1::text", knowledge.FieldFilling: "(r.metadata -> @filter1::text) = @filter2::text::jsonb"} {
		d := definition{slots: []slotted{{Name: "lang", Type: knowledge.Keyword, Slot: "s1", State: state}}}
		d.Fields = []knowledge.Field{{Name: "lang", Type: knowledge.Keyword, State: state}}
		got, err := filterSQL(d, f, pgx.NamedArgs{})
		if err != nil || got != want {
			t.Errorf("state %q: filterSQL = %s, %v, want %s", state, got, err, want)
		}
		if n := len(undeclaredFields(d, f)); (n == 1) != (state == knowledge.FieldFilling) {
			t.Errorf("state %q: %d undeclared fields", state, n)
		}
	}
}

// TestOldFilterOfAView: a view's filter may be older than a field's declaration; what
// cannot be compared is false, and no fault.
func TestOldFilterOfAView(t *testing.T) {
	d := definition{view: &knowledge.View{}, slots: []slotted{{Name: "lang", Type: knowledge.Keyword, Slot: "s1"}, {Name: "n", Type: knowledge.Number, Slot: "n1"}}}
	d.Fields = []knowledge.Field{{Name: "lang", Type: knowledge.Keyword}, {Name: "n", Type: knowledge.Number}}
	for _, test := range []struct {
		filter knowledge.Filter
		want   string
	}{
		{is("lang", knowledge.OpEq, 1.0), "false"},
		{is("lang", knowledge.OpNe, 1.0), "(false) IS NOT TRUE"},
		{is("lang", knowledge.OpIn, 1.0, "go"), "r.s1 = ANY (@filter1::text[])"},
		{is("lang", knowledge.OpContains, "go"), "false"},
		{is("n", knowledge.OpMatch, "go"), "false"},
		{is("n", knowledge.OpGt, "go"), "false"},
	} {
		if got, err := filterSQL(d, test.filter, pgx.NamedArgs{}); err != nil || got != test.want {
			t.Errorf("filterSQL(%v) = %s, %v, want %s", test.filter, got, err, test.want)
		}
	}
}
