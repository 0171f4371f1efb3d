package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge/query"
)

// tool is one tool of the Model Context Protocol.
type tool struct {
	mcp.Tool
	// run does it and returns the answer, which is JSON, and its text.
	run func(ctx context.Context, arguments json.RawMessage) (answer any, text string, err error)
}

// newTools makes the tools. The schemas of their arguments are parts of openapi.yaml:
// what a model is told of is less than what the operations take, so that it is short.
func (s *Server) newTools(document []byte) ([]tool, error) {
	spec, err := loadSpec(document)
	if err != nil {
		return nil, err
	}
	schemas := toolSchemas{spec: spec}
	reading := &mcp.ToolAnnotations{ReadOnlyHint: true}
	tools := []tool{
		{
			Tool: mcp.Tool{
				Name: "list_collections", Title: "List collections", Annotations: reading,
				Description: "The collections that can be searched, by name, with how many records they have, and the fields that filters may use.",
				InputSchema: object(map[string]any{
					"cursor": map[string]any{"type": "string", "description": "next_cursor of the page before; none for the first page.", "minLength": 1, "maxLength": 512},
					"limit":  map[string]any{"type": "integer", "description": "Most collections of the page.", "minimum": 1, "maximum": 200, "default": 50},
				}),
			},
			run: s.listTool,
		},
		{
			Tool: mcp.Tool{
				Name: "search", Title: "Search a collection", Annotations: reading,
				Description: "The records of one collection that fit a text best, by meaning and by words, with scores.",
				InputSchema: schemas.object("SearchRequest", []string{"collection", "text"}, "text", "mode", "limit", "filter", "min_score").
					with("collection", schemas.member("Leg", "collection")),
			},
			run: s.searchTool,
		},
		{
			Tool: mcp.Tool{
				Name: "query", Title: "Ask a question", Annotations: reading,
				Description: "Searches several collections at once and fuses what they give; plugins may then rank it and answer from it, with citations that the server has verified. Plugins fail apart: look at missing.",
				InputSchema: schemas.object("QueryRequest", []string{"text", "legs"}, "text", "limit", "timeout_ms").
					with("legs", list(1, query.MaxLegs, schemas.object("Leg", []string{"collection"}, "owner", "collection", "text", "mode", "filter", "candidates", "weight"))).
					with("plugins", list(0, query.MaxPlugins, schemas.object("PluginCall", []string{"name", "capability"}, "name", "version", "capability", "stage", "config", "on_error"))),
			},
			run: s.queryTool,
		},
	}
	for i := range tools {
		schema := tools[i].InputSchema.(jsonSchema)
		if schemas.err == nil {
			schema["$defs"] = schemas.referenced(schema)
		}
	}
	return tools, schemas.err
}

func (s *Server) listTool(ctx context.Context, arguments json.RawMessage) (any, string, error) {
	var asked body.PageRequest
	if err := body.Decode(bytes.NewReader(arguments), &asked); err != nil {
		return nil, "", err
	}
	params := oapi.ListCollectionsParams{Cursor: given(asked.Cursor), Limit: given(asked.Limit)}
	response, err := s.ListCollections(ctx, oapi.ListCollectionsRequestObject{Params: params})
	if err != nil {
		return nil, "", err
	}
	page := response.(oapi.ListCollections200JSONResponse)
	var text strings.Builder
	for _, c := range page.Collections {
		fmt.Fprintf(&text, "%s: %d records\n", c.Name, c.Records)
	}
	if page.NextCursor != nil {
		fmt.Fprintf(&text, "More with the cursor %s\n", *page.NextCursor)
	}
	return page, text.String(), nil
}

func (s *Server) searchTool(ctx context.Context, arguments json.RawMessage) (any, string, error) {
	var asked body.PluginSearch
	if err := body.Decode(bytes.NewReader(arguments), &asked); err != nil {
		return nil, "", err
	}
	found, err := s.services.Engine.Search(ctx, tenantOf(ctx), query.SearchText(asked))
	if err != nil {
		return nil, "", err
	}
	matches := each(found.Matches, candidateOut)
	return resultsOut(found), rendered(matches), nil
}

