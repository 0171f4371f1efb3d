package plugins_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/plugins"
)

// passage is what encoding/json reads of a passage.
type passage struct {
	Index      int
	ID         string
	Collection string
	Text       string
	Score      float64
	Metadata   map[string]any
	Legs       []any
}

// FuzzPassages: what is written by hand is what was meant, to another reader.
func FuzzPassages(f *testing.F) {
	f.Add("Größe \x00 \u2028 \" \\ </script>", "k\n", 1e-7, true)
	f.Add("\U0001F600", "", math.Copysign(0, -1), false)
	f.Add("", "é", 1.7976931348623157e308, true)
	f.Fuzz(func(t *testing.T, text, key string, number float64, truth bool) {
		text, key = strings.ToValidUTF8(text, ""), strings.ToValidUTF8(key, "")
		metadata := map[string]any{key: number, "list": []any{nil, truth, text, []any{}, map[string]any{"b": 1.0, "a": key}}}
		c := query.Candidate{Match: knowledge.Match{ID: "a", Collection: "docs", Text: text, Metadata: metadata}, Score: number}
		out, err := plugins.Passages(&query.Handout{Candidates: []query.Candidate{c, {Match: knowledge.Match{ID: "b"}}}})
		if math.IsNaN(number) || math.IsInf(number, 0) {
			if err == nil {
				t.Errorf("Passages of %v = %s, want an error", number, out)
			}
			return
		}
		var got []passage
		if err != nil || json.Unmarshal(out, &got) != nil || len(got) != 2 {
			t.Fatalf("Passages = %s, %v, want two passages", out, err)
		}
		want := passage{Index: 0, ID: "a", Collection: "docs", Text: text, Score: number, Metadata: metadata}
		if !reflect.DeepEqual(got[0], want) || got[1].Index != 1 || got[1].Metadata != nil {
			t.Errorf("Passages = %s, which reads %+v, want %+v", out, got[0], want)
		}
	})
}

func BenchmarkPassages(b *testing.B) {
	list := make([]query.Candidate, 200)
	for i := range list {
		list[i] = query.Candidate{Score: float64(i) / 7, Match: knowledge.Match{
			ID: "continuous-archiving#BACKUP-PITR-RECOVERY/2", Collection: "manual", Text: strings.Repeat("The server is stopped, \"if it is running\". ", 20),
			Metadata: map[string]any{"page": "continuous-archiving.html", "heading": "Recovering", "chapter": "Backup and Restore", "url": "https://www.postgresql.org/docs/17/continuous-archiving.html"},
		}}
	}
	for b.Loop() {
		if _, err := plugins.Passages(&query.Handout{Candidates: list}); err != nil {
			b.Fatal(err)
		}
	}
}
