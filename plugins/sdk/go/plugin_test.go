package tars

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/plugins/wit"
)

// one returns a registry of one handler.
func one(capability string, h Handler) *registry {
	var r registry
	r.add(capability, h)
	return &r
}

func ranks(fn func(*Context, RankInput) (RankOutput, error)) *registry {
	return one("rank", rankHandler(fn))
}

const rankDocument = `{"abi":1,"query":{"text":"q"},"candidates":[{"index":0,"id":"a","collection":"c","text":"é","score":0.5,"metadata":{"x":1},"later":true}],"config":{"weight":2},"later":1}`

func TestCallOfRank(t *testing.T) {
	r := ranks(func(ctx *Context, in RankInput) (RankOutput, error) {
		if ctx.Capability != "rank" {
			t.Errorf("the context names %q, want rank", ctx.Capability)
		}
		var config struct{ Weight float64 }
		if err := in.Config.Decode(&config); err != nil {
			return RankOutput{}, err
		}
		c := in.Candidates[0]
		return RankOutput{Scores: []Score{{Index: c.Index, Score: c.Score * config.Weight, Reason: c.Text}}}, nil
	})
	output, failure := r.call("rank", []byte(rankDocument))
	if want := `{"scores":[{"index":0,"score":1,"reason":"é"}]}`; string(output) != want || failure != nil {
		t.Errorf("call = %s, %v; want %s", output, failure, want)
	}
}

func TestCallAnswersArraysAndNeverNull(t *testing.T) {
	output, failure := ranks(func(*Context, RankInput) (RankOutput, error) { return RankOutput{}, nil }).call("rank", []byte(rankDocument))
	if want := `{"scores":[]}`; string(output) != want || failure != nil {
		t.Errorf("call = %s, %v; want %s", output, failure, want)
	}
	s := one("synthesize", synthesizeHandler(func(*Context, SynthesizeInput) (SynthesizeOutput, error) { return SynthesizeOutput{}, nil }))
	output, failure = s.call("synthesize", []byte(`{"abi":1,"query":{"text":""},"passages":[]}`))
	if want := `{"answer":"","citations":[]}`; string(output) != want || failure != nil {
		t.Errorf("call = %s, %v; want %s", output, failure, want)
	}
	m := one("merge", mergeHandler(func(*Context, MergeInput) (MergeOutput, error) { return MergeOutput{}, nil }))
	output, failure = m.call("merge", []byte(`{"abi":1,"query":{"text":""},"legs":[],"lists":[],"candidates":[]}`))
	if want := `{"scores":[]}`; string(output) != want || failure != nil {
		t.Errorf("call = %s, %v; want %s", output, failure, want)
	}
	c := one("chunk", chunkHandler(func(*Context, ChunkInput) (ChunkOutput, error) { return ChunkOutput{}, nil }))
	output, failure = c.call("chunk", []byte(`{"abi":1,"document":{"id":"a","text":""}}`))
	if want := `{"passages":[]}`; string(output) != want || failure != nil {
		t.Errorf("call = %s, %v; want %s", output, failure, want)
	}
}

func TestCallFails(t *testing.T) {
	returns := func(err error) *registry {
		return ranks(func(*Context, RankInput) (RankOutput, error) { return RankOutput{}, err })
	}
	for _, tt := range []struct {
		name       string
		plugin     *registry
		capability string
		input      string
		want       Error
	}{
		{"no capability", returns(nil), "merge", rankDocument, Error{CodeUnsupported, `no capability "merge"`}},
		{"no handler at all", &registry{}, "rank", rankDocument, Error{CodeUnsupported, `no capability "rank"`}},
		{"later abi", returns(nil), "rank", `{"abi":2}`, Error{CodeUnsupported, "documents of abi 2; this plugin speaks 1"}},
		{"no abi", returns(nil), "rank", `{}`, Error{CodeUnsupported, "documents of abi 0; this plugin speaks 1"}},
		{"no JSON", returns(nil), "rank", ``, Error{CodeBadInput, "byte 0: need '{'"}},
		{"an error of its own", returns(fmt.Errorf("wrapped: %w", &Error{"too-dull", "no"})), "rank", rankDocument, Error{"too-dull", "no"}},
		{"another error", returns(errors.New("oh")), "rank", rankDocument, Error{CodeFailed, "oh"}},
		{"bytes that are no text", returns(errors.New("\xff")), "rank", rankDocument, Error{CodeFailed, "\uFFFD"}},
		{
			"a score that is no number", ranks(func(*Context, RankInput) (RankOutput, error) {
				return RankOutput{Scores: []Score{{Score: math.NaN()}}}, nil
			}), "rank", rankDocument, Error{CodeBadOutput, "json: unsupported value: NaN"},
		},
		{
			"a panic", ranks(func(_ *Context, in RankInput) (RankOutput, error) {
				return RankOutput{}, errors.New(in.Candidates[7].ID)
			}), "rank", rankDocument, Error{CodePanic, "runtime error: index out of range [7] with length 1"},
		},
		{
			"a config with more", ranks(func(_ *Context, in RankInput) (RankOutput, error) {
				return RankOutput{}, in.Config.Decode(&struct{}{})
			}), "rank", rankDocument, Error{CodeBadConfig, `config: json: unknown field "weight"`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			output, failure := tt.plugin.call(tt.capability, []byte(tt.input))
			if output != nil || failure == nil || *failure != tt.want {
				t.Errorf("call = %s, %+v; want the error %+v", output, failure, tt.want)
			}
		})
	}
}

