package storetest

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

func (s suite) alias(t testing.TB, name, collection knowledge.CollectionName) knowledge.Alias {
	t.Helper()
	changed, err := s.Store.ChangeAliases(t.Context(), alice, []knowledge.AliasAction{{Alias: name, Collection: collection}})
	if err != nil {
		t.Fatalf("ChangeAliases(%s to %s) = %v, want nil", name, collection, err)
	}
	return changed[0]
}

func (s suite) view(t testing.TB, v knowledge.View) knowledge.View {
	t.Helper()
	stored, _, err := s.Store.PutView(t.Context(), alice, v)
	if err != nil {
		t.Fatalf("PutView(%s) = %v, want nil", v.Name, err)
	}
	return stored
}

// marked makes a collection of 2 dimensions with one record, which tells where it is.
func (s suite) marked(t testing.TB, name knowledge.CollectionName) {
	t.Helper()
	s.put(t, alice, dimension(name, 2))
	s.write(t, alice, name, knowledge.Record{ID: "1", Text: string(name), Vector: []float32{1, 0}})
}

func testAliases(t *testing.T, s suite) {
	ctx := t.Context()
	s.marked(t, "one")
	s.marked(t, "two")
	first := s.alias(t, "now", "one")
	if first.Created.IsZero() || !first.Created.Equal(first.Updated) {
		t.Errorf("ChangeAliases = %+v, want one made just now", first)
	}
	for _, want := range []string{"one", "two"} {
		s.alias(t, "now", knowledge.CollectionName(want))
		if r, err := s.Store.Record(ctx, alice, "now", "1"); err != nil || r.Text != want {
			t.Errorf("Record by the alias = %q, %v, want that of %s", r.Text, err, want)
		}
		found := s.search(t, alice, knowledge.Search{Collection: "now", Vector: []float32{1, 0}, Limit: 1}).Matches
		if len(found) != 1 || found[0].Text != want || string(found[0].Collection) != want {
			t.Errorf("Search by the alias = %+v, want that of %s, under that name", found, want)
		}
		if c, err := s.Store.Collection(ctx, alice, "now"); err != nil || string(c.Name) != want || c.Records != 1 {
			t.Errorf("Collection by the alias = %+v, %v, want %s", c, err, want)
		}
		if r, err := s.Store.Resolve(ctx, alice, "now"); err != nil || string(r.Name) != want || r.View != nil || string(r.Label()) != want {
			t.Errorf("Resolve of the alias = %+v, %v, want %s", r, err, want)
		}
	}
	s.write(t, alice, "now", knowledge.Record{ID: "2", Text: "written by the alias", Vector: []float32{0, 1}})
	if _, err := s.Store.Record(ctx, alice, "two", "2"); err != nil {
		t.Errorf("Record of two = %v, want what was written by its alias", err)
	}
	if err := s.Store.DeleteRecord(ctx, alice, "now", "2"); err != nil {
		t.Errorf("DeleteRecord by the alias = %v, want nil", err)
	}
	second, err := s.Store.Alias(ctx, alice, "now")
	if err != nil || second.Collection != "two" || !second.Created.Equal(first.Created) || second.Updated.Before(first.Updated) {
		t.Errorf("Alias = %+v, %v, want two, created as %v", second, err, first)
	}
	if again := s.alias(t, "now", "two"); again != second {
		t.Errorf("ChangeAliases to the same = %+v, want %+v", again, second)
	}

	// What needs the collection's own name.
	_, err = s.tryChange(t, "now", 0, func(c *knowledge.Collection) {})
	wantKind(t, "ChangeCollection by an alias", err, knowledge.ErrConflict)
	wantKind(t, "FillFields by an alias", s.Store.FillFields(ctx, alice, "now", nil), knowledge.ErrConflict)
	wantKind(t, "DeleteCollection by an alias", s.Store.DeleteCollection(ctx, alice, "now"), knowledge.ErrConflict)
	wantKind(t, "DeleteCollectionAndAliases by an alias", s.Store.DeleteCollectionAndAliases(ctx, alice, "now"), knowledge.ErrConflict)

	// Another tenant knows nothing of it.
	_, err = s.Store.Alias(ctx, bob, "now")
	wantKind(t, "Alias of another tenant", err, knowledge.ErrNotFound)
	_, err = s.Store.Record(ctx, bob, "now", "1")
	wantKind(t, "Record by another tenant's alias", err, knowledge.ErrNotFound)
	_, err = s.Store.ChangeAliases(ctx, bob, []knowledge.AliasAction{{Alias: "mine", Collection: "two"}})
	wantKind(t, "ChangeAliases to another tenant's collection", err, knowledge.ErrNotFound)
	_, err = s.Store.ChangeAliases(ctx, bob, []knowledge.AliasAction{{Alias: "now"}})
	wantKind(t, "ChangeAliases of another tenant", err, knowledge.ErrNotFound)

	// A collection with aliases stays.
	wantKind(t, "DeleteCollection with an alias", s.Store.DeleteCollection(ctx, alice, "two"), knowledge.ErrConflict)
	if _, err := s.Store.Record(ctx, alice, "two", "1"); err != nil {
		t.Errorf("Record after a refused delete = %v, want nil", err)
	}
	s.alias(t, "also", "two")
	if list, err := s.Store.ListAliases(ctx, alice, "also", 10); err != nil || len(list) != 1 || list[0] != second {
		t.Errorf("ListAliases after also = %+v, %v, want now", list, err)
	}
	if list, err := s.Store.ListAliases(ctx, alice, "", 1); err != nil || len(list) != 1 || list[0].Name != "also" {
		t.Errorf("ListAliases of 1 = %+v, %v, want also", list, err)
	}
	if err := s.Store.DeleteCollectionAndAliases(ctx, alice, "two"); err != nil {
		t.Errorf("DeleteCollectionAndAliases = %v, want nil", err)
	}
	_, err = s.Store.Record(ctx, alice, "now", "1")
	wantKind(t, "Record by an alias that is gone", err, knowledge.ErrNotFound)
	if list, err := s.Store.ListAliases(ctx, alice, "", 10); err != nil || len(list) != 0 {
		t.Errorf("ListAliases = %+v, %v, want none", list, err)
	}
	s.alias(t, "now", "one")
	if changed, err := s.Store.ChangeAliases(ctx, alice, []knowledge.AliasAction{{Alias: "now"}}); err != nil || changed[0] != (knowledge.Alias{}) {
		t.Errorf("ChangeAliases that removes = %+v, %v, want the zero alias", changed, err)
	}
	if err := s.Store.DeleteCollection(ctx, alice, "one"); err != nil {
		t.Errorf("DeleteCollection without aliases = %v, want nil", err)
	}
}

