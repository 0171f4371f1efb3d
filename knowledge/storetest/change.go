package storetest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// change changes alice's collection, or fails the test.
func (s suite) change(t testing.TB, name knowledge.CollectionName, change func(*knowledge.Collection)) knowledge.Collection {
	t.Helper()
	changed, err := s.tryChange(t, name, 0, change)
	if err != nil {
		t.Fatalf("ChangeCollection(%s) = %v, want nil", name, err)
	}
	return changed
}

func (s suite) tryChange(t testing.TB, name knowledge.CollectionName, ifVersion int64, change func(*knowledge.Collection)) (knowledge.Collection, error) {
	return s.Store.ChangeCollection(t.Context(), alice, name, ifVersion, func(c knowledge.Collection) (knowledge.Collection, error) {
		change(&c)
		return c, nil
	})
}

func testChangeCollection(t *testing.T, s suite) {
	ctx := t.Context()
	first := s.put(t, alice, dimension("c", 2))
	all := func(c *knowledge.Collection) {
		c.TTL, c.RecallTarget, c.Language = time.Hour, 0.9, "simple"
		c.Defaults = knowledge.Defaults{Limit: 7, Mode: knowledge.ModeVector, Plugins: []knowledge.DefaultPlugin{{Name: "p", Capability: "rank", Config: `{"a":1}`}}}
		c.Index = knowledge.Index{Kind: knowledge.IndexHNSW, M: 8, EfConstruction: 40, Quantization: knowledge.Binary}
		c.Fields = []knowledge.Field{{Name: "year", Type: knowledge.Number}}
	}
	changed := s.change(t, "c", all)
	if changed.Version != 2 || !changed.Created.Equal(first.Created) || changed.Updated.Before(first.Updated) {
		t.Errorf("ChangeCollection = version %d, created %v, updated %v; want version 2 of the one created at %v", changed.Version, changed.Created, changed.Updated, first.Created)
	}
	want := first
	all(&want)
	if !changed.SameDefinition(want) || changed.Fields[0].State != knowledge.FieldReady {
		t.Errorf("ChangeCollection = %+v, want the definition of %+v, its field ready: there are no records", changed, want)
	}
	if got, err := s.Store.Collection(ctx, alice, "c"); err != nil || !got.SameDefinition(want) || got.Version != 2 {
		t.Errorf("Collection = %+v, %v, want what was changed", got, err)
	}
	if again := s.change(t, "c", all); again.Version != 2 {
		t.Errorf("ChangeCollection to the same = version %d, want 2 still", again.Version)
	}
	_, err := s.tryChange(t, "c", 1, func(c *knowledge.Collection) { c.TTL = 0 })
	wantKind(t, "ChangeCollection of version 1", err, knowledge.ErrPrecondition)
	if changed, err = s.tryChange(t, "c", 2, func(c *knowledge.Collection) { c.TTL = 0 }); err != nil || changed.Version != 3 || changed.TTL != 0 {
		t.Errorf("ChangeCollection of version 2 = %+v, %v, want version 3 without TTL", changed, err)
	}
	s.write(t, alice, "c", knowledge.Record{ID: "1", Vector: []float32{1, 0}, Metadata: map[string]any{"year": 2020.0}})
	for what, change := range map[string]func(*knowledge.Collection){
		"metric":    func(c *knowledge.Collection) { c.Metric = knowledge.L2 },
		"dimension": func(c *knowledge.Collection) { c.Embedder.Dimension = 3 },
		"embedder":  func(c *knowledge.Collection) { c.Embedder.ID = "other" },
		"precision": func(c *knowledge.Collection) { c.Precision = knowledge.Float16 },
		"language":  func(c *knowledge.Collection) { c.Language = "german" },
	} {
		_, err := s.tryChange(t, "c", 0, change)
		wantKind(t, "ChangeCollection of the "+what, err, knowledge.ErrConflict)
	}
	_, err = s.tryChange(t, "c", 0, func(c *knowledge.Collection) { c.Index.M = 1 })
	wantInvalid(t, "ChangeCollection to m 1", err, "index.m")
	own := errors.New("no")
	_, err = s.Store.ChangeCollection(ctx, alice, "c", 0, func(c knowledge.Collection) (knowledge.Collection, error) { return c, own })
	wantKind(t, "ChangeCollection that gives up", err, own)
	if got, err := s.Store.Collection(ctx, alice, "c"); err != nil || got.Version != 3 || got.Records != 1 {
		t.Errorf("Collection after what was refused = %+v, %v, want version 3 and 1 record", got, err)
	}
	// The index is another by now, and what is found the same.
	s.change(t, "c", func(c *knowledge.Collection) { c.Index = knowledge.Index{Kind: knowledge.IndexNone} })
	if got := s.search(t, alice, knowledge.Search{Collection: "c", Vector: []float32{1, 0}, Limit: 1}).Matches; len(got) != 1 {
		t.Errorf("Search after a change of the index = %v, want the record", got)
	}
}

