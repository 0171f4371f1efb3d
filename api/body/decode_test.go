package body

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge"
)

func TestDecodeRecords(t *testing.T) {
	var got RecordBatch
	err := Decode(strings.NewReader(` {"records":[{"id":"a","text":"x","vector":[1,-0.5,3e2],"metadata":{"n":1.5,"s":"é","l":[true,null],"o":{}},"expires_at":"2027-01-01T01:00:00+01:00"}]} `), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := []knowledge.Record{{
		ID: "a", Text: "x", Vector: []float32{1, -0.5, 300},
		Metadata: map[string]any{"n": 1.5, "s": "é", "l": []any{true, nil}, "o": map[string]any{}},
		Expires:  time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	}}
	if !reflect.DeepEqual(got.Records, want) {
		t.Errorf("Decode = %+v, want %+v", got.Records, want)
	}
}

// Errors name the place, in the client's words.
func TestDecodeNamesThePlace(t *testing.T) {
	for text, want := range map[string]string{
		`{"records":[{"id":"a"},{"id":"b","vector":[1,2,"x"]}]}`:      "records[1].vector[2]: is a string; need a number",
		`{"records":[{"id":"a","metadata":{"k":[1,{"z":1e999}]}}]}`:   "records[0].metadata.k[1].z: is larger than a number of 64 bits can be",
		`{"records":[{"text":"a"}]}`:                                  "records[0].id: is missing",
		`{"records":[{"id":"a","metadata":{"k":-9007199254740993}}]}`: "records[0].metadata.k: is an integer beyond ±9007199254740992, which would not come back as it is; send it as a string",
		`{"recordz":[]}`: "recordz: is not a member of this object",
		`{"` + strings.Repeat("é", 100) + `":1}`: strings.Repeat("é", 64) + "…: is not a member of this object",
		`{"records":[{"id":"a","id":"b"}]}`:      "records[0]: has a repeated member near byte 21",
		`{"records":{}}`:                         "records: is an object; need an array",
		`{"records":[{"id":"a"`:                  "records[0]: ends before the JSON document does",
		`{"records":[{"id":"a"}]} {`:             "has something after the JSON document",
		"":                                       "ends before the JSON document does",
		`{"records":[{"id":"a","metadata":{"k":9007199254740992,"l":1e300}}]}`: "",
	} {
		got := ""
		if err := Decode(strings.NewReader(text), new(RecordBatch)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("Decode(%s) = %q, want %q", text, got, want)
		}
	}
}

// What the domain would refuse as well is refused here already, before a large
// value has been made of it.
func TestDecodeKeepsBoundsItself(t *testing.T) {
	term := `{"field":"a","eq":1}`
	for what, c := range map[string]struct {
		into Body
		text string
		ok   bool
	}{
		"metadata of 8 levels": {new(RecordBatch), `{"records":[{"id":"a","metadata":` + nested(`{"k":`, 8, "}") + `}]}`, true},
		"metadata of 9 levels": {new(RecordBatch), `{"records":[{"id":"a","metadata":` + nested(`{"k":`, 9, "}") + `}]}`, false},
		"256 terms":            {new(SearchRequest), `{"text":"x","filter":{"and":[` + term + strings.Repeat(","+term, 254) + `]}}`, true},
		"257 terms":            {new(SearchRequest), `{"text":"x","filter":{"and":[{"or":[` + term + strings.Repeat(","+term, 254) + `]}]}}`, false},
		"16 levels":            {new(SearchRequest), `{"text":"x","filter":` + strings.Replace(nested(`{"not":`, 15, "}"), "1", term, 1) + `}`, true},
		"17 levels":            {new(SearchRequest), `{"text":"x","filter":` + strings.Replace(nested(`{"not":`, 16, "}"), "1", term, 1) + `}`, false},
		"input of 32 levels":   {new(InvokeRequest), `{"capability":"rank","input":` + nested("[", 32, "]") + `}`, true},
		"input of 33 levels":   {new(InvokeRequest), `{"capability":"rank","input":` + nested("[", 33, "]") + `}`, false},
		"NUL in a text":        {new(SearchRequest), `{"text":"\u0000"}`, false},
		"NUL in a record":      {new(RecordBatch), `{"records":[{"id":"a","text":"\u0000"}]}`, false},
		"NUL in a name":        {new(KeyDefinition), `{"name":"\u0000"}`, false},
	} {
		err := Decode(strings.NewReader(c.text), c.into)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, knowledge.ErrInvalid) {
			t.Errorf("Decode(%s) = %v, want it accepted: %v", what, err, c.ok)
		}
	}
}

