package storetest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/memstore"
)

// plainWords makes the collection c, whose words are taken as they are, so that every
// store finds the same.
func plainWords() knowledge.Collection {
	c := dimension("c", 2)
	c.Language = "simple"
	return c
}

func textRecords(texts ...string) []knowledge.Record {
	records := make([]knowledge.Record, len(texts))
	for i, text := range texts {
		records[i] = knowledge.Record{
			ID: knowledge.RecordID(fmt.Sprintf("t%d", i)), Text: text, Vector: []float32{1, float32(i)},
			Metadata: map[string]any{"n": float64(i)},
		}
	}
	return records
}

func (s suite) words(t testing.TB, tenant knowledge.TenantID, search knowledge.TextSearch) knowledge.Found {
	t.Helper()
	found, err := s.Store.SearchText(t.Context(), tenant, search)
	if err != nil {
		t.Fatalf("SearchText(%s, %.200q) = %v, want nil", tenant, search.Text, err)
	}
	if len(found.Matches) > search.Limit {
		t.Errorf("SearchText(%q) = %d matches, want at most %d", search.Text, len(found.Matches), search.Limit)
	}
	wantOrdered(t, found.Matches)
	return found
}

func testWords(t *testing.T, s suite) {
	s.put(t, alice, plainWords())
	s.put(t, bob, plainWords())
	s.write(t, alice, "c", textRecords(
		"apples and pears",                // t0
		"pears and apples and apples",     // t1
		"apples",                          // t2
		"a plum, pears; nothing else",     // t3
		"",                                // t4
		"Größe über Äpfel",                // t5
		"the apple-tree bears apples",     // t6
		"apples pears plum peach apricot", // t7
	)...)
	s.write(t, bob, "c", textRecords("apples of bob")...)
	for _, test := range []struct {
		text  string
		limit int
		want  string // ids in any order
	}{
		{"apples", 10, "t0 t1 t2 t6 t7"},
		{"APPLES", 10, "t0 t1 t2 t6 t7"},
		{"apples pears", 3, "t0 t1 t7"},                     // all clauses, for there are enough
		{"apples pears", 4, "t0 t1 t2 t3 t6 t7"},            // else any
		{"plum peach nonsense", 10, "t3 t7"},                //
		{`"apples and"`, 10, "t0 t1"},                       // and again: t1 has it too
		{`"and apples"`, 10, "t1"},                          //
		{`"pears apples"`, 10, ""},                          //
		{`"apples pears" plum`, 10, "t7"},                   //
		{`"apples and" plum`, 10, "t0 t1"},                  // a phrase is needed, a word helps
		{"ap*", 10, "t0 t1 t2 t6 t7"},                       //
		{"apr*", 10, "t7"},                                  //
		{"pea* -apples", 10, "t3"},                          //
		{`apples -"and pears"`, 10, "t1 t2 t6 t7"},          //
		{"apples -pe*", 10, "t2 t6"},                        //
		{"-apples", 10, ""},                                 // what it excludes alone finds nothing
		{"größe", 10, "t5"},                                 //
		{"!!! & | ( ) :* <-> '", 10, ""},                    //
		{"apples | pears & !plum", 10, "t0 t1 t3 t2 t6 t7"}, // no operators but ours
		{"none", 10, ""},
	} {
		found := s.words(t, alice, knowledge.TextSearch{Collection: "c", Text: test.text, Limit: 100})
		if test.limit < 10 {
			found = s.words(t, alice, knowledge.TextSearch{Collection: "c", Text: test.text, Limit: test.limit})
			for _, m := range found.Matches {
				if !strings.Contains(test.want, string(m.ID)) {
					t.Errorf("SearchText(%q, limit %d) has %s, want only of %q", test.text, test.limit, m.ID, test.want)
				}
			}
			continue
		}
		got := ids(found.Matches)
		slices.Sort(got)
		want := strings.Fields(test.want)
		slices.Sort(want)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("SearchText(%q) = %v, want %v", test.text, got, want)
		}
	}
	found := s.words(t, alice, knowledge.TextSearch{Collection: "c", Text: "apples", Limit: 10, Vectors: true, Explain: true})
	for _, m := range found.Matches {
		if m.Score <= 0 || m.Text == "" || len(m.Vector) != 2 || m.Version != 1 || m.Collection != "c" || m.Metadata["n"] == nil {
			t.Errorf("match = %+v, want all of it with a score above 0", m)
		}
	}
	if w := found.Words; w == nil || w.Records != 8 || w.Ranked != 5 || w.All || len(w.Terms) != 1 || w.Terms[0] != (knowledge.TextTerm{Term: "apples", Records: 5}) {
		t.Errorf("Words = %+v, want 5 ranked by the one term", w)
	}
	if found := s.words(t, bob, knowledge.TextSearch{Collection: "c", Text: "apples", Limit: 10}); len(found.Matches) != 1 || found.Words != nil {
		t.Errorf("SearchText as bob = %+v, want his own alone and no explanation", found)
	}
	_, err := s.Store.SearchText(t.Context(), bob, knowledge.TextSearch{Collection: "none", Text: "a", Limit: 1})
	wantKind(t, "SearchText of an unknown collection", err, knowledge.ErrNotFound)
}