// Two aliases that change at once are never seen one before and one after, and
// nothing is changed when one action cannot be.
func testAliasSwap(t *testing.T, s suite) {
	ctx := t.Context()
	s.marked(t, "one")
	s.marked(t, "two")
	s.alias(t, "a", "one")
	s.alias(t, "b", "two")
	swap := func(a, b knowledge.CollectionName) error {
		_, err := s.Store.ChangeAliases(ctx, alice, []knowledge.AliasAction{{Alias: "a", Collection: a}, {Alias: "b", Collection: b}})
		return err
	}
	var reading sync.WaitGroup
	stop := make(chan struct{})
	reading.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			list, err := s.Store.ListAliases(ctx, alice, "", 2)
			if err != nil || len(list) != 2 || list[0].Collection == list[1].Collection {
				t.Errorf("ListAliases between swaps = %+v, %v, want one of each", list, err)
				return
			}
		}
	})
	for i := range 20 {
		names := []knowledge.CollectionName{"one", "two"}
		a, b := names[(i+1)%2], names[i%2]
		if err := swap(a, b); err != nil {
			t.Errorf("swap = %v, want nil", err)
		}
		for alias, want := range map[knowledge.CollectionName]knowledge.CollectionName{"a": a, "b": b} {
			if r, err := s.Store.Record(ctx, alice, alias, "1"); err != nil || r.Text != string(want) {
				t.Errorf("Record by %s just after the swap = %q, %v, want that of %s", alias, r.Text, err, want)
			}
		}
	}
	close(stop)
	reading.Wait()
	before, err := s.Store.ListAliases(ctx, alice, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, "swap to a collection that is not there", swap("two", "three"), knowledge.ErrNotFound)
	wantKind(t, "swap to an alias", swap("two", "a"), knowledge.ErrConflict)
	many := make([]knowledge.AliasAction, knowledge.MaxAliasActions+1)
	for i := range many {
		many[i] = knowledge.AliasAction{Alias: knowledge.CollectionName(fmt.Sprintf("x%d", i)), Collection: "one"}
	}
	for what, actions := range map[string][]knowledge.AliasAction{
		"no action": nil, "too many": many, "an alias twice": {many[0], many[0]}, "an alias of itself": {{Alias: "x", Collection: "x"}},
	} {
		_, err := s.Store.ChangeAliases(ctx, alice, actions)
		wantKind(t, "ChangeAliases with "+what, err, knowledge.ErrInvalid)
	}
	if after, err := s.Store.ListAliases(ctx, alice, "", 10); err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("ListAliases after what was refused = %+v, %v, want %+v", after, err, before)
	}
	if _, err := s.Store.ChangeAliases(ctx, alice, many[:knowledge.MaxAliasActions]); err != nil {
		t.Errorf("ChangeAliases of %d = %v, want nil", knowledge.MaxAliasActions, err)
	}
}