// nested returns 1 within so many brackets.
func nested(before string, levels int, after string) string {
	return strings.Repeat(before, levels) + "1" + strings.Repeat(after, levels)
}

// Errors of the connection are no mistakes of the document.
func TestDecodeReturnsReadersErrors(t *testing.T) {
	broken := errors.New("connection lost")
	r := io.MultiReader(strings.NewReader(`{"records":[`), errorReader{broken})
	if err := Decode(r, new(RecordBatch)); !errors.Is(err, broken) || errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("Decode = %v, want the reader's error", err)
	}
	r = io.MultiReader(strings.NewReader(`{"version":1}`), errorReader{broken})
	if err := Decode(r, new(AliasTarget)); !errors.Is(err, broken) || errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("Decode after the document = %v, want the reader's error", err)
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// A body that is large only because it is nested or long costs little: it is
// given up where it passes a bound, not where it ends.
func TestDecodeGivesUpEarly(t *testing.T) {
	for what, c := range map[string]struct {
		prefix, repeat string
		most           int64 // bytes of input that may be read
	}{
		"components": {`{"records":[{"id":"a","vector":[`, "1,", 100 << 10},
		"records":    {`{"records":[`, `{"id":"a"},`, 300 << 10},
		"metadata":   {`{"records":[{"id":"a","metadata":{"k":[`, "[],", 100 << 10},
		"depth":      {`{"records":[{"id":"a","metadata":`, `{"k":`, 20 << 10},
	} {
		r := &endless{prefix: c.prefix, repeat: c.repeat}
		err := Decode(r, new(RecordBatch))
		if !errors.Is(err, knowledge.ErrInvalid) || r.read > c.most {
			t.Errorf("endless %s: Decode = %v after %d bytes, want an InvalidError after at most %d", what, err, r.read, c.most)
		}
	}
}

// endless is a prefix and then one text again and again.
type endless struct {
	prefix, repeat string
	pending        []byte
	read           int64
}

func (e *endless) Read(p []byte) (int, error) {
	e.pending = append(e.pending, e.prefix...)
	e.prefix = ""
	for len(e.pending) < len(p) {
		e.pending = append(e.pending, e.repeat...)
	}
	n := copy(p, e.pending)
	e.pending = e.pending[n:]
	e.read += int64(n)
	return n, nil
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"records":[{"id":"a","text":"x","vector":[1,2],"metadata":{"k":[1,{"z":null}]},"expires_at":"2027-01-01T00:00:00Z"}]}`,
		`{"text":"x","limit":3,"filter":{"and":[{"field":"a","in":[1,"x",true]},{"not":{"field":"b","gte":"z"}}]},"exact":true,"ef":7}`,
		`{"text":"x","legs":[{"collection":"c","candidates":3,"weight":0.5}],"plugins":[{"name":"p","capability":"rank","config":{"a":[]},"on_error":"fail","timeout_ms":5}]}`,
		`{"embedder":"local","dimension":3,"metric":"l2","index":{"kind":"hnsw","m":4,"ef_construction":9}}`,
		`{"capability":"chunk","version":"live","input":{"a":1e3}}`, `{"version":1}`,
		`{"id":"acme","name":"A","policy":{"min_isolation":"process","max_plugins":1,"plugin_wall_ms":1}}`,
		`{"name":"k","scopes":["read","write"],"expires_at":"2027-01-01T00:00:00Z"}`,
		`{"document":{"id":"a","media_type":"text/plain","chunker":"c","passages":1,"source_bytes":3,"text_bytes":4,"metadata":{"a":1}}}`,
		`{"document_source":"AAAA"}`, `{"document_text":"AAAA"}`, `{"id":"a","vector":"AACAPw==","version":1}`, `{"end":true,"count":1}`,
		`{"a":"\ud800"}`, "[[[[", `{"a":1,"a":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, into := range []Body{
			new(RecordBatch), new(SearchRequest), new(QueryRequest), new(CollectionDefinition),
			new(InvokeRequest), new(AliasTarget), new(TenantDefinition), new(KeyDefinition),
			new(ImportLine), new(Metadata),
		} {
			err := Decode(bytes.NewReader(data), into)
			if err != nil && !errors.Is(err, knowledge.ErrInvalid) {
				t.Errorf("Decode(%q) into %T = %v, want nil or an InvalidError", data, into, err)
			}
			if err == nil {
				checkDecoded(t, data, into)
			}
		}
	})
}