func year(op knowledge.Op, value any) knowledge.Filter {
	return knowledge.Filter{Op: op, Field: "year", Values: []any{value}}
}

func testFillFields(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("c", 2))
	records := make([]knowledge.Record, 2100) // more than two chunks
	for i := range records {
		records[i] = knowledge.Record{
			ID: knowledge.RecordID(fmt.Sprintf("r%04d", i)), Vector: []float32{1, float32(i)},
			Metadata: map[string]any{"year": float64(i), "tag": "a", "list": []any{"x"}, "when": "2026-01-02T03:04:05Z", "on": true},
		}
	}
	delete(records[7].Metadata, "year")
	records[8].Metadata["year"] = nil
	s.write(t, alice, "c", records...)
	changed := s.change(t, "c", func(c *knowledge.Collection) {
		c.Fields = []knowledge.Field{
			{Name: "year", Type: knowledge.Number},
			{Name: "tag", Type: knowledge.Keyword},
			{Name: "list", Type: knowledge.Keywords},
			{Name: "when", Type: knowledge.Datetime},
			{Name: "on", Type: knowledge.Boolean},
		}
	})
	if got := len(changed.Filling()); got != 5 {
		t.Fatalf("fields that are filling = %d, want 5", got)
	}
	_, err := s.putRecords(ctx, alice, "c", []knowledge.Record{{ID: "x", Vector: []float32{1, 0}, Metadata: map[string]any{"year": "2020"}}})
	wantInvalid(t, "PutRecords with another type in a field that is filling", err, "records[0].metadata.year")
	find := func(when string) {
		t.Helper()
		got := s.search(t, alice, knowledge.Search{Collection: "c", Vector: []float32{1, 0}, Limit: 10, Filter: year(knowledge.OpGte, 2095.0)}).Matches
		if len(got) != 5 {
			t.Errorf("Search with a filter on the field %s = %d records, want 5", when, len(got))
		}
	}
	find("while it is filling")
	var done, total int64
	if err := s.Store.FillFields(ctx, alice, "c", func(d, n int64) { done, total = d, n }); err != nil {
		t.Fatalf("FillFields = %v, want nil", err)
	}
	if done != 2100 || total != 2100 {
		t.Errorf("FillFields told %d of %d, want 2100 of 2100", done, total)
	}
	got, err := s.Store.Collection(ctx, alice, "c")
	if err != nil || len(got.Fields) != 5 || len(got.Filling()) != 0 || got.Version <= changed.Version {
		t.Errorf("Collection = %+v, %v, want 5 fields that are ready, and a later version", got, err)
	}
	find("when it is ready")
	if err := s.Store.FillFields(ctx, alice, "c", nil); err != nil {
		t.Errorf("FillFields with nothing to fill = %v, want nil", err)
	}

	// A value of another type undeclares the field, and only that.
	s.change(t, "c", func(c *knowledge.Collection) { c.Fields = c.Fields[:1] })
	s.write(t, alice, "c", knowledge.Record{ID: "bad1", Vector: []float32{1, 0}, Metadata: map[string]any{"tag": 1.0}},
		knowledge.Record{ID: "bad2", Vector: []float32{1, 0}, Metadata: map[string]any{"tag": []any{"a"}}})
	s.change(t, "c", func(c *knowledge.Collection) {
		c.Fields = append(slices.Clone(c.Fields), knowledge.Field{Name: "tag", Type: knowledge.Keyword}, knowledge.Field{Name: "on", Type: knowledge.Boolean})
	})
	var fault *knowledge.FieldTypeError
	if err := s.Store.FillFields(ctx, alice, "c", nil); !errors.As(err, &fault) || fault.Field.Name != "tag" || !slices.Equal(fault.Records, []knowledge.RecordID{"bad1", "bad2"}) {
		t.Errorf("FillFields = %v, want a FieldTypeError about tag naming bad1 and bad2", err)
	}
	got, err = s.Store.Collection(ctx, alice, "c")
	if err != nil || len(got.Fields) != 2 || got.Fields[0].Name != "year" || got.Fields[1].Name != "on" || len(got.Filling()) != 0 {
		t.Errorf("Collection after it = %+v, %v, want the fields year and on, ready", got.Fields, err)
	}
	s.write(t, alice, "c", knowledge.Record{ID: "bad3", Vector: []float32{1, 0}, Metadata: map[string]any{"tag": 1.0}})
}

