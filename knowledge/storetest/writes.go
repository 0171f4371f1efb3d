package storetest

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// wantConflict fails unless err is a ConflictError about the field.
func wantConflict(t testing.TB, what string, err error, field string) {
	t.Helper()
	var conflict *knowledge.ConflictError
	if !errors.As(err, &conflict) || conflict.Field != field || !errors.Is(err, knowledge.ErrConflict) {
		t.Errorf("%s = %v, want a ConflictError about %q", what, err, field)
	}
}

// texts are what is kept under each id, with versions.
func (s suite) texts(t testing.TB, name knowledge.CollectionName) map[knowledge.RecordID]string {
	t.Helper()
	page, err := s.Store.ScrollRecords(t.Context(), alice, name, knowledge.Scroll{Limit: knowledge.MaxScroll, Text: true})
	if err != nil || page.More {
		t.Fatalf("ScrollRecords = more %v, %v, want all", page.More, err)
	}
	all := map[knowledge.RecordID]string{}
	for _, r := range page.Records {
		all[r.ID] = fmt.Sprintf("%s v%d", r.Text, r.Version)
	}
	return all
}

func (s suite) wantTexts(t testing.TB, what string, name knowledge.CollectionName, want map[knowledge.RecordID]string) {
	t.Helper()
	if got := s.texts(t, name); !reflect.DeepEqual(got, want) {
		t.Errorf("after %s there is %v, want %v", what, got, want)
	}
}

func record(id knowledge.RecordID, text string) knowledge.Record {
	return knowledge.Record{ID: id, Text: text, Vector: []float32{1, 2}}
}

type texts = map[knowledge.RecordID]string

func testWriteModes(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("c", 2))
	past := record("expired", "old")
	past.Expires = time.Now().Add(-time.Hour)
	s.write(t, alice, "c", record("a", "old"), record("b", "old"), past)

	write := func(w knowledge.Write) ([]knowledge.WriteResult, error) {
		return s.Store.PutRecords(ctx, alice, "c", w)
	}
	both := []knowledge.Record{record("new", "x"), record("a", "x")}
	_, err := write(knowledge.Write{Mode: knowledge.InsertOnly, Records: both})
	wantConflict(t, "insert_only of one that is there", err, "records[1].id")
	_, err = write(knowledge.Write{Mode: knowledge.UpdateOnly, Records: both})
	wantConflict(t, "update_only of one that is not there", err, "records[0].id")
	_, err = write(knowledge.Write{Mode: knowledge.UpdateOnly, Records: []knowledge.Record{record("expired", "x")}})
	wantConflict(t, "update_only of one that has expired", err, "records[0].id")
	_, err = write(knowledge.Write{Mode: "replace", Records: both})
	wantInvalid(t, "a mode that is none", err, "mode")
	_, err = write(knowledge.Write{OnError: "ignore", Records: both})
	wantInvalid(t, "an on_error that is none", err, "on_error")
	s.wantTexts(t, "refused writes", "c", texts{"a": "old v1", "b": "old v1"})

	if got, err := write(knowledge.Write{Mode: knowledge.InsertOnly, Records: []knowledge.Record{record("new", "x"), record("expired", "x")}}); err != nil || got[0].Version != 1 || got[1].Version != 1 {
		t.Errorf("insert_only of new ones = %+v, %v, want version 1 of each", got, err)
	}
	if got, err := write(knowledge.Write{Mode: knowledge.UpdateOnly, Records: []knowledge.Record{record("b", "y"), record("a", "y")}}); err != nil || got[0].Version != 2 || got[1].Version != 2 {
		t.Errorf("update_only of known ones = %+v, %v, want version 2 of each", got, err)
	}
	s.wantTexts(t, "good writes", "c", texts{"a": "y v2", "b": "y v2", "new": "x v1", "expired": "x v1"})
}

