package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge/embed/local"
)

// measured is a report with figures of one set and of the whole corpus.
func measured() *report {
	r := &report{Bytes: sizes{Binary: 50_000_000}}
	for _, mode := range modes {
		n := float64(len(mode)) / 10 // vector 0.6, lexical 0.7, hybrid 0.6
		r.Retrieval = append(r.Retrieval,
			answered{"python", 9, local.ID, mode, quality{3, n, n, n}}, answered{manualsName, 9, local.ID, mode, quality{9, 0, 0, 0}},
			answered{"cwe", 9, local.ID, mode, quality{3, 0, 0, 0}}, answered{"cwe", 9, "other", mode, quality{3, 1, 1, 1}})
	}
	r.Loads = []speed{{Embedder: local.ID, LoadMS: 7}, {Embedder: local.ID, LoadMS: 5}, {Embedder: "other", LoadMS: 1}, {Embedder: local.ID, LoadMS: 9}}
	r.Speed = []speed{
		{Embedder: local.ID, Cores: 1, Peak: 60, Paces: []pace{{workShort, 1, 9, 2.5, 0, 0}, {workDoc60, 1, 9, 9, 9, 9}, {workDoc60, manyTexts, 9, 0, 0, 80}}},
		{Embedder: local.ID, Cores: 2, Peak: 70, Paces: []pace{{workShort, 1, 9, 1, 0, 0}, {workDoc60, manyTexts, 9, 0, 0, 1}}},
		{Embedder: "other", Cores: 1, Peak: 99},
	}
	return r
}

func TestSummarise(t *testing.T) {
	r := measured()
	r.averages([]string{local.ID, "other"})
	if err := r.summarise(); err != nil {
		t.Fatal(err)
	}
	want := summary{DenseR1: 0.3, DenseNDCG: 0.3, LexicalNDCG: 0.35, HybridNDCG: 0.3, ShortMS: 2.5, Doc60: 80, LoadMS: 7, RSS: 70, BinaryMB: 50}
	if r.Summary != want {
		t.Errorf("summary = %+v, want %+v: macro over the sets without that of all manuals, one core, the most memory", r.Summary, want)
	}
	var line bytes.Buffer
	if err := r.print(&line); err != nil {
		t.Fatal(err)
	}
	var keys map[string]float64
	if err := json.Unmarshal(line.Bytes(), &keys); err != nil || strings.Count(line.String(), "\n") != 1 {
		t.Fatalf("print wrote %q, %v, want one line of JSON", line.String(), err)
	}
	for _, key := range strings.Fields("dense_r1 dense_ndcg10 lexical_ndcg10 hybrid_ndcg10 short_query_ms doc60_per_cpu_s load_ms rss_mb binary_mb") {
		if _, ok := keys[key]; !ok {
			t.Errorf("the line lacks %s: %s", key, line.String())
		}
		delete(keys, key)
	}
	if len(keys) > 0 {
		t.Errorf("the line has %v besides", keys)
	}
}

// TestSummariseMisses: what was not measured is no figure.
func TestSummariseMisses(t *testing.T) {
	for name, spoil := range map[string]func(*report){
		"speed":     func(r *report) { r.Speed = nil },
		"loads":     func(r *report) { r.Loads = nil },
		"retrieval": func(r *report) { r.Retrieval = nil },
	} {
		r := measured()
		spoil(r)
		r.averages([]string{local.ID, "other"})
		if err := r.summarise(); err == nil {
			t.Errorf("summarise without %s gave %+v, want an error", name, r.Summary)
		}
	}
}

func TestErrand(t *testing.T) {
	const lasts = time.Millisecond
	in, err := json.Marshal(errand{local.FastID, lasts, []workload{{"one", 1, []string{"a text"}}, {"two", 3, []string{"a text", "another"}}}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := doErrand(t.Context(), bytes.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	var s speed
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Embedder != local.FastID || s.LoadMS <= 0 || s.Loaded <= 0 || s.Peak < s.Loaded || len(s.Paces) != 2 || s.Paces[1].Calls < leastCalls || s.Paces[1].PerCPU <= 0 {
		t.Errorf("speed = %+v, want load, memory and two paces", s)
	}
	for _, bad := range []string{"", `{"embedder": "none"}`, `{"embedder": "local-fast", "lasts": 1, "workloads": [{"name": "x", "batch": 1, "texts": [""]}]}`, `{"embedder": "local-fast", "lasts": 1, "workloads": [{"name": "x", "batch": 1}]}`} {
		if err := doErrand(t.Context(), strings.NewReader(bad), &out); err == nil {
			t.Errorf("doErrand(%q) gave no error", bad)
		}
	}
}