// testWordsRank: a rare word counts more than a common one, a short text more
// than a long one, twice more than once.
func testWordsRank(t *testing.T, s suite) {
	s.put(t, alice, plainWords())
	s.write(t, alice, "c", textRecords(
		"common x1 x2 x3", "common y1 y2 y3", "common z1 z2 z3", "common w1 w2 w3",
		"rare v1 v2 v3", "common common u1 u2", "common "+strings.Repeat("u3 u4 u5 u6 u7 u8 u9 ", 1)+"r1 r2 r3",
	)...)
	got := ids(s.words(t, alice, knowledge.TextSearch{Collection: "c", Text: "rare common", Limit: 10}).Matches)
	if len(got) != 7 || got[0] != "t4" || got[1] != "t5" || got[6] != "t6" {
		t.Errorf("order = %v, want t4 (rare), t5 (twice), …, t6 (long)", got)
	}
}

// testWordsOfView: nothing that is found through a view, no score and no explanation,
// tells what else is in the collection.
func testWordsOfView(t *testing.T, s suite) {
	s.put(t, alice, plainWords())
	seen := textRecords("an apple and a pear", "an apple", "apple apple and a plum tree", "a pear tree")
	for i := range seen {
		seen[i].Metadata = map[string]any{"public": true}
	}
	s.write(t, alice, "c", seen...)
	s.view(t, knowledge.View{Name: "public", Collection: "c", Filter: compare(knowledge.OpEq, "public", true)})
	search := knowledge.TextSearch{Collection: "public", Text: "apple pear tree secret", Limit: 10, Explain: true}
	before := s.words(t, alice, search)
	if len(before.Matches) != 4 || before.Words.Records != 4 {
		t.Fatalf("SearchText through the view = %+v, %+v, want the 4 that are public", before.Matches, before.Words)
	}
	for i := range 40 {
		hidden := knowledge.Record{ID: knowledge.RecordID(fmt.Sprint("hidden", i)), Text: strings.Repeat("a secret apple ", i), Vector: []float32{1, 1}, Metadata: map[string]any{"public": false}}
		s.write(t, alice, "c", hidden)
	}
	after := s.words(t, alice, search)
	if fmt.Sprint(*after.Words) != fmt.Sprint(*before.Words) {
		t.Errorf("Words with more behind the view = %+v, want %+v", *after.Words, *before.Words)
	}
	wantSameScores(t, "with more behind the view", after.Matches, before.Matches)
}

