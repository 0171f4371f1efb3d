// Package demo is the main job, done once by an ordinary client of the REST API:
// a tenant with a key, the PostgreSQL manual as a collection, a plugin that ranks
// and answers, and a question to it. What it did stays; a second run uses it.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tars-project/tars/cmd/tars/demo/corpus"
	"github.com/tars-project/tars/cmd/tars/rest"
)

// Names of what the demo makes.
const (
	Tenant     = "demo"
	Collection = "manual"
	Plugin     = "cited"
	Question   = "how do I restore to a point in time?"
)

// batch is how many passages are sent at once.
const batch = 500

// Demo says where the server is and what the demo may use. Every field must be set.
type Demo struct {
	BaseURL  string
	AdminKey string
	StateDir string    // keeps the demo's API key, readable by its owner alone
	Manifest []byte    // plugin.json of the plugin
	Module   []byte    // the plugin
	Log      io.Writer // progress

	ShownURL     string // where the reader of the commands reaches the server; empty means BaseURL
	ShownKey     string // file of the demo's key as the reader sees it; empty shows the key
	AdminKeyFile string // file of the operator's key as the reader sees it
}

// Result is what the demo got.
type Result struct {
	Token     string // of the demo's tenant
	Passages  int
	Answer    string
	Citations []Citation
	Receipts  []Receipt
	Took      time.Duration // of the question
}

// Run does what of the demo is not done yet and asks the question.
func (d Demo) Run(ctx context.Context) (Result, error) {
	token, err := d.Key(ctx)
	if err != nil {
		return Result{}, err
	}
	client := rest.New(d.BaseURL, token)
	passages, err := d.Ingest(ctx, client)
	if err != nil {
		return Result{}, err
	}
	if err := d.Upload(ctx, client); err != nil {
		return Result{}, err
	}
	result, err := Ask(ctx, client, Question)
	result.Token, result.Passages = token, passages
	return result, err
}