func testIfVersion(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("c", 2))
	s.write(t, alice, "c", record("a", "1"))
	s.write(t, alice, "c", record("a", "2"), record("b", "1"))
	for _, test := range []struct {
		id      knowledge.RecordID
		version int64
		good    bool
	}{{"a", 0, false}, {"a", 1, false}, {"a", 3, false}, {"none", 1, false}, {"a", 2, true}, {"none", 0, true}, {"b", 1, true}} {
		w := knowledge.Write{
			Records:   []knowledge.Record{record("other", "x"), record(test.id, "x")},
			IfVersion: map[int]int64{1: test.version},
		}
		before := s.texts(t, "c")
		_, err := s.Store.PutRecords(ctx, alice, "c", w)
		what := fmt.Sprintf("%s if it has version %d", test.id, test.version)
		if test.good && err != nil {
			t.Errorf("%s: PutRecords = %v, want nil", what, err)
		}
		if !test.good {
			wantConflict(t, what, err, "records[1].if_version")
			s.wantTexts(t, what, "c", before)
		}
	}
	_, err := s.Store.PutRecords(ctx, alice, "c", knowledge.Write{Records: []knowledge.Record{record("a", "x")}, IfVersion: map[int]int64{0: -1}})
	wantInvalid(t, "if_version -1", err, "records[0].if_version")
}

func testSkippedRecords(t *testing.T, s suite) {
	s.put(t, alice, dimension("c", 2))
	s.write(t, alice, "c", record("known", "old"))
	long := record("long", "x")
	long.Vector = []float32{1, 2, 3}
	nan := record("nan", "x")
	nan.Vector = []float32{1, float32(math.NaN())}
	results, err := s.Store.PutRecords(t.Context(), alice, "c", knowledge.Write{
		Mode: knowledge.InsertOnly, OnError: knowledge.Skip,
		Records:   []knowledge.Record{record("a", "x"), long, record("known", "x"), record("a", "again"), nan, record("b", "x"), record("", "x"), record("c", "x")},
		IfVersion: map[int]int64{7: 4},
	})
	if err != nil || len(results) != 8 {
		t.Fatalf("PutRecords = %d results, %v, want 8", len(results), err)
	}
	for i, field := range []string{"", "records[1].vector", "", "records[3].id", "records[4].vector[1]", "", "records[6].id", ""} {
		switch {
		case field != "":
			wantInvalid(t, fmt.Sprintf("result %d", i), results[i].Err, field)
		case i == 2:
			wantConflict(t, "result 2", results[i].Err, "records[2].id")
		case i == 7:
			wantConflict(t, "result 7", results[i].Err, "records[7].if_version")
		case results[i].Err != nil || results[i].Version != 1:
			t.Errorf("result %d = %+v, want version 1", i, results[i])
		}
		if results[i].Err != nil && results[i].Version != 0 {
			t.Errorf("result %d = %+v, want no version", i, results[i])
		}
	}
	s.wantTexts(t, "a write with bad records", "c", texts{"a": "x v1", "b": "x v1", "known": "old v1"})
}

// testConcurrentConditions has writers raise one record by if_version and insert
// others: of those who saw the same version, one wins.
func testConcurrentConditions(t *testing.T, s suite) {
	const writers, rounds = 6, 15
	s.put(t, alice, dimension("c", 2))
	s.write(t, alice, "c", record("counter", ""))
	wins := make([]int, writers)
	inserts := make([]int, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for round := range rounds {
				now, err := s.Store.Record(t.Context(), alice, "c", "counter")
				if err != nil {
					t.Errorf("Record = %v, want nil", err)
					return
				}
				_, err = s.Store.PutRecords(t.Context(), alice, "c", knowledge.Write{
					Records: []knowledge.Record{record("counter", "")}, IfVersion: map[int]int64{0: now.Version},
				})
				if err == nil {
					wins[w]++
				} else if !errors.Is(err, knowledge.ErrConflict) {
					t.Errorf("PutRecords if version %d = %v, want nil or a conflict", now.Version, err)
				}
				id := knowledge.RecordID(fmt.Sprintf("insert-%d", round))
				_, err = s.Store.PutRecords(t.Context(), alice, "c", knowledge.Write{Mode: knowledge.InsertOnly, Records: []knowledge.Record{record(id, "")}})
				if err == nil {
					inserts[w]++
				} else if !errors.Is(err, knowledge.ErrConflict) {
					t.Errorf("insert_only = %v, want nil or a conflict", err)
				}
			}
		})
	}
	wg.Wait()
	won, inserted := 0, 0
	for w := range writers {
		won, inserted = won+wins[w], inserted+inserts[w]
	}
	got, err := s.Store.Record(t.Context(), alice, "c", "counter")
	if err != nil || got.Version != int64(1+won) || won < rounds {
		t.Errorf("after %d writes that were acknowledged the version is %d, %v, want %d", won, got.Version, err, 1+won)
	}
	if inserted != rounds {
		t.Errorf("%d inserts of %d ids were acknowledged, want one each", inserted, rounds)
	}
}