// testWordsChanges: what is written, replaced, deleted, expired or filtered shows
// at once.
func testWordsChanges(t *testing.T, s suite) {
	s.put(t, alice, plainWords())
	records := textRecords("first word", "second word", "third word")
	records[2].Expires = time.Now().Add(-time.Hour)
	s.write(t, alice, "c", records...)
	find := func(text string, filter knowledge.Filter) string {
		return fmt.Sprint(ids(s.words(t, alice, knowledge.TextSearch{Collection: "c", Text: text, Limit: 10, Filter: filter}).Matches))
	}
	if got := find("word", knowledge.Filter{}); got != "[t0 t1]" {
		t.Errorf("before = %s, want [t0 t1]", got)
	}
	if got := find("word", compare(knowledge.OpGte, "n", 1.0)); got != "[t1]" {
		t.Errorf("filtered = %s, want [t1]", got)
	}
	s.write(t, alice, "c", knowledge.Record{ID: "t0", Text: "another", Vector: []float32{1, 1}})
	if err := s.Store.DeleteRecord(t.Context(), alice, "c", "t1"); err != nil {
		t.Fatal(err)
	}
	if got := find("word", knowledge.Filter{}); got != "[]" {
		t.Errorf("after = %s, want []", got)
	}
	if got := find("another", knowledge.Filter{}); got != "[t0]" {
		t.Errorf("replaced = %s, want [t0]", got)
	}
}

func testRefusedWords(t *testing.T, s suite) {
	s.put(t, alice, plainWords())
	for _, test := range []struct {
		field  string
		search knowledge.TextSearch
	}{
		{"limit", knowledge.TextSearch{Text: "a"}},
		{"limit", knowledge.TextSearch{Text: "a", Limit: knowledge.MaxLimit + 1}},
		{"text", knowledge.TextSearch{Limit: 1}},
		{"text", knowledge.TextSearch{Limit: 1, Text: strings.Repeat("a", knowledge.MaxTextBytes+1)}},
		{"text", knowledge.TextSearch{Limit: 1, Text: "a\x00b"}},
		{"text", knowledge.TextSearch{Limit: 1, Text: "\xff"}},
		{"filter.gt", knowledge.TextSearch{Limit: 1, Text: "a", Filter: compare(knowledge.OpGt, "f", true)}},
	} {
		test.search.Collection = "c"
		_, err := s.Store.SearchText(t.Context(), alice, test.search)
		wantInvalid(t, fmt.Sprintf("SearchText(%.50q)", test.search.Text), err, test.field)
	}
}