func (s *Server) queryTool(ctx context.Context, arguments json.RawMessage) (any, string, error) {
	var asked body.QueryRequest
	if err := body.Decode(bytes.NewReader(arguments), &asked); err != nil {
		return nil, "", err
	}
	answer, err := s.services.Engine.Answer(ctx, tenantOf(ctx), query.Query(asked))
	if err != nil {
		return nil, "", err
	}
	out := answerOut(answer)
	text := renderedResults(out.Results) + rendered(out.Matches)
	for _, m := range out.Missing {
		text += fmt.Sprintf("Missing: %s (%s)\n", m.Source, m.Reason)
	}
	return out, text, nil
}

// jsonSchema is a schema as JSON Schema 2020-12 has them.
type jsonSchema map[string]any

func object(properties map[string]any) jsonSchema {
	return jsonSchema{"type": "object", "additionalProperties": false, "properties": properties}
}

func list(least, most int, items jsonSchema) jsonSchema {
	return jsonSchema{"type": "array", "minItems": least, "maxItems": most, "items": map[string]any(items)}
}

func (s jsonSchema) with(name string, schema any) jsonSchema {
	if nested, ok := schema.(jsonSchema); ok {
		schema = map[string]any(nested)
	}
	s["properties"].(map[string]any)[name] = schema
	return s
}

// toolSchemas takes schemas out of openapi.yaml.
type toolSchemas struct {
	spec *openapi3.T
	err  error // the first one
}

// object is an object with some members of a schema's.
func (t *toolSchemas) object(schema string, required []string, members ...string) jsonSchema {
	properties := map[string]any{}
	for _, m := range members {
		properties[m] = t.member(schema, m)
	}
	s := object(properties)
	s["required"] = required
	return s
}

// member is the schema of a member.
func (t *toolSchemas) member(schema, member string) any {
	ref := t.spec.Components.Schemas[schema]
	if ref == nil || ref.Value.Properties[member] == nil {
		t.err = fmt.Errorf("schema %s has no member %s", schema, member)
		return nil
	}
	return t.convert(ref.Value.Properties[member])
}

// referenced are the schemas that a schema refers to, and those that these do.
func (t *toolSchemas) referenced(schema jsonSchema) map[string]any {
	defs := map[string]any{}
	var follow func(any)
	follow = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				follow(item)
			}
		case map[string]any:
			if target, ok := v["$ref"].(string); ok {
				name := strings.TrimPrefix(target, defsPrefix)
				if _, known := defs[name]; !known {
					defs[name] = t.convert(&openapi3.SchemaRef{Value: t.spec.Components.Schemas[name].Value})
					follow(defs[name])
				}
			}
			for _, item := range v {
				follow(item)
			}
		}
	}
	follow(map[string]any(schema))
	return defs
}

const defsPrefix = "#/$defs/"

// convert makes JSON Schema 2020-12 of a schema of OpenAPI 3.0.
func (t *toolSchemas) convert(ref *openapi3.SchemaRef) any {
	text, err := json.Marshal(ref)
	var v any
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		t.err = err
		return nil
	}
	return modern(v)
}

// modern rewrites what changed between OpenAPI 3.0 and JSON Schema 2020-12, and
// leaves out what a caller of a tool has no use for.
func modern(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = modern(v[i])
		}
	case map[string]any:
		if target, ok := v["$ref"].(string); ok {
			return map[string]any{"$ref": defsPrefix + strings.TrimPrefix(target, "#/components/schemas/")}
		}
		delete(v, "example")
		if v["exclusiveMinimum"] == true {
			v["exclusiveMinimum"] = v["minimum"]
			delete(v, "minimum")
		}
		for name, item := range v {
			v[name] = modern(item)
		}
	}
	return v
}
