package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

// hostileStrings are what breaks out of SQL, JSON, paths, patterns and text search
// where they are built from strings; and what looks like something else.
func hostileStrings() []string {
	return []string{
		`'`, `''`, `"`, `""`, `\`, `\\'`, `'; DROP TABLE tars.records; --`, `" OR ""="`, `' OR '1'='1`, `1; SELECT pg_sleep(10)--`, `'||(SELECT version())||'`,
		`$1`, `$$`, `$tag$`, `@tenant`, `@filter1`, `:name`, `?`, `%s%n`, `%_%_%_%`, `(a+)+$`, `.*`, `{}`, `[]`, `null`, `NULL`, `true`, `NaN`, `Infinity`, `1e400`,
		`$.a[*] ? (@ > 1)`, `$.**`, `strict $`, `a.b`, `a->b`, `a->>'b'`, `#>>`, `{a,b}`, `__proto__`, `constructor`, `$where`, `$ne`,
		`tenant_id`, `placement`, `r.metadata`, `s1`, `id`, ` `, "\t\n\r", "\u0001", "\u007f", "\u2028", "\ufeff", "\u202e", "é", "e\u0301", "\U0010ffff", "🦊",
		`a & b | !c <-> d:*`, `'a' & (`, `:*`, `&`, `!`, `<1>`, strings.Repeat(`\`, 100), strings.Repeat("x", knowledge.MaxFilterField),
		`/*`, `*/`, `--`, "`", `U&'\0061'`, `E'\x00'`, `\u0000`, `%00`, `$9999`, `{"a":1}`, `["a"]`,
	}
}

// testHostileFilters gives each hostile string as the name of a field, declared and
// not, and as a value: it means itself and nothing else.
func testHostileFilters(t *testing.T, s suite) {
	all := hostileStrings()
	slices.Sort(all)
	all = slices.Compact(all)
	c := dimension("c", 1)
	for i, name := range []string{`q'"; --`, "tenant_id", "$1", "__proto__"} {
		c.Fields = append(c.Fields, knowledge.Field{Name: name, Type: []knowledge.FieldType{knowledge.Keyword, knowledge.Keywords}[i%2]})
	}
	s.put(t, alice, c)
	s.put(t, bob, c)
	for i, value := range all {
		metadata := map[string]any{}
		for _, name := range all {
			metadata[name] = value
		}
		metadata[`q'"; --`], metadata["tenant_id"], metadata["$1"], metadata["__proto__"] = value, []any{value}, value, []any{value}
		record := knowledge.Record{ID: knowledge.RecordID(fmt.Sprintf("%03d", i)), Vector: []float32{1}, Text: value, Metadata: metadata}
		s.write(t, alice, "c", record)
		if i == 0 {
			record.ID = "of-bob"
			s.write(t, bob, "c", record)
		}
	}
	check := func(f knowledge.Filter, want ...knowledge.RecordID) {
		t.Helper()
		found := s.search(t, alice, knowledge.Search{Collection: "c", Vector: []float32{1}, Limit: knowledge.MaxLimit, Filter: f})
		got := ids(found.Matches)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("Search(filter %.300v) = %q, want %q", f, got, want)
		}
	}
	names := append(slices.Clone(all[:3]), `q'"; --`, "tenant_id", "$1", "__proto__")
	for i, value := range all {
		id := knowledge.RecordID(fmt.Sprintf("%03d", i))
		for _, name := range names {
			check(eq(name, value), id)
		}
		// As the name alone: one term for each name, all in one filter.
		check(combine(knowledge.OpAnd, eq(value, all[i]), compare(knowledge.OpIn, "tenant_id", value, "bob")), id)
		// Words of text search have no operators; whatever is found is alice's.
		f := knowledge.Filter{Op: knowledge.OpMatch, Values: []any{value}}
		for _, m := range s.search(t, alice, knowledge.Search{Collection: "c", Vector: []float32{1}, Limit: knowledge.MaxLimit, Filter: f}).Matches {
			if m.ID == "of-bob" {
				t.Errorf("Search(match %q) found bob's record", value)
			}
		}
	}
}