// A name is that of one thing only, whichever came first.
func testNamesAreShared(t *testing.T, s suite) {
	ctx := t.Context()
	s.marked(t, "collection")
	s.alias(t, "alias", "collection")
	s.view(t, knowledge.View{Name: "view", Collection: "collection", Filter: everything})
	putCollection := func(name knowledge.CollectionName) error {
		_, _, err := s.Store.PutCollection(ctx, alice, valid(t, dimension(name, 2)))
		return err
	}
	putAlias := func(name, on knowledge.CollectionName) error {
		_, err := s.Store.ChangeAliases(ctx, alice, []knowledge.AliasAction{{Alias: name, Collection: on}})
		return err
	}
	putView := func(name, on knowledge.CollectionName) error {
		_, _, err := s.Store.PutView(ctx, alice, knowledge.View{Name: name, Collection: on, Filter: everything})
		return err
	}
	for what, err := range map[string]error{
		"a collection named as an alias": putCollection("alias"), "a collection named as a view": putCollection("view"),
		"an alias named as a collection": putAlias("collection", "collection2"), "an alias named as a view": putAlias("view", "collection"),
		"a view named as a collection": putView("collection", "alias"), "a view named as an alias": putView("alias", "collection"),
		"an alias of an alias": putAlias("x", "alias"), "an alias of a view": putAlias("x", "view"), "a view of a view": putView("x", "view"),
	} {
		wantKind(t, what, err, knowledge.ErrConflict)
	}
	for what, err := range map[string]error{
		"an alias of nothing": putAlias("x", "none"), "a view of nothing": putView("x", "none"),
	} {
		wantKind(t, what, err, knowledge.ErrNotFound)
	}
	for what, err := range map[string]error{"an alias of itself": putAlias("x", "x"), "a view of itself": putView("x", "x")} {
		wantKind(t, what, err, knowledge.ErrInvalid)
	}
	_, err := s.Store.Collection(ctx, alice, "x")
	wantKind(t, "Collection of a name that was refused", err, knowledge.ErrNotFound)

	// Of those who want one name at once, one has it.
	for i := range 5 {
		name := knowledge.CollectionName(fmt.Sprintf("wanted%d", i))
		errs := make([]error, 3)
		var all sync.WaitGroup
		all.Go(func() { errs[0] = putCollection(name) })
		all.Go(func() { errs[1] = putAlias(name, "collection") })
		all.Go(func() { errs[2] = putView(name, "collection") })
		all.Wait()
		got := 0
		for _, err := range errs {
			if err == nil {
				got++
			} else {
				wantKind(t, "a name that another has", err, knowledge.ErrConflict)
			}
		}
		if got != 1 {
			t.Errorf("%d have the name %s, want 1", got, name)
		}
	}
}