func testRestore(t *testing.T, s suite) {
	ctx := t.Context()
	c := dimension("c", 3)
	c.TTL = time.Hour
	s.put(t, alice, c)
	created := time.Date(2020, 1, 2, 3, 4, 5, 678901000, time.UTC)
	r := knowledge.Record{
		ID: "a", Text: "text", Vector: []float32{float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, 1},
		Metadata: map[string]any{"k": 1e-7}, Version: 7, Created: created, Updated: created.Add(time.Microsecond),
	}
	restore := func(r knowledge.Record) error {
		_, err := s.Store.PutRecords(ctx, alice, "c", knowledge.Write{Mode: knowledge.Restore, Records: []knowledge.Record{r}})
		return err
	}
	if err := restore(r); err != nil {
		t.Fatalf("PutRecords = %v, want nil", err)
	}
	got, err := s.Store.Record(ctx, alice, "c", "a")
	if err != nil || !reflect.DeepEqual(got, r) || math.Float32bits(got.Vector[0]) != 1<<31 {
		t.Errorf("Record = %+v, %v, want all as it was given: %+v", got, err, r)
	}
	wantConflict(t, "Restore of one that is there", restore(r), "records[0].id")
	for field, change := range map[string]func(*knowledge.Record){
		"version":    func(r *knowledge.Record) { r.Version = 0 },
		"created_at": func(r *knowledge.Record) { r.Created = time.Time{} },
		"updated_at": func(r *knowledge.Record) { r.Updated = time.Time{} },
	} {
		bad := r
		bad.ID = "b"
		change(&bad)
		wantInvalid(t, "Restore without "+field, restore(bad), "records[0]."+field)
	}
	if versions, err := s.putRecords(ctx, alice, "c", []knowledge.Record{r}); !slices.Equal(versions, []int64{8}) || err != nil {
		t.Errorf("PutRecords of a restored record = %v, %v, want version 8", versions, err)
	}
	past := r
	past.ID, past.Expires = "past", time.Now().Add(-time.Hour)
	s.write(t, alice, "c", past)
	past.Expires = time.Time{}
	if err := restore(past); err != nil {
		t.Errorf("Restore over an expired record = %v, want nil", err)
	}
}

func testDefaultTTL(t *testing.T, s suite) {
	ctx := t.Context()
	c := dimension("c", 2)
	c.TTL = 90 * time.Minute
	s.put(t, alice, c)
	own := record("own", "")
	own.Expires = time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)
	s.write(t, alice, "c", record("default", ""), own)
	got, err := s.Store.Record(ctx, alice, "c", "default")
	if left := time.Until(got.Expires); err != nil || left < 85*time.Minute || left > 95*time.Minute {
		t.Errorf("a record without expiry lives for %v, %v, want about 90m", left, err)
	}
	if got, err := s.Store.Record(ctx, alice, "c", "own"); err != nil || !got.Expires.Equal(own.Expires) {
		t.Errorf("Record(own).Expires = %v, %v, want %v", got.Expires, err, own.Expires)
	}
	if _, err := s.Store.PatchRecord(ctx, alice, "c", knowledge.Patch{ID: "own", SetExpires: true}); err != nil {
		t.Errorf("PatchRecord = %v, want nil", err)
	}
	if got, err := s.Store.Record(ctx, alice, "c", "own"); err != nil || !got.Expires.IsZero() {
		t.Errorf("Record(own).Expires = %v, %v, want never", got.Expires, err)
	}
}

