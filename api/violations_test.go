package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/knowledge"
)

// bodies are all JSON bodies of openapi.yaml, by the name of their schema.
func bodies() map[string]func() body.Body {
	return map[string]func() body.Body{
		"AliasActions":          func() body.Body { return new(body.AliasActions) },
		"AliasTarget":           func() body.Body { return new(body.AliasTarget) },
		"CollectionAliasTarget": func() body.Body { return new(body.CollectionAliasTarget) },
		"CollectionDefinition":  func() body.Body { return new(body.CollectionDefinition) },
		"CollectionPatch":       func() body.Body { return new(body.CollectionPatch) },
		"EmbedRequest":          func() body.Body { return new(body.EmbedRequest) },
		"EmbedderDefinition":    func() body.Body { return new(body.EmbedderDefinition) },
		"EstimateRequest":       func() body.Body { return new(body.EstimateRequest) },
		"InvokeRequest":         func() body.Body { return new(body.InvokeRequest) },
		"KeyDefinition":         func() body.Body { return new(body.KeyDefinition) },
		"QueryBatch":            func() body.Body { return new(body.QueryBatch) },
		"QueryRequest":          func() body.Body { return new(body.QueryRequest) },
		"RecordBatch":           func() body.Body { return new(body.RecordBatch) },
		"RecordCount":           func() body.Body { return new(body.RecordCount) },
		"RecordDeletion":        func() body.Body { return new(body.RecordDeletion) },
		"RecordPatch":           func() body.Body { return new(body.RecordPatch) },
		"RecordScroll":          func() body.Body { return new(body.RecordScroll) },
		"ReembedRequest":        func() body.Body { return new(body.ReembedRequest) },
		"ReplayRequest":         func() body.Body { return new(body.ReplayRequest) },
		"SearchBatch":           func() body.Body { return new(body.SearchBatch) },
		"SearchRequest":         func() body.Body { return new(body.SearchRequest) },
		"ShareDefinition":       func() body.Body { return new(body.ShareDefinition) },
		"TenantDefinition":      func() body.Body { return new(body.TenantDefinition) },
		"ViewDefinition":        func() body.Body { return new(body.ViewDefinition) },
	}
}

// TestBodiesAreTheirSchemas proves for each JSON body of openapi.yaml that package
// body takes what the schema's examples and samples show, and refuses every way of
// breaking the schema that [violations] can think of.
func TestBodiesAreTheirSchemas(t *testing.T) {
	w := newWorld(t, nil)
	seen := map[string]bool{}
	total := 0
	for path, item := range w.spec.Paths.Map() {
		for method, o := range item.Operations() {
			if o.RequestBody == nil || o.RequestBody.Value.Content.Get("application/json") == nil || o.OperationID == "mcp" { // the SDK's
				continue
			}
			media := o.RequestBody.Value.Content.Get("application/json")
			name := strings.TrimPrefix(media.Schema.Ref, "#/components/schemas/")
			create := bodies()[name]
			if create == nil {
				t.Fatalf("%s %s has body %q, want one that this test knows", method, path, name)
			}
			seen[name] = true
			for _, example := range examplesOf(media) {
				if err := decode(t, create(), example); err != nil {
					t.Errorf("%s refuses the example %v: %v", name, example, err)
				}
				total += refuses(t, name, create, media.Schema.Value, example)
			}
		}
	}
	if len(seen) != len(bodies()) {
		t.Errorf("openapi.yaml has the bodies %v, want %v", slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(bodies())))
	}
	if total < 600 {
		t.Errorf("tried %d violations, want at least 600", total)
	}
	t.Logf("%d violations refused", total)
}

// refuses checks every violation of schema, starting from a good document.
func refuses(t *testing.T, name string, create func() body.Body, schema *openapi3.Schema, good any) int {
	n := 0
	accepted := func(doc any) bool {
		return schema.VisitJSON(plain(doc)) == nil && decode(t, create(), doc) == nil
	}
	violations(schema, good, accepted, func(what string, bad any) {
		if schema.VisitJSON(plain(bad)) == nil {
			return // no violation after all, such as a number where oneOf takes one
		}
		n++
		err := decode(t, create(), bad)
		if !errors.Is(err, knowledge.ErrInvalid) {
			text, _ := json.Marshal(bad)
			t.Errorf("%s with %s: Decode(%.200s) = %v, want an InvalidError", name, what, text, err)
		}
	})
	return n
}

func decode(t *testing.T, into body.Body, doc any) error {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return body.Decode(bytes.NewReader(text), into)
}

// plain turns a document into what encoding/json would make of it.
func plain(doc any) (v any) {
	text, _ := json.Marshal(doc)
	_ = json.Unmarshal(text, &v)
	return v
}

func examplesOf(m *openapi3.MediaType) []any {
	if m.Example != nil {
		return []any{m.Example}
	}
	var all []any
	for _, name := range slices.Sorted(maps.Keys(m.Examples)) {
		all = append(all, m.Examples[name].Value.Value)
	}
	return all
}