// Key returns a working key of the demo's tenant, both made if need be.
func (d Demo) Key(ctx context.Context) (string, error) {
	file := filepath.Join(d.StateDir, "demo.key")
	if data, err := os.ReadFile(file); err == nil {
		token := strings.TrimSpace(string(data))
		if _, err := rest.New(d.BaseURL, token).Do(ctx, http.MethodGet, "/v1/collections", nil, nil); err == nil {
			return token, nil
		} else if !rest.IsStatus(err, http.StatusUnauthorized) {
			return "", err
		}
	}
	admin := rest.New(d.BaseURL, d.AdminKey)
	tenant := map[string]any{"id": Tenant, "name": "Demo"}
	if _, err := admin.Do(ctx, http.MethodPost, "/v1/admin/tenants", tenant, nil); err != nil && !rest.IsStatus(err, http.StatusConflict) {
		return "", fmt.Errorf("create the demo's tenant: %w", err)
	}
	var issued struct {
		Token string `json:"token"`
	}
	key := map[string]any{"name": "demo"}
	if _, err := admin.Do(ctx, http.MethodPost, "/v1/admin/tenants/"+Tenant+"/keys", key, &issued); err != nil {
		return "", fmt.Errorf("create the demo's key: %w", err)
	}
	if err := os.WriteFile(file, []byte(issued.Token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the demo's key: %w", err)
	}
	d.logf("made tenant %q and a key for it", Tenant)
	return issued.Token, nil
}

// Ingest brings the manual into the collection, unless this very text is there,
// and returns the number of its passages.
func (d Demo) Ingest(ctx context.Context, client *rest.Client) (int, error) {
	collection := "/v1/collections/" + Collection
	var c struct {
		Records int `json:"records"`
	}
	if _, err := client.Do(ctx, http.MethodPut, collection, map[string]any{"embedder": "local-fast"}, &c); err != nil {
		return 0, fmt.Errorf("create collection: %w", err)
	}
	records, err := manual()
	if err != nil {
		return 0, err
	}
	marker := filepath.Join(d.StateDir, "demo.corpus")
	if done, _ := os.ReadFile(marker); string(done) == corpus.Version && c.Records >= len(records) {
		d.logf("collection %q has its %d passages", Collection, c.Records)
		return c.Records, nil
	}
	start, told := time.Now(), time.Now()
	for sent := 0; sent < len(records); sent += batch {
		body := map[string]any{"records": records[sent:min(sent+batch, len(records))]}
		if _, err := client.Do(ctx, http.MethodPost, collection+"/records", body, nil); err != nil {
			return 0, fmt.Errorf("ingest: %w", err)
		}
		if time.Since(told) > 2*time.Second {
			told = time.Now()
			d.logf("ingested %d of %d passages", sent+batch, len(records))
		}
	}
	took := time.Since(start)
	d.logf("ingested the PostgreSQL manual: %d passages in %.1f s (%.0f/s)", len(records), took.Seconds(), float64(len(records))/took.Seconds())
	if err := os.WriteFile(marker, []byte(corpus.Version), 0o600); err != nil {
		return 0, fmt.Errorf("note what was ingested: %w", err)
	}
	return len(records), nil
}

// manual returns the passages as records.
func manual() ([]map[string]any, error) {
	var records []map[string]any
	for p, err := range corpus.Passages() {
		if err != nil {
			return nil, err
		}
		records = append(records, map[string]any{"id": p.ID, "text": p.Text, "metadata": p.Metadata})
	}
	return records, nil
}

// Upload uploads the plugin and makes it live.
func (d Demo) Upload(ctx context.Context, client *rest.Client) error {
	start := time.Now()
	var v struct {
		Version int    `json:"version"`
		Digest  string `json:"digest"`
	}
	status, err := client.Upload(ctx, "/v1/plugins/"+Plugin+"/versions", d.Manifest, d.Module, &v)
	if err != nil {
		return fmt.Errorf("upload the plugin: %w", err)
	}
	alias := map[string]any{"version": v.Version}
	if _, err := client.Do(ctx, http.MethodPut, "/v1/plugins/"+Plugin+"/aliases/live", alias, nil); err != nil {
		return fmt.Errorf("make the plugin live: %w", err)
	}
	if status == http.StatusCreated {
		d.logf("uploaded plugin %q version %d (%.1f MB, compiled in its cell, %.1f s)", Plugin, v.Version, float64(len(d.Module))/1e6, time.Since(start).Seconds())
	} else {
		d.logf("plugin %q version %d is there", Plugin, v.Version)
	}
	return nil
}

// request is the query of the demo.
func request(question string) map[string]any {
	return map[string]any{
		"text": question,
		"legs": []any{map[string]any{"collection": Collection, "candidates": 200}},
		"plugins": []any{
			map[string]any{"name": Plugin, "capability": "rank", "on_error": "fail"},
			map[string]any{"name": Plugin, "capability": "synthesize", "on_error": "fail"},
		},
		"limit": 5,
	}
}

// Ask asks one question. It returns an error unless a grounded answer comes.
func Ask(ctx context.Context, client *rest.Client, question string) (Result, error) {
	var a answer
	if _, err := client.Do(ctx, http.MethodPost, "/v1/query", request(question), &a); err != nil {
		return Result{}, fmt.Errorf("ask: %w", err)
	}
	switch {
	case len(a.Missing) > 0:
		return Result{}, fmt.Errorf("ask: %s is missing: %s: %s", a.Missing[0].Source, a.Missing[0].Reason, a.Missing[0].Detail)
	case len(a.Results) != 1 || a.Results[0].Text == "":
		return Result{}, errors.New("ask: no answer came")
	case !a.Results[0].Grounded:
		return Result{}, errors.New("ask: the answer has citations that are not verified")
	}
	return Result{
		Answer: a.Results[0].Text, Citations: a.Results[0].Citations, Receipts: a.Receipts,
		Took: time.Duration(a.TookMS * float64(time.Millisecond)),
	}, nil
}

func (d Demo) logf(format string, args ...any) { fmt.Fprintf(d.Log, "demo: "+format+"\n", args...) }
