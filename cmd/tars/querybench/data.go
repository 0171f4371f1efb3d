package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/tars-project/tars/cmd/tars/demo/corpus"
	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild"
)

const (
	manual  = "manual" // all of it
	parts   = 8        // collections that have an eighth of it each: part0, part1, …
	batch   = 500
	asked   = 200 // questions, which are headings of the manual
	ranked  = 200 // candidates of a reranking
	allCall = 32  // plugins of the largest query
)

// fill writes PostgreSQL's manual once whole and once in parts, and returns the
// questions.
func fill(ctx context.Context, c *rest.Client) (questions []string, records int, err error) {
	names := []string{manual}
	for i := range parts {
		names = append(names, fmt.Sprintf("part%d", i))
	}
	for _, name := range names {
		if _, err := c.Do(ctx, http.MethodPut, "/v1/collections/"+name, map[string]any{"embedder": "local-fast"}, nil); err != nil {
			return nil, 0, fmt.Errorf("make collection %s: %w", name, err)
		}
	}
	waiting := map[string][]any{}
	send := func(name string) error {
		if len(waiting[name]) == 0 {
			return nil
		}
		_, err := c.Do(ctx, http.MethodPost, "/v1/collections/"+name+"/records", map[string]any{"records": waiting[name]}, nil)
		waiting[name] = nil
		return err
	}
	seen := map[string]bool{}
	for p, err := range corpus.Passages() {
		if err != nil {
			return nil, 0, err
		}
		record := map[string]any{"id": p.ID, "text": p.Text, "metadata": p.Metadata}
		for _, name := range []string{manual, fmt.Sprintf("part%d", records%parts)} {
			if waiting[name] = append(waiting[name], record); len(waiting[name]) == batch {
				if err := send(name); err != nil {
					return nil, 0, fmt.Errorf("write: %w", err)
				}
			}
		}
		if records++; records%40 == 0 && len(questions) < asked && !seen[p.Metadata.Heading] {
			seen[p.Metadata.Heading] = true
			questions = append(questions, p.Metadata.Heading)
		}
	}
	for _, name := range names {
		if err := send(name); err != nil {
			return nil, 0, fmt.Errorf("write: %w", err)
		}
	}
	return questions, records, nil
}

// push uploads the plugins: one that does nothing, the rerankers, and the one that
// answers in sentences.
func push(ctx context.Context, c *rest.Client, guests string) error {
	const output = `{"scores":[]}`
	const at = 2048
	noop := wasmbuild.Plugin{
		Handle: wasmbuild.ReturnOK(wasmbuild.I32(at), wasmbuild.I32(int32(len(output)))),
		Data:   []wasmbuild.Data{{At: at, Bytes: []byte(output)}}, Pages: 32,
	}
	for _, p := range []struct {
		name, file string
		grants     string
		capability string
		module     []byte
	}{
		{name: "noop", capability: "rank", module: noop.Encode()},
		{name: "rerank-c", capability: "rank", file: "languages/c-rerank.wasm", grants: `"embed","vectors"`},
		{name: "rerank-go", capability: "rank", file: "rerank.wasm", grants: `"embed","vectors"`},
		{name: "cited", capability: "synthesize", file: "cited.wasm"},
	} {
		if p.file != "" {
			var err error
			if p.module, err = os.ReadFile(filepath.Join(guests, p.file)); err != nil {
				return err
			}
		}
		manifest := fmt.Appendf(nil, `{"abi":1,"name":%q,"capabilities":[%q],"grants":[%s],"limits":{"memory_bytes":67108864,"wall_ms":2000}}`, p.name, p.capability, p.grants)
		var version struct {
			Version int `json:"version"`
		}
		if _, err := c.Upload(ctx, "/v1/plugins/"+p.name+"/versions", manifest, p.module, &version); err != nil {
			return fmt.Errorf("push %s: %w", p.name, err)
		}
		if _, err := c.Do(ctx, http.MethodPut, "/v1/plugins/"+p.name+"/aliases/live", map[string]any{"version": version.Version}, nil); err != nil {
			return err
		}
	}
	return nil
}

// queryOf is the body of a query.
func queryOf(text string, candidates int, collections []string, plugins ...any) []byte {
	var legs []any
	for _, c := range collections {
		legs = append(legs, map[string]any{"collection": c, "mode": "vector", "candidates": candidates})
	}
	if plugins == nil {
		plugins = []any{}
	}
	body, err := json.Marshal(map[string]any{"text": text, "legs": legs, "plugins": plugins, "limit": 10})
	if err != nil {
		panic(err) // texts and numbers always encode
	}
	return body
}

// plugin is a call of one.
func plugin(name, capability string) map[string]any {
	return map[string]any{"name": name, "capability": capability, "on_error": "fail"}
}

// several are calls of a plugin at once.
func several(name string, n int) []any {
	calls := make([]any, n)
	for i := range calls {
		calls[i] = plugin(name, "rank")
		calls[i].(map[string]any)["group"] = "all"
	}
	return calls
}
