package tars

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// inputs are documents as the host makes them, and as it could.
var inputs = []string{
	rankDocument,
	`{"abi":1,"query":{"text":"q"},"legs":[{"leg":0,"collection":"c","mode":"hybrid","rows":2,"dimension":3}],"candidates":[
		{"index":0,"id":"a","collection":"c","owner":"o","text":"two\nlines, \"quoted\" \\ \/ \b\f\r\t \u00e9 \ud83d\ude00 \ud83d alone \ud83dA","score":-1.5e-3,
		 "metadata":{"a":["]}",{"b":"\\\""}]},"legs":[{"leg":0,"row":1},{"leg":1}]},
		{"text":"","legs":[],"score":0,"metadata":null}]}`,
	`{"abi":1,"lists":[{"leg":1,"mode":"lexical","weight":0.5,"entries":[{"index":3,"score":1e300},{"index":0,"score":0}]},{"entries":[]}],"candidates":[],"config":{"x":[1,2,{"y":null}]}}`,
	`{"abi":1,"stage":"post","query":null,"candidates":null,"passages":[{"id":"p","text":"x","more":{"deep":[[[]]]}}],"later":[1,"}"]}`,
	" {\n\t\"passages\" : [ { \"index\" : 7 , \"score\" : 1 } ] , \"abi\" : 1 } ",
}

// all returns one of each input that is read by hand.
func all() []document {
	return []document{new(RankInput), new(MergeInput), new(SynthesizeInput), new(GuardPostInput)}
}

// checkSame compares with what encoding/json reads from a document that it takes.
func checkSame(t *testing.T, input string) {
	t.Helper()
	for _, want := range all() {
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface().(document)
		err := (&reader{data: []byte(input)}).document(got)
		if json.Unmarshal([]byte(input), want) != nil {
			continue // it is stricter, about what is skipped too
		}
		if err != nil {
			t.Errorf("%T of %q: %v, want it read", want, input, err)
			continue
		}
		for _, d := range []any{want, got} {
			normal(reflect.ValueOf(d).Elem())
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%T of %q:\ngot  %+v\nwant %+v", want, input, got, want)
		}
	}
}

// normal makes lists without elements alike.
func normal(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			normal(v.Field(i))
		}
	case reflect.Slice:
		if v.Len() == 0 || string(rawOf(v)) == "null" {
			v.SetZero()
		}
		for i := range v.Len() {
			normal(v.Index(i))
		}
	}
}

func rawOf(v reflect.Value) []byte {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return v.Bytes()
	}
	return nil
}

func TestReaderReadsAsEncodingJSON(t *testing.T) {
	for _, input := range inputs {
		checkSame(t, input)
	}
}

func TestReaderRefuses(t *testing.T) {
	for _, input := range []string{
		``, `null x`, `[]`, `{`, `{"candidates"`, `{"candidates":`, `{"candidates":[`, `{"candidates":[{`, `{"candidates":[{}`, `{"candidates":[{}]`, `{"candidates":[{},]}`,
		`{"candidates":[{"text":"x`, `{"candidates":[{"text":"\`, `{"candidates":[{"text":"\u12`, `{"candidates":[{"text":"\x"}]}`, `{"candidates":[{"text":1}]}`,
		`{"candidates":[{"index":1.5}]}`, `{"candidates":[{"index":"1"}]}`, `{"candidates":[{"score":"1"}]}`, `{"candidates":[{"score":-}]}`,
		`{"candidates":[{"index":99999999999999999999}]}`, `{"candidates":[1]}`, `{"candidates":{}}`, `{"later":}`, `{"later":[`, `{"later":"x`, `{"later":"\`, `{"abi":1}}`, `{"abi":1} x`,
	} {
		if err := (&reader{data: []byte(input)}).document(new(RankInput)); err == nil {
			t.Errorf("%q is read, want an error", input)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, input := range inputs {
		f.Add(input)
	}
	f.Fuzz(func(t *testing.T, input string) {
		if strings.ToValidUTF8(input, "") != input {
			t.Skip("the host's documents are UTF-8")
		}
		if json.Valid([]byte(input)) && !plainNames(json.NewDecoder(strings.NewReader(input))) {
			t.Skip("encoding/json takes names in other cases, and the last of two")
		}
		checkSame(t, input)
	})
}

// plainNames reports whether no object has two members whose names differ in their
// case at most.
func plainNames(d *json.Decoder) bool {
	t, err := d.Token()
	if err != nil {
		return false
	}
	switch t {
	case json.Delim('{'):
		seen := map[string]bool{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return false
			}
			if s := fmt.Sprint(name); s != strings.ToLower(s) || seen[s] || !ascii(s) {
				return false
			} else {
				seen[s] = true
			}
			if !plainNames(d) {
				return false
			}
		}
		_, err = d.Token()
	case json.Delim('['):
		for d.More() {
			if !plainNames(d) {
				return false
			}
		}
		_, err = d.Token()
	}
	return err == nil
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0
}

// BenchmarkDecode reads a query with 200 passages of 800 bytes.
func BenchmarkDecode(b *testing.B) {
	input, err := json.Marshal(RankInput{ABI: ABI, Legs: madeUpLegs(), Candidates: madeUp()})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(input)))
	b.Run("reader", func(b *testing.B) {
		for b.Loop() {
			if err := (&reader{data: input}).document(new(RankInput)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		for b.Loop() {
			if err := json.Unmarshal(input, new(RankInput)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
