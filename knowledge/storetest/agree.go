package storetest

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/memstore"
)

// testFiltersAgree compares a store with the reference: random collections, with
// and without declared fields, random records and filters. The store answers three
// times: as the records were written, with some of them in the place with the
// index, and with all of them there.
func testFiltersAgree(t *testing.T, s suite) {
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		name := knowledge.CollectionName(fmt.Sprintf("agree-%d", n))
		n++
		c := dimension(name, 1)
		c.Language = "simple" // the one that the reference knows
		c.Fields = rapid.SliceOfNDistinct(declaredField, 0, 6, func(f knowledge.Field) string { return f.Name }).Draw(rt, "fields")
		reference := suite{Harness{Store: memstore.New(memstore.Options{})}}
		records := drawRecords(rt, c)
		for _, store := range []suite{s, reference} {
			store.put(t, alice, c)
			store.write(t, alice, name, records...)
		}
		// Many filters for one collection, which costs more to make.
		filters := rapid.SliceOfN(drawnFilter(c, 4), 10, 30).Draw(rt, "filters")
		want := make([][]knowledge.RecordID, len(filters))
		search := knowledge.Search{Collection: name, Vector: []float32{1}, Limit: knowledge.MaxLimit}
		for i, f := range filters {
			search.Filter = f
			want[i] = ids(reference.search(t, alice, search).Matches)
		}
		for _, share := range []float64{0, 0.5, 1} {
			if share > 0 {
				if s.Spread == nil {
					break
				}
				s.Spread(t, alice, name, share)
			}
			for i, f := range filters {
				search.Filter = f
				found := s.search(t, alice, search)
				got := ids(found.Matches)
				slices.Sort(got) // equal scores come by id, but an index has its own
				if !slices.Equal(got, want[i]) || found.Short {
					rt.Fatalf("share %g of %v: Search(filter %v) by %s = %q, short %v, want %q", share, c.Fields, f, found.Plan.Method, got, found.Short, want[i])
				}
			}
		}
		if err := s.Store.DeleteCollection(t.Context(), alice, name); err != nil {
			rt.Fatalf("DeleteCollection = %v, want nil", err)
		}
	})
}

// fieldNames are few, so that filters meet them, and some are bait.
var fieldNames = []string{"a", "b", "ü", "tenant_id", `q"'$.x`, "__proto__", "s1", "metadata"}

var declaredField = rapid.Custom(func(rt *rapid.T) knowledge.Field {
	return knowledge.Field{
		Name: rapid.SampledFrom(fieldNames).Draw(rt, "name"),
		Type: rapid.SampledFrom([]knowledge.FieldType{knowledge.Keyword, knowledge.Keywords, knowledge.Number, knowledge.Boolean, knowledge.Datetime}).Draw(rt, "type"),
	}
})

// What fields hold, from few values, so that they often meet.
var (
	words   = rapid.SampledFrom([]string{"", "1", "a", "b", "B", "ä", "\u2028", "true", "a b", "B-a 1", "Z\U0010FFFF", `'";--`, "2027-01-01T00:00:00Z"})
	numbers = rapid.SampledFrom([]float64{-1e300, -1.5, 0, 0.1, 1, 1.0000000000000002, 2, 1e21, 5e-324, 1801396800})
	moments = rapid.SampledFrom([]string{
		"2027-01-01T00:00:00Z", "2027-01-01T01:00:00+01:00", "2026-12-31T23:59:59.999999Z", "2026-12-31T23:59:59.9999999Z",
		"0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59.5Z", "1970-01-01T00:00:00.000001Z",
	})
)

// drawnValue is a value of a declared type; for no type any scalar.
func drawnValue(t knowledge.FieldType) *rapid.Generator[any] {
	switch t {
	case knowledge.Keyword, knowledge.Keywords:
		return words.AsAny()
	case knowledge.Number:
		return numbers.AsAny()
	case knowledge.Boolean:
		return rapid.Bool().AsAny()
	case knowledge.Datetime:
		return moments.AsAny()
	}
	return rapid.OneOf(words.AsAny(), numbers.AsAny(), rapid.Bool().AsAny())
}