// everything is a filter that admits all.
var everything = knowledge.Filter{Op: knowledge.OpAnd}

func testViews(t *testing.T, s suite) {
	ctx := t.Context()
	for _, kind := range []knowledge.IndexKind{knowledge.IndexNone, knowledge.IndexHNSW} {
		c := dimension(knowledge.CollectionName("c-"+kind), 2)
		c.Index.Kind, c.Defaults = kind, knowledge.Defaults{Limit: 5, Mode: knowledge.ModeVector}
		c.Fields = []knowledge.Field{{Name: "year", Type: knowledge.Number}, {Name: "secret", Type: knowledge.Keyword}}
		s.put(t, alice, c)
		for i := range 10 {
			s.write(t, alice, c.Name, knowledge.Record{
				ID: knowledge.RecordID(fmt.Sprintf("r%d", i)), Text: "text", Vector: []float32{1, float32(i)},
				Metadata: map[string]any{"year": float64(2020 + i), "secret": "s", "other": "o"},
			})
		}
		name := knowledge.CollectionName("v-" + kind)
		v := knowledge.View{
			Name: name, Collection: c.Name, Filter: year(knowledge.OpLt, 2024.0), Hidden: []string{"secret", "none such"},
			Defaults: knowledge.Defaults{Limit: 2},
		}
		stored := s.view(t, v)
		if !stored.Equal(v) || stored.Created.IsZero() || !stored.Created.Equal(stored.Updated) {
			t.Errorf("PutView = %+v, want %+v", stored, v)
		}
		if again, created, err := s.Store.PutView(ctx, alice, v); err != nil || created || !reflect.DeepEqual(again, stored) {
			t.Errorf("PutView again = %+v, created %v, %v, want %+v", again, created, err, stored)
		}
		if got, err := s.Store.View(ctx, alice, name); err != nil || !reflect.DeepEqual(got, stored) {
			t.Errorf("View = %+v, %v, want %+v", got, err, stored)
		}
		search := knowledge.Search{Collection: name, Vector: []float32{1, 9}, Limit: 10}
		found := s.search(t, alice, search).Matches
		if got := ids(found); !slices.Equal(got, []knowledge.RecordID{"r3", "r2", "r1", "r0"}) {
			t.Errorf("Search of the view = %v, want r3 to r0", got)
		}
		for _, m := range found {
			if m.Collection != name || len(m.Metadata) != 2 || m.Metadata["secret"] != nil {
				t.Errorf("Search of the view = %+v, want it under the view's name without secret", m)
			}
		}
		for _, filter := range []knowledge.Filter{
			year(knowledge.OpGte, 2023.0),
			{Op: knowledge.OpOr, Terms: []knowledge.Filter{year(knowledge.OpGte, 2023.0), year(knowledge.OpGte, 2029.0)}},
		} {
			search.Filter = filter
			if got := ids(s.search(t, alice, search).Matches); !slices.Equal(got, []knowledge.RecordID{"r3"}) {
				t.Errorf("Search of the view with %+v = %v, want r3", filter, got)
			}
		}
		search.Filter = knowledge.Filter{Op: knowledge.OpNot, Terms: []knowledge.Filter{{Op: knowledge.OpEq, Field: "secret", Values: []any{"s"}}}}
		_, err := s.Store.Search(ctx, alice, search)
		wantKind(t, "Search of the view by what it hides", err, knowledge.ErrInvalid)
		if r, err := s.Store.Record(ctx, alice, name, "r0"); err != nil || r.Metadata["secret"] != nil || r.Metadata["other"] != "o" {
			t.Errorf("Record of the view = %v, %v, want it without secret", r.Metadata, err)
		}
		_, err = s.Store.Record(ctx, alice, name, "r4")
		wantKind(t, "Record that the view does not admit", err, knowledge.ErrNotFound)
		seen, err := s.Store.Collection(ctx, alice, name)
		if err != nil || seen.Name != name || seen.Records != 4 || len(seen.Fields) != 1 || seen.Defaults.Limit != 2 || seen.Defaults.Mode != knowledge.ModeVector {
			t.Errorf("Collection of the view = %+v, %v, want 4 records, the field year, the defaults of both", seen, err)
		}
		page, err := s.Store.ScrollRecords(ctx, alice, name, knowledge.Scroll{Limit: 10, Filter: year(knowledge.OpGt, 2020.0), Metadata: true})
		if err != nil || len(page.Records) != 3 || page.Records[0].Metadata["secret"] != nil || page.Records[0].Metadata["other"] != "o" {
			t.Errorf("ScrollRecords of the view = %+v, %v, want 3 without secret", page, err)
		}
		if n, err := s.Store.CountRecords(ctx, alice, name, year(knowledge.OpGt, 2020.0), true); err != nil || n.Records != 3 {
			t.Errorf("CountRecords of the view = %+v, %v, want 3", n, err)
		}
		hidden := knowledge.Filter{Op: knowledge.OpEq, Field: "secret", Values: []any{"s"}}
		_, err = s.Store.ScrollRecords(ctx, alice, name, knowledge.Scroll{Limit: 10, Filter: hidden})
		wantInvalid(t, "ScrollRecords of the view by what it hides", err, "filter")
		for _, exact := range []bool{true, false} {
			_, err = s.Store.CountRecords(ctx, alice, name, hidden, exact)
			wantInvalid(t, "CountRecords of the view by what it hides", err, "filter")
		}
		testViewIsReadOnly(t, s, name, c.Name)

		v.Filter = everything
		changed, created, err := s.Store.PutView(ctx, alice, v)
		if err != nil || created || !changed.Created.Equal(stored.Created) || !changed.Filter.Equal(everything) {
			t.Errorf("PutView with another filter = %+v, created %v, %v, want it changed", changed, created, err)
		}
		search.Filter = knowledge.Filter{}
		if got := len(s.search(t, alice, search).Matches); got != 10 {
			t.Errorf("Search just after the view changed = %d, want 10", got)
		}
		wantKind(t, "DeleteCollection with a view", s.Store.DeleteCollection(ctx, alice, c.Name), knowledge.ErrConflict)
		wantKind(t, "DeleteCollectionAndAliases with a view", s.Store.DeleteCollectionAndAliases(ctx, alice, c.Name), knowledge.ErrConflict)
		if err := s.Store.DeleteView(ctx, alice, name); err != nil {
			t.Errorf("DeleteView = %v, want nil", err)
		}
		_, err = s.Store.Record(ctx, alice, name, "r0")
		wantKind(t, "Record of a view that is gone", err, knowledge.ErrNotFound)
		wantKind(t, "DeleteView again", s.Store.DeleteView(ctx, alice, name), knowledge.ErrNotFound)
		if err := s.Store.DeleteCollection(ctx, alice, c.Name); err != nil {
			t.Errorf("DeleteCollection = %v, want nil", err)
		}
	}
	for what, v := range map[string]knowledge.View{
		"no filter":            {Name: "v", Collection: "c"},
		"a malformed filter":   {Name: "v", Collection: "c", Filter: knowledge.Filter{Field: "year"}},
		"a field hidden twice": {Name: "v", Collection: "c", Filter: everything, Hidden: []string{"a", "a"}},
		"NUL in what it hides": {Name: "v", Collection: "c", Filter: everything, Hidden: []string{"\x00"}},
		"a bad default":        {Name: "v", Collection: "c", Filter: everything, Defaults: knowledge.Defaults{Limit: -1}},
	} {
		_, _, err := s.Store.PutView(ctx, alice, v)
		wantKind(t, "PutView with "+what, err, knowledge.ErrInvalid)
	}
}