// violations calls yield with documents that break schema in one place each, all
// derived from the good one. accepted says whether a document passes: it finds
// members that may be added to the good one, whose violations then follow.
func violations(schema *openapi3.Schema, good any, accepted func(any) bool, yield func(string, any)) {
	if schema.Type == nil && len(schema.OneOf) == 0 {
		return // any value will do: OpenAPI 3.0.3 means null too, though the validator does not
	}
	for _, wrong := range []any{nil, true, -7.5, "\u0001?", []any{}, map[string]any{}, []any{nil}, map[string]any{"?": 1}} {
		yield(fmt.Sprintf("%T for the value", wrong), wrong)
	}
	for _, choice := range schema.OneOf {
		if choice.Value.VisitJSON(plain(good)) == nil {
			violations(choice.Value, good, accepted, yield)
		}
	}
	switch v := good.(type) {
	case map[string]any:
		objectViolations(schema, v, accepted, yield)
	case []any:
		arrayViolations(schema, v, accepted, yield)
	case string:
		stringViolations(schema, yield)
	case float64, int:
		numberViolations(schema, yield)
	}
}

func objectViolations(schema *openapi3.Schema, good map[string]any, accepted func(any) bool, yield func(string, any)) {
	with := func(name string, value any) map[string]any {
		m := maps.Clone(good)
		m[name] = value
		return m
	}
	for _, name := range schema.Required {
		m := maps.Clone(good)
		delete(m, name)
		yield("no "+name, m)
	}
	yield("an unknown member", with("unknown_member", 1))
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		property := schema.Properties[name].Value
		values := []any{good[name]}
		if _, there := good[name]; !there {
			values = samples(property, 0)
		}
		for _, value := range values {
			if !accepted(with(name, value)) && len(values) > 1 {
				continue
			}
			inner := func(v any) bool { return accepted(with(name, v)) }
			violations(property, value, inner, func(what string, bad any) { yield(name+": "+what, with(name, bad)) })
		}
	}
}

func arrayViolations(schema *openapi3.Schema, good []any, accepted func(any) bool, yield func(string, any)) {
	if schema.MinItems > 0 {
		yield("too few items", good[:schema.MinItems-1])
	}
	if schema.MaxItems != nil && len(good) > 0 {
		yield("too many items", slices.Repeat(good[:1], int(*schema.MaxItems)+1))
	}
	if schema.UniqueItems && len(good) > 0 {
		yield("an item twice", append(slices.Clone(good), good[0]))
	}
	if schema.Items == nil || len(good) == 0 {
		return
	}
	with := func(v any) []any { return append([]any{v}, good[1:]...) }
	inner := func(v any) bool { return accepted(with(v)) }
	violations(schema.Items.Value, good[0], inner, func(what string, bad any) { yield("[0] "+what, with(bad)) })
}

func stringViolations(schema *openapi3.Schema, yield func(string, any)) {
	if schema.MinLength > 0 {
		yield("a string that is too short", strings.Repeat("x", int(schema.MinLength)-1))
	}
	if schema.MaxLength != nil {
		yield("a string that is too long", strings.Repeat("x", int(*schema.MaxLength)+1))
	}
	if schema.Pattern != "" {
		for _, s := range []string{"-x", "x-", "X", "x y", "é", "sha256:00", "a/b", "../a"} {
			yield("a string out of its pattern", s)
		}
	}
	if len(schema.Enum) > 0 {
		yield("a word that is not of the list", "none-of-these")
	}
	if schema.Format == "date-time" {
		for _, s := range []string{"2027", "tomorrow", "2027-01-01 00:00:00", "2027-13-01T00:00:00Z"} {
			yield("no time", s)
		}
	}
}

func numberViolations(schema *openapi3.Schema, yield func(string, any)) {
	if schema.Min != nil {
		yield("a number that is too small", *schema.Min-1)
		if schema.ExclusiveMin.Bool != nil && *schema.ExclusiveMin.Bool {
			yield("the number just below", *schema.Min)
		}
	}
	if schema.Max != nil {
		yield("a number that is too large", *schema.Max*2+1)
	}
	if schema.Type.Is("integer") {
		yield("a fraction", 1.5)
		yield("a large number", 1e300)
	}
	yield("a number as text", "1")
}

// samples returns good values for a schema, so that members which the examples
// lack are tried too.
func samples(schema *openapi3.Schema, depth int) []any {
	switch {
	case schema.Example != nil:
		return []any{schema.Example}
	case len(schema.Enum) > 0:
		return schema.Enum[:1]
	case len(schema.OneOf) > 0 && depth < 4:
		var all []any
		for _, choice := range schema.OneOf {
			all = append(all, samples(choice.Value, depth+1)...)
		}
		return all
	case schema.Type == nil:
		return []any{1.0}
	case schema.Type.Is("object"):
		return objectSamples(schema, depth)
	case schema.Type.Is("array") && depth < 6:
		if inner := samples(schema.Items.Value, depth+1); len(inner) > 0 {
			return []any{inner[:1]}
		}
	case schema.Type.Is("integer"), schema.Type.Is("number"):
		if schema.Min != nil && schema.Max != nil {
			return []any{min(*schema.Min+1, *schema.Max)}
		}
		return []any{1.0}
	case schema.Type.Is("boolean"):
		return []any{true}
	case schema.Format == "date-time":
		return []any{"2999-01-01T00:00:00Z"}
	case schema.Type.Is("string"):
		return []any{"local"}
	}
	return nil
}

// objectSamples returns an object with what is required, and one for each other
// member beside.
func objectSamples(schema *openapi3.Schema, depth int) []any {
	least := map[string]any{}
	for _, name := range schema.Required {
		inner := samples(schema.Properties[name].Value, depth+1)
		if len(inner) == 0 {
			return nil
		}
		least[name] = inner[0]
	}
	all := []any{least}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		if _, there := least[name]; there || depth > 3 {
			continue
		}
		for _, value := range samples(schema.Properties[name].Value, depth+1) {
			m := maps.Clone(least)
			m[name] = value
			all = append(all, m)
		}
	}
	return all
}