func TestAnyCapability(t *testing.T) {
	echo := func(ctx *Context, input []byte) ([]byte, error) { return []byte(ctx.Capability + string(input)), nil }
	r := one("*", echo)
	r.add("rank", func(*Context, []byte) ([]byte, error) { return []byte("own"), nil })
	for capability, want := range map[string]string{"guard": "guardx", "rank": "own"} {
		if output, failure := r.call(capability, []byte("x")); string(output) != want || failure != nil {
			t.Errorf("call(%s) = %s, %v; want %s", capability, output, failure, want)
		}
	}
}

func TestTwoHandlersPanic(t *testing.T) {
	defer func() {
		if got, want := fmt.Sprint(recover()), `tars: capability "rank" has two handlers`; got != want {
			t.Errorf("the second add panics with %q, want %q", got, want)
		}
	}()
	one("rank", nil).add("rank", nil)
}

func TestConfigThatIsNotThere(t *testing.T) {
	for _, input := range []string{`{"abi":1}`, `{"abi":1,"config":{}}`, `{"abi":1,"config":null}`} {
		var in RankInput
		if err := json.Unmarshal([]byte(input), &in); err != nil {
			t.Fatal(err)
		}
		config := struct{ N int }{N: 3}
		if err := in.Config.Decode(&config); err != nil || config.N != 3 {
			t.Errorf("Decode of the config in %s = %+v, %v; want the default 3", input, config, err)
		}
	}
}

func TestCite(t *testing.T) {
	got := Cite(Passage{Index: 4, Text: "An é is two bytes."}, 3, 5)
	if want := (Citation{Index: 4, Start: 3, End: 5, Quote: "é"}); got != want {
		t.Errorf("Cite = %+v, want %+v", got, want)
	}
}

func TestRandIsSeededPerCall(t *testing.T) {
	a, b := &Context{}, &Context{}
	if first, second := a.Rand(), a.Rand(); first != second {
		t.Error("Rand gives two generators in one call, want one")
	}
	if x, y := a.Rand().Uint64(), b.Rand().Uint64(); x == y {
		t.Errorf("two calls draw the same number %d, want different ones", x)
	}
}

func TestHostFunctionsNeedAHost(t *testing.T) {
	Log(LevelInfo, "goes nowhere")
	_, search := Search([]byte(`{}`))
	_, embed := Embed("text")
	_, vectors := Vectors(0, 0, 1)
	row := 0
	_, vectorsOf := VectorsOf([]Passage{{Legs: []FoundBy{{Row: &row}}}})
	for name, err := range map[string]error{"Search": search, "Embed": embed, "Vectors": vectors, "VectorsOf": vectorsOf} {
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeUnavailable {
			t.Errorf("%s error = %v, want the code %s", name, err, CodeUnavailable)
		}
	}
}