// checkDecoded holds what was let through against the domain's own rules.
func checkDecoded(t *testing.T, data []byte, into Body) {
	var err error
	switch b := into.(type) {
	case *RecordBatch:
		for _, r := range b.Records {
			err = errors.Join(err, knowledge.CheckText(r.Text), knowledge.CheckMetadata(r.Metadata))
			_, idErr := knowledge.ParseRecordID(string(r.ID))
			err = errors.Join(err, idErr)
		}
	case *Metadata:
		err = knowledge.CheckMetadata(*b)
	case *ImportLine:
		if b.Document != nil {
			err = knowledge.CheckMetadata(b.Document.Metadata)
			_, idErr := knowledge.ParseDocumentID(string(b.Document.ID))
			err = errors.Join(err, idErr)
		}
	case *SearchRequest:
		err = b.Filter.Validate(knowledge.Collection{})
	case *QueryRequest:
		for _, leg := range b.Legs {
			err = errors.Join(err, leg.Filter.Validate(knowledge.Collection{}))
		}
	}
	if err != nil {
		t.Errorf("Decode(%q) let through what the domain refuses: %v", data, err)
	}
}

// FuzzFilter tries filters alone, where most of what can go wrong is: what is let
// through is valid in form, is the same again when it is read from its own JSON, and
// is within its bounds.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		`{"field":"a","eq":1}`, `{"field":"a","in":[1,"x",true]}`, `{"and":[{"or":[]},{"not":{"field":"b","gte":"z"}}]}`,
		`{"match":"some words"}`, `{"field":"a","match":"w"}`, `{"field":"a","exists":false}`, `{"field":"a","contains":"x"}`, `{"field":"a","ne":-0}`,
		`{"field":"__proto__","eq":"' OR 1=1 --"}`, `{"not":{"not":{"not":{}}}}`, `{"field":"a","eq":9007199254740993}`, `{"eq":1e400,"field":"a"}`,
		`{"field":"a","field":"b","eq":1}`, `{"field":"\ud800","eq":1}`, `{"field":"a","lt":[[[[[[[]]]]]]]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		read := func(data []byte) (knowledge.Filter, error) {
			d := &decoder{json: jsontext.NewDecoder(bytes.NewReader(data))}
			return d.filter()
		}
		got, err := read(data)
		if err != nil {
			if !errors.Is(err, knowledge.ErrInvalid) {
				t.Errorf("filter(%q) = %v, want nil or an InvalidError", data, err)
			}
			return
		}
		if err := got.Validate(knowledge.Collection{}); err != nil {
			t.Errorf("filter(%q) let through what the domain refuses: %v", data, err)
		}
		text, err := json.Marshal(filterJSON(got))
		if err != nil {
			t.Fatal(err)
		}
		again, err := read(text)
		if err != nil || !reflect.DeepEqual(filterJSON(again), filterJSON(got)) {
			t.Errorf("filter(%s), written anew = %+v, %v, want %+v", text, again, err, got)
		}
	})
}

// filterJSON is the document of a filter.
func filterJSON(f knowledge.Filter) map[string]any {
	m := map[string]any{}
	if f.Field != "" {
		m["field"] = f.Field
	}
	terms := []any{}
	for _, term := range f.Terms {
		terms = append(terms, filterJSON(term))
	}
	switch f.Op {
	case knowledge.OpAnd, knowledge.OpOr:
		m[string(f.Op)] = terms
	case knowledge.OpNot:
		m["not"] = terms[0]
	case knowledge.OpIn:
		m["in"] = append([]any{}, f.Values...)
	default:
		m[string(f.Op)] = f.Values[0]
	}
	return m
}

func BenchmarkDecodeRecords(b *testing.B) {
	var text strings.Builder
	text.WriteString(`{"records":[`)
	for i := range 1000 {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `{"id":"record-%d","text":"some words","vector":[`, i)
		for j := range 100 {
			if j > 0 {
				text.WriteByte(',')
			}
			fmt.Fprintf(&text, "%.7f", float64(i*j%997)/997)
		}
		text.WriteString(`],"metadata":{"lang":"go","year":2026}}`)
	}
	text.WriteString("]}")
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		var batch RecordBatch
		if err := Decode(strings.NewReader(text.String()), &batch); err != nil {
			b.Fatal(err)
		}
	}
}