// testHostileWords: whatever a question is, it is an answer, soon.
func testHostileWords(t *testing.T, s suite) {
	s.put(t, alice, plainWords())
	s.write(t, alice, "c", textRecords("one two three", "it's a 'quoted' \\ back\\slash", "a:* b & c | !d", "über ñandú 東京 tower")...)
	for _, text := range []string{
		`'`, `''`, `\`, `\'`, `':*`, `a' | 'b`, `a:*`, `a:ABCD`, `!`, `!!`, `&`, `|`, `()`, `((((`, `<->`, `a<2>b`, `a <-> b`, `"`, `""`, `"""`, `"a`, `-`, `--`, `-"`, `-*`, `*`, `**`, `a*`, `ab*`, `a**`,
		`"a" "b" -"c" -d* e*`, `$1`, `@tenant`, `%s %d`, `' OR 1=1 --`, `'; DROP TABLE records; --`, `\x00`, "\u200b", "\u202e", "😀", "東京", "ﬁ", "İ",
		strings.Repeat("a ", knowledge.MaxTextBytes/2), strings.Repeat("(", knowledge.MaxTextBytes), strings.Repeat("'", knowledge.MaxTextBytes),
		strings.Repeat("x", knowledge.MaxTextBytes), strings.Repeat("-a ", 2600), strings.Repeat(`"`, knowledge.MaxTextBytes), manyWords(10_000), strings.Repeat("ab* ", 2000), manyPrefixes(),
		`"` + manyWords(1000) + `"`, "one " + strings.Repeat("!", 7000),
	} {
		for _, filter := range []knowledge.Filter{{}, compare(knowledge.OpGte, "n", 0.0)} {
			s.words(t, alice, knowledge.TextSearch{Collection: "c", Text: text[:min(len(text), knowledge.MaxTextBytes)], Limit: 10, Filter: filter, Explain: true})
		}
	}
	for text, want := range map[string]string{`quoted`: "[t1]", `'quoted'`: "[t1]", "one' | 'two": "[t0]", "東京": "[t3]", `back\slash`: "[t1]"} {
		if got := fmt.Sprint(ids(s.words(t, alice, knowledge.TextSearch{Collection: "c", Text: text, Limit: 10}).Matches)); got != want {
			t.Errorf("SearchText(%s) = %s, want %s", text, got, want)
		}
	}
}

func manyWords(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "w%d ", i)
		if b.Len() > knowledge.MaxTextBytes-8 {
			break
		}
	}
	return b.String()
}

func manyPrefixes() string {
	return strings.ReplaceAll(manyWords(1500), " ", "* ")[:knowledge.MaxTextBytes/2]
}

// testWordsAgree compares with the reference, over texts of a few words of very
// different frequency.
func testWordsAgree(t *testing.T, s suite) {
	reference := suite{Harness{Store: memstore.New(memstore.Options{})}}
	r := newRandom(21, 2)
	word := func() string { return fmt.Sprintf("word%d", int(math.Exp(r.Float64()*5))) }
	records := make([]knowledge.Record, 600)
	for i := range records {
		var b strings.Builder
		for range 1 + r.IntN(30) {
			b.WriteString(word() + " ")
		}
		records[i] = knowledge.Record{ID: knowledge.RecordID(fmt.Sprintf("r%03d", i)), Text: b.String(), Vector: r.vector(), Metadata: map[string]any{"n": float64(i % 10)}}
	}
	for _, store := range []suite{s, reference} {
		store.put(t, alice, plainWords())
		store.write(t, alice, "c", records...)
		store.view(t, knowledge.View{Name: "some", Collection: "c", Filter: compare(knowledge.OpLt, "n", 7.0)})
	}
	for range 150 {
		search := knowledge.TextSearch{Collection: []knowledge.CollectionName{"c", "some"}[r.IntN(2)], Limit: 1 + r.IntN(100), Explain: true}
		for range 1 + r.IntN(4) {
			search.Text += []string{"%s ", "%s ", "%s ", `"%s %[1]s" `, "%s* ", "-%s ", "-%s* ", `-"%s %[1]s" `}[r.IntN(8)]
			search.Text = strings.ReplaceAll(strings.ReplaceAll(search.Text, "%[1]s", word()), "%s", word())
		}
		if r.IntN(2) == 0 {
			search.Filter = compare(knowledge.OpLt, "n", float64(r.IntN(10)))
		}
		got, want := s.words(t, alice, search), reference.words(t, alice, search)
		if len(knowledge.ParseTextQuery(search.Text).Prefixes) > 0 {
			// How many records have one of its words, which is its weight, need
			// not be exact. What is found must be.
			if len(got.Matches) != len(want.Matches) || got.Words.All != want.Words.All || got.Words.Ranked != want.Words.Ranked {
				t.Errorf("SearchText(%q) = %d of %d, all %v, want %d of %d, %v", search.Text, len(got.Matches), got.Words.Ranked, got.Words.All, len(want.Matches), want.Words.Ranked, want.Words.All)
			}
			continue
		}
		if fmt.Sprint(*got.Words) != fmt.Sprint(*want.Words) {
			t.Errorf("Words(%q) = %+v, want %+v", search.Text, *got.Words, *want.Words)
		}
		wantSameScores(t, search.Text, got.Matches, want.Matches)
	}
}

// wantSameScores fails unless both have the same scores in order, up to rounding;
// records of equal scores may change places.
func wantSameScores(t testing.TB, what string, got, want []knowledge.Match) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%q = %d matches, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		if math.Abs(got[i].Score-want[i].Score) > 1e-6*math.Abs(want[i].Score) {
			t.Errorf("%q: match %d = %s %v, want %s %v", what, i, got[i].ID, got[i].Score, want[i].ID, want[i].Score)
			return
		}
	}
}