// TestStructsAreTheSchemas holds the structs and the published schemas
// together: the same members, and examples that decode with none left over.
func TestStructsAreTheSchemas(t *testing.T) {
	for _, tt := range []struct {
		capability string
		direction  wit.Direction
		documents  []any // one, or one for each stage of a guard
	}{
		{"chunk", wit.Input, []any{&ChunkInput{}}},
		{"chunk", wit.Output, []any{&ChunkOutput{}}},
		{"guard", wit.Input, []any{&GuardPreInput{}, &GuardPostInput{}}},
		{"guard", wit.Output, []any{&GuardPreOutput{}, &GuardPostOutput{}}},
		{"merge", wit.Input, []any{&MergeInput{}}},
		{"merge", wit.Output, []any{&MergeOutput{}}},
		{"rank", wit.Input, []any{&RankInput{}}},
		{"rank", wit.Output, []any{&RankOutput{}}},
		{"synthesize", wit.Input, []any{&SynthesizeInput{}}},
		{"synthesize", wit.Output, []any{&SynthesizeOutput{}}},
	} {
		t.Run(tt.capability+" "+string(tt.direction), func(t *testing.T) {
			text, err := wit.Schema(tt.capability, tt.direction)
			if err != nil {
				t.Fatal(err)
			}
			var root map[string]any
			if err := json.Unmarshal(text, &root); err != nil {
				t.Fatal(err)
			}
			parts, ok := root["oneOf"].([]any)
			if !ok { // one schema for the members of all
				parts = []any{root}
			}
			for i, part := range parts {
				fields := map[string]reflect.Type{}
				for _, document := range tt.documents[i : len(tt.documents)-len(parts)+i+1] {
					maps.Copy(fields, fieldsOf(reflect.TypeOf(document).Elem()))
				}
				sameFields(t, tt.capability, root, resolve(root, part.(map[string]any)), fields)
			}
			for _, example := range root["examples"].([]any) {
				raw, err := json.Marshal(example)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.ContainsFunc(tt.documents, func(document any) bool { return decodes(raw, document) }) {
					t.Errorf("the example %s decodes into none of %T", raw, tt.documents)
				}
			}
		})
	}
}

// fieldsOf are the types of a struct's fields by their names in JSON.
func fieldsOf(typ reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields[name] = f.Type
	}
	return fields
}

func decodes(raw []byte, document any) bool {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(document) == nil
}

// resolve follows a schema's reference, if it is one.
func resolve(root, schema map[string]any) map[string]any {
	if ref, ok := schema["$ref"].(string); ok {
		return root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	return schema
}

// sameFields compares an object schema with the fields of a struct.
func sameFields(t *testing.T, path string, root, schema map[string]any, fields map[string]reflect.Type) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	if len(properties) != len(fields) {
		t.Errorf("%s has %d members in the schema and %d in the struct", path, len(properties), len(fields))
	}
	for name, field := range fields {
		property, ok := properties[name].(map[string]any)
		if !ok {
			t.Errorf("%s.%s is not in the schema", path, name)
			continue
		}
		sameMembers(t, path+"."+name, root, property, field)
	}
}

// sameMembers compares a schema with a type, and what lies below.
func sameMembers(t *testing.T, path string, root, schema map[string]any, typ reflect.Type) {
	t.Helper()
	schema = resolve(root, schema)
	switch typ.Kind() {
	case reflect.Pointer:
		sameMembers(t, path, root, schema, typ.Elem())
	case reflect.Struct:
		sameFields(t, path, root, schema, fieldsOf(typ))
	case reflect.Slice:
		if items, ok := schema["items"].(map[string]any); ok {
			sameMembers(t, path+"[]", root, items, typ.Elem())
		} else if schema["type"] != "object" || typ.Elem().Kind() != reflect.Uint8 {
			t.Errorf("%s is a %v, and %v in the schema", path, typ, schema["type"])
		}
	case reflect.String, reflect.Int, reflect.Float64:
		want := map[reflect.Kind]any{reflect.String: "string", reflect.Int: "integer", reflect.Float64: "number"}[typ.Kind()]
		if got := schema["type"]; got != want && schema["const"] == nil {
			t.Errorf("%s is %v in the schema, want %v", path, got, want)
		}
	default:
		t.Errorf("%s is a %v, which the schemas have no word for", path, typ)
	}
}

func FuzzCall(f *testing.F) {
	f.Add([]byte(rankDocument))
	f.Add([]byte(`{"abi":1,"candidates":[{}],"config":[]}`))
	f.Add([]byte("\xff"))
	r := ranks(func(_ *Context, in RankInput) (RankOutput, error) {
		var out RankOutput
		for _, c := range in.Candidates {
			out.Scores = append(out.Scores, Score{Index: c.Index, Score: c.Score, Reason: c.Text})
		}
		return out, nil
	})
	f.Fuzz(func(t *testing.T, input []byte) {
		output, failure := r.call("rank", input)
		if (failure == nil) != json.Valid(output) {
			t.Fatalf("call(%q) = %q, %v; want JSON or an error", input, output, failure)
		}
		if failure != nil && failure.Code == CodePanic {
			t.Fatalf("call(%q) panics: %s", input, failure.Message)
		}
	})
}

// TestWarmUp: it goes through the documents of what is registered and calls no
// handler.
func TestWarmUp(t *testing.T) {
	called := false
	var r registry
	r.add("rank", rankHandler(func(*Context, RankInput) (RankOutput, error) {
		called = true
		return RankOutput{}, nil
	}))
	r.warm = append(r.warm, warmRank, warmMerge, warmGuardPre, warmGuardPost, warmSynthesize, warmChunk)
	r.warmUp()
	if called {
		t.Error("warmUp called a handler")
	}
}