// testViewIsReadOnly tries everything that changes something.
func testViewIsReadOnly(t *testing.T, s suite, view, collection knowledge.CollectionName) {
	t.Helper()
	outcomes := everyCall(t.Context(), s, alice, view)
	for _, call := range []string{"PutRecords", "PatchRecord", "DeleteRecord", "DeleteRecords"} {
		wantKind(t, call+" by a view", outcomes[call], knowledge.ErrForbidden)
	}
	for _, call := range []string{"ChangeCollection", "FillFields", "DeleteCollection", "DeleteCollectionAndAliases"} {
		wantKind(t, call+" by a view", outcomes[call], knowledge.ErrConflict)
	}
	if c, err := s.Store.Collection(t.Context(), alice, collection); err != nil || c.Records != 10 || c.Version != 1 {
		t.Errorf("Collection after writes by a view = %+v, %v, want it as it was", c, err)
	}
}

func testViewsOfAliases(t *testing.T, s suite) {
	ctx := t.Context()
	s.marked(t, "one")
	s.marked(t, "two")
	s.alias(t, "now", "one")
	s.view(t, knowledge.View{Name: "seen", Collection: "now", Filter: everything})
	for _, want := range []string{"one", "two"} {
		s.alias(t, "now", knowledge.CollectionName(want))
		if r, err := s.Store.Record(ctx, alice, "seen", "1"); err != nil || r.Text != want {
			t.Errorf("Record by a view of an alias of %s = %q, %v, want %s", want, r.Text, err, want)
		}
	}
	_, err := s.Store.ChangeAliases(ctx, alice, []knowledge.AliasAction{{Alias: "now"}})
	wantKind(t, "removing an alias with a view", err, knowledge.ErrConflict)
	wantKind(t, "DeleteCollectionAndAliases with a view of an alias", s.Store.DeleteCollectionAndAliases(ctx, alice, "two"), knowledge.ErrConflict)
	if _, err := s.Store.Record(ctx, alice, "seen", "1"); err != nil {
		t.Errorf("Record after what was refused = %v, want nil", err)
	}
	if list, err := s.Store.ListViews(ctx, alice, "", 10); err != nil || len(list) != 1 || list[0].Collection != "now" {
		t.Errorf("ListViews = %+v, %v, want the one of the alias", list, err)
	}
	if list, err := s.Store.ListViews(ctx, bob, "", 10); err != nil || len(list) != 0 {
		t.Errorf("ListViews of another tenant = %+v, %v, want none", list, err)
	}
	_, err = s.Store.View(ctx, bob, "seen")
	wantKind(t, "View of another tenant", err, knowledge.ErrNotFound)
	wantKind(t, "DeleteView of another tenant", s.Store.DeleteView(ctx, bob, "seen"), knowledge.ErrNotFound)
	if err := s.Store.DeleteView(ctx, alice, "seen"); err != nil {
		t.Errorf("DeleteView = %v, want nil", err)
	}
}