// typeOf is a declared field's type.
func typeOf(c knowledge.Collection, name string) knowledge.FieldType {
	for _, f := range c.Fields {
		if f.Name == name {
			return f.Type
		}
	}
	return ""
}

func drawRecords(rt *rapid.T, c knowledge.Collection) []knowledge.Record {
	records := make([]knowledge.Record, rapid.IntRange(1, 60).Draw(rt, "records"))
	for i := range records {
		metadata := map[string]any{}
		for _, name := range fieldNames {
			declared := typeOf(c, name)
			switch scalar := drawnValue(declared); rapid.IntRange(0, 5).Draw(rt, "kind") {
			case 0:
			case 1:
				metadata[name] = nil
			case 2, 3, 4:
				metadata[name] = scalar.Draw(rt, "value")
			default:
				metadata[name] = scalar.Draw(rt, "value")
				if declared == "" {
					metadata[name] = rapid.SampledFrom([]any{[]any{}, []any{1.0, "a", nil}, []any{[]any{"a"}}, map[string]any{"a": 1.0}}).Draw(rt, "other")
				}
			}
			if value := metadata[name]; declared == knowledge.Keywords && value != nil {
				metadata[name] = rapid.SampledFrom([]any{[]any{}, []any{value}, []any{value, "a"}, []any{"b", value, value}}).Draw(rt, "list")
			}
		}
		records[i] = knowledge.Record{ID: knowledge.RecordID(fmt.Sprintf("%02d", i)), Vector: []float32{1}, Text: words.Draw(rt, "text"), Metadata: metadata}
	}
	return records
}

func drawnFilter(c knowledge.Collection, depth int) *rapid.Generator[knowledge.Filter] {
	return rapid.Custom(func(rt *rapid.T) knowledge.Filter {
		if depth > 1 && rapid.IntRange(0, 2).Draw(rt, "inner") > 0 {
			op := rapid.SampledFrom([]knowledge.Op{knowledge.OpAnd, knowledge.OpOr, knowledge.OpNot}).Draw(rt, "op")
			least, most := 0, 3
			if op == knowledge.OpNot {
				least, most = 1, 1
			}
			return combine(op, rapid.SliceOfN(drawnFilter(c, depth-1), least, most).Draw(rt, "terms")...)
		}
		return drawComparison(rt, c)
	})
}

func drawComparison(rt *rapid.T, c knowledge.Collection) knowledge.Filter {
	name := rapid.SampledFrom(fieldNames).Draw(rt, "field")
	declared := typeOf(c, name)
	ops := []knowledge.Op{knowledge.OpEq, knowledge.OpNe, knowledge.OpIn, knowledge.OpExists}
	if declared != knowledge.Boolean {
		ops = append(ops, knowledge.OpGt, knowledge.OpGte, knowledge.OpLt, knowledge.OpLte)
	}
	if declared == "" || declared == knowledge.Keywords {
		ops = append(ops, knowledge.OpContains)
	}
	if declared == "" || declared == knowledge.Keyword {
		ops = append(ops, knowledge.OpMatch)
	}
	switch op := rapid.SampledFrom(ops).Draw(rt, "op"); op {
	case knowledge.OpExists:
		return compare(op, name, rapid.Bool().Draw(rt, "exists"))
	case knowledge.OpMatch:
		if rapid.Bool().Draw(rt, "text") {
			name = ""
		}
		return compare(op, name, rapid.SampledFrom([]string{"a", "A b", "1", "true", "b a 1", "-", "ä", "c"}).Draw(rt, "words"))
	case knowledge.OpIn:
		return compare(op, name, rapid.SliceOfN(drawnValue(declared), 0, 4).Draw(rt, "values")...)
	case knowledge.OpGt, knowledge.OpGte, knowledge.OpLt, knowledge.OpLte:
		if declared == "" {
			return compare(op, name, rapid.OneOf(words.AsAny(), numbers.AsAny()).Draw(rt, "bound"))
		}
		return compare(op, name, drawnValue(declared).Draw(rt, "bound"))
	default:
		return compare(op, name, drawnValue(declared).Draw(rt, "value"))
	}
}