func testPatch(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("c", 2))
	r := record("a", "text")
	r.Metadata = map[string]any{"keep": 1.0, "drop": "x", "deep": map[string]any{"a": 1.0, "b": []any{1.0}}, "list": []any{1.0, 2.0}}
	s.write(t, alice, "c", r, record("plain", ""))
	before, _ := s.Store.Record(ctx, alice, "c", "a")
	later := time.Date(2999, 1, 1, 0, 0, 0, 1000, time.UTC)

	version, err := s.Store.PatchRecord(ctx, alice, "c", knowledge.Patch{
		ID: "a", IfVersion: 1, SetExpires: true, Expires: later,
		Metadata: map[string]any{"drop": nil, "new": map[string]any{"x": nil, "y": true}, "deep": map[string]any{"a": nil, "c": 3.0}, "list": []any{nil}, "keep": 2.0},
	})
	if version != 2 || err != nil {
		t.Fatalf("PatchRecord = %d, %v, want version 2", version, err)
	}
	want := before
	want.Version, want.Expires = 2, later
	want.Metadata = map[string]any{"keep": 2.0, "new": map[string]any{"y": true}, "deep": map[string]any{"b": []any{1.0}, "c": 3.0}, "list": []any{nil}}
	got, err := s.Store.Record(ctx, alice, "c", "a")
	if got.Updated.Before(before.Updated) {
		t.Errorf("Record.Updated = %v, want not before %v", got.Updated, before.Updated)
	}
	if want.Updated = got.Updated; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Record = %+v, %v, want %+v", got, err, want)
	}
	found := s.search(t, alice, knowledge.Search{Collection: "c", Vector: []float32{1, 2}, Limit: 5, Filter: eq("keep", 2.0)})
	if got := ids(found.Matches); !slices.Equal(got, []knowledge.RecordID{"a"}) {
		t.Errorf("Search by the new metadata = %q, want a", got)
	}

	patch := func(p knowledge.Patch) error {
		_, err := s.Store.PatchRecord(ctx, alice, "c", p)
		return err
	}
	change := map[string]any{"x": 1.0}
	wantConflict(t, "Patch if version 1", patch(knowledge.Patch{ID: "a", IfVersion: 1, Metadata: change}), "if_version")
	wantKind(t, "Patch of none", patch(knowledge.Patch{ID: "none", Metadata: change}), knowledge.ErrNotFound)
	wantInvalid(t, "Patch of nothing", patch(knowledge.Patch{ID: "a"}), "")
	wantInvalid(t, "Patch with NUL", patch(knowledge.Patch{ID: "a", Metadata: map[string]any{"k": "\x00"}}), "metadata.k")
	half := map[string]any{"half": string(make([]byte, 0)) + string(slices.Repeat([]byte("x"), knowledge.MaxMetadataBytes/2))}
	if err := patch(knowledge.Patch{ID: "plain", Metadata: half}); err != nil {
		t.Errorf("Patch with half of the metadata there may be = %v, want nil", err)
	}
	err = patch(knowledge.Patch{ID: "plain", Metadata: map[string]any{"other": half["half"], "more": half["half"]}})
	if !errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("Patch over the bound of metadata = %v, want an InvalidError", err)
	}
	if got, err := s.Store.Record(ctx, alice, "c", "plain"); err != nil || got.Version != 2 {
		t.Errorf("Record(plain).Version = %d, %v, want 2: a refused patch changes nothing", got.Version, err)
	}
}

// testConcurrentPatches has each patch add a member of its own: none gets lost.
func testConcurrentPatches(t *testing.T, s suite) {
	const writers, rounds = 6, 8
	s.put(t, alice, dimension("c", 2))
	s.write(t, alice, "c", record("a", ""))
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for round := range rounds {
				key := fmt.Sprintf("%d-%d", w, round)
				if _, err := s.Store.PatchRecord(t.Context(), alice, "c", knowledge.Patch{ID: "a", Metadata: map[string]any{key: true}}); err != nil {
					t.Errorf("PatchRecord(%s) = %v, want nil", key, err)
				}
			}
		})
	}
	wg.Wait()
	got, err := s.Store.Record(t.Context(), alice, "c", "a")
	if err != nil || len(got.Metadata) != writers*rounds || got.Version != writers*rounds+1 {
		t.Errorf("after %d patches there are %d members at version %d, %v", writers*rounds, len(got.Metadata), got.Version, err)
	}
}