// Who is limited to views has nothing else, whatever it is called.
func testLimitedToViews(t *testing.T, s suite) {
	ctx := t.Context()
	s.marked(t, "c")
	s.alias(t, "a", "c")
	s.view(t, knowledge.View{Name: "other", Collection: "c", Filter: everything})
	s.view(t, knowledge.View{Name: "mine", Collection: "c", Filter: everything})
	limited := knowledge.LimitToViews(ctx, []knowledge.CollectionName{"mine", "gone", "c"})
	for _, name := range []knowledge.CollectionName{"c", "a", "other", "gone", "none"} {
		for what, err := range everyCall(limited, s, alice, name) {
			wantKind(t, fmt.Sprintf("%s of %s", what, name), err, knowledge.ErrNotFound)
		}
	}
	outcomes := everyCall(limited, s, alice, "mine")
	for _, call := range []string{"Resolve", "Collection", "Record", "Search", "ScrollRecords", "CountRecords"} {
		if outcomes[call] != nil {
			t.Errorf("%s of one's own view = %v, want nil", call, outcomes[call])
		}
	}
	for _, call := range []string{"PutRecords", "PatchRecord", "DeleteRecord", "DeleteRecords"} {
		wantKind(t, call+" of one's own view", outcomes[call], knowledge.ErrForbidden)
	}
	list, err := s.Store.ListCollections(limited, alice, "", 10)
	if err != nil || len(list) != 1 || list[0].Name != "mine" || list[0].Records != 1 {
		t.Errorf("ListCollections = %+v, %v, want one's own view alone", list, err)
	}
	if list, err := s.Store.ListCollections(limited, alice, "mine", 10); err != nil || len(list) != 0 {
		t.Errorf("ListCollections after it = %+v, %v, want none", list, err)
	}
	if list, err := s.Store.ListAliases(limited, alice, "", 10); err != nil || len(list) != 0 {
		t.Errorf("ListAliases = %+v, %v, want none", list, err)
	}
	if list, err := s.Store.ListViews(limited, alice, "", 10); err != nil || len(list) != 0 {
		t.Errorf("ListViews = %+v, %v, want none", list, err)
	}
	_, err = s.Store.Alias(limited, alice, "a")
	wantKind(t, "Alias", err, knowledge.ErrNotFound)
	_, err = s.Store.View(limited, alice, "mine")
	wantKind(t, "View", err, knowledge.ErrNotFound)
	wantKind(t, "DeleteView", s.Store.DeleteView(limited, alice, "mine"), knowledge.ErrNotFound)
	_, _, err = s.Store.PutCollection(limited, alice, valid(t, dimension("mine2", 2)))
	wantKind(t, "PutCollection", err, knowledge.ErrForbidden)
	_, _, err = s.Store.PutView(limited, alice, knowledge.View{Name: "mine", Collection: "c", Filter: everything})
	wantKind(t, "PutView", err, knowledge.ErrForbidden)
	_, err = s.Store.ChangeAliases(limited, alice, []knowledge.AliasAction{{Alias: "gone", Collection: "c"}})
	wantKind(t, "ChangeAliases", err, knowledge.ErrForbidden)

	// A collection that takes the name of a view is not the view.
	if err := s.Store.DeleteView(ctx, alice, "mine"); err != nil {
		t.Fatal(err)
	}
	s.marked(t, "mine")
	s.alias(t, "gone", "c")
	for _, name := range []knowledge.CollectionName{"mine", "gone"} {
		_, err = s.Store.Record(limited, alice, name, "1")
		wantKind(t, "Record of what took the name of a view", err, knowledge.ErrNotFound)
	}
	x, err := s.Store.StartImport(ctx, alice, knowledge.Import{Collection: "c", Mode: knowledge.Upsert, OnError: knowledge.Fail})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Store.Import(limited, alice, x.ID)
	wantKind(t, "Import", err, knowledge.ErrNotFound)
	_, err = s.Store.ResumeImport(limited, alice, x.ID)
	wantKind(t, "ResumeImport", err, knowledge.ErrNotFound)
	_, err = s.Store.StartImport(limited, alice, knowledge.Import{Collection: "c", Mode: knowledge.Upsert, OnError: knowledge.Fail})
	wantKind(t, "StartImport", err, knowledge.ErrNotFound)
	_, err = s.Store.StartImport(limited, alice, knowledge.Import{Mode: knowledge.Upsert, OnError: knowledge.Fail})
	wantKind(t, "StartImport of a whole tenant", err, knowledge.ErrForbidden)
	none := knowledge.LimitToViews(ctx, nil)
	_, err = s.Store.Record(none, alice, "c", "1")
	wantKind(t, "Record where no view is left", err, knowledge.ErrNotFound)
}