// As many fields of each type as there may be, and one more.
func testManyFields(t *testing.T, s suite) {
	c := dimension("c", 2)
	metadata := map[string]any{}
	for _, kind := range []struct {
		t     knowledge.FieldType
		n     int
		value any
	}{
		{knowledge.Keyword, knowledge.MaxKeywordFields, "x"},
		{knowledge.Keywords, knowledge.MaxKeywordsFields, []any{"x", "y"}},
		{knowledge.Number, knowledge.MaxNumberFields, 1.5},
	} {
		for i := range kind.n {
			name := fmt.Sprintf("%s '%d\"; DROP", kind.t, i)
			c.Fields = append(c.Fields, knowledge.Field{Name: name, Type: kind.t})
			metadata[name] = kind.value
		}
	}
	s.put(t, alice, c)
	s.write(t, alice, "c", knowledge.Record{ID: "1", Vector: []float32{1, 0}, Metadata: metadata})
	if r, err := s.Store.Record(t.Context(), alice, "c", "1"); err != nil || len(r.Metadata) != len(metadata) {
		t.Errorf("Record = %v, %v, want all of its metadata", r.Metadata, err)
	}
	_, err := s.tryChange(t, "c", 0, func(c *knowledge.Collection) {
		c.Fields = append(slices.Clone(c.Fields), knowledge.Field{Name: "one more", Type: knowledge.Keyword})
	})
	wantInvalid(t, "ChangeCollection to a field too many", err, "fields")
}

func testCollectionDefaults(t *testing.T, s suite) {
	c := dimension("c", 2)
	c.TTL = time.Hour
	c.Defaults = knowledge.Defaults{Limit: 3, Mode: knowledge.ModeHybrid, Plugins: []knowledge.DefaultPlugin{{Name: "p", Version: "live", Capability: "synthesize"}}}
	if stored := s.put(t, alice, c); !stored.Defaults.Equal(c.Defaults) {
		t.Errorf("PutCollection gave the defaults %+v, want %+v", stored.Defaults, c.Defaults)
	}
	until := time.Now().Add(30 * time.Minute)
	s.write(t, alice, "c", knowledge.Record{ID: "default", Vector: []float32{1, 0}}, knowledge.Record{ID: "own", Vector: []float32{1, 0}, Expires: until})
	for id, want := range map[knowledge.RecordID]time.Time{"default": time.Now().Add(time.Hour), "own": until} {
		r, err := s.Store.Record(t.Context(), alice, "c", id)
		if off := r.Expires.Sub(want).Abs(); err != nil || off > time.Minute {
			t.Errorf("Record(%s) expires at %v, %v, want about %v", id, r.Expires, err, want)
		}
	}
	other := c
	other.Defaults.Limit = 4
	_, _, err := s.Store.PutCollection(t.Context(), alice, valid(t, other))
	wantKind(t, "PutCollection with other defaults", err, knowledge.ErrConflict)
}

// What half precision can hold comes back as it is, what it cannot is refused, and
// the order of what is found is the same.
func testPrecision(t *testing.T, s suite) {
	for _, metric := range []knowledge.Metric{knowledge.Cosine, knowledge.L2, knowledge.IP} {
		for _, kind := range []knowledge.IndexKind{knowledge.IndexNone, knowledge.IndexHNSW} {
			c := dimension(knowledge.CollectionName(string(metric)+"-"+string(kind)), 3)
			c.Metric, c.Precision, c.Index.Kind = metric, knowledge.Float16, kind
			s.put(t, alice, c)
			vectors := [][]float32{{1, 0.5, -0.25}, {65504, 0, 6.103515625e-05}, {0, -65504, 1}, {2048, 1, 0.0009765625}}
			for i, v := range vectors {
				id := knowledge.RecordID(fmt.Sprint(i))
				s.write(t, alice, c.Name, knowledge.Record{ID: id, Vector: v})
				if r, err := s.Store.Record(t.Context(), alice, c.Name, id); err != nil || !slices.Equal(r.Vector, v) {
					t.Errorf("%s: Record = %v, %v, want %v", c.Name, r.Vector, err, v)
				}
			}
			for _, v := range [][]float32{{65505, 0, 0}, {0, -65536, 0}, {0, 0, 1e15}, {0, float32(math.Inf(1)), 0}} {
				_, err := s.putRecords(t.Context(), alice, c.Name, []knowledge.Record{{ID: "x", Vector: v}})
				wantKind(t, fmt.Sprintf("%s: PutRecords(%v)", c.Name, v), err, knowledge.ErrInvalid)
				_, err = s.Store.Search(t.Context(), alice, knowledge.Search{Collection: c.Name, Vector: v, Limit: 1})
				wantKind(t, fmt.Sprintf("%s: Search(%v)", c.Name, v), err, knowledge.ErrInvalid)
			}
			found := s.search(t, alice, knowledge.Search{Collection: c.Name, Vector: vectors[0], Limit: 4})
			if want := map[knowledge.Metric]knowledge.RecordID{knowledge.Cosine: "0", knowledge.L2: "0", knowledge.IP: "1"}[metric]; len(found.Matches) != 4 || found.Matches[0].ID != want {
				t.Errorf("%s: Search = %v, want %s first of 4", c.Name, ids(found.Matches), want)
			}
		}
	}
}
