package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations/pgtest"
)

// ingesting runs tars ingest and returns what it wrote to both outputs.
func ingesting(ctx context.Context, c *rest.Client, args ...string) (stdout, stderr string, err error) {
	var out, messages bytes.Buffer
	args = append([]string{"ingest", "--server", c.BaseURL, "--key", c.Token, "--collection", "files"}, args...)
	err = run(ctx, args, func(string) string { return "" }, strings.NewReader(""), &out, &messages)
	return out.String(), messages.String(), err
}

// documentIDs are the documents of the collection.
func documentIDs(t *testing.T, c *rest.Client) []string {
	t.Helper()
	var list struct{ Documents []struct{ ID string } }
	do(t, c, http.MethodGet, "/v1/collections/files/documents?limit=200", nil, &list)
	var ids []string
	for _, d := range list.Documents {
		ids = append(ids, d.ID)
	}
	return ids
}

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	at := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestIngest sends a folder by the command, again, changed, and with files that fail.
func TestIngest(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t))
	client := s.tenant(t, "acme")
	dir := t.TempDir()
	writeFile(t, dir, "guide/pump.md", "# Pump\n\nThe pump is serviced in spring.\n")
	writeFile(t, dir, "guide/.hidden.md", "# Hidden\n\nNot to be sent.\n")
	writeFile(t, dir, "notes.txt", "The filter is changed once a month.\n")
	writeFile(t, dir, "odd name #1?.txt", "The valve is closed at night.\n")
	for i := range 230 { // more than a page of the list
		writeFile(t, dir, fmt.Sprintf("many/%03d.txt", i), fmt.Sprintf("This is note number %d.\n", i))
	}
	const all = 233
	ingest := func(want string, args ...string) string {
		t.Helper()
		stdout, stderr, err := ingesting(t.Context(), client, append(args, dir)...)
		if err != nil || !strings.Contains(stderr, want) {
			t.Fatalf("tars ingest %q = %v, and says %q, want it to say %q", args, err, stderr, want)
		}
		return stdout
	}
	if said := ingest("", "--dry-run"); strings.Count(said, "would send ") != all || !strings.Contains(said, "would send guide/pump.md\n") {
		t.Errorf("tars ingest --dry-run says %.300q, want %d files", said, all)
	}
	if _, err := client.Do(t.Context(), http.MethodGet, "/v1/collections/files", nil, nil); !rest.IsStatus(err, http.StatusNotFound) {
		t.Errorf("after --dry-run the collection is there, or %v", err)
	}
	ingest("233 written, 0 unchanged, 0 failed, 0 deleted", "--metadata", "year=2026", "--metadata", "lang=en")
	if got := documentIDs(t, client); len(got) != 200 || got[0] != "guide/pump.md" {
		t.Errorf("documents = %q, want a full page that begins with guide/pump.md", got)
	}
	var found struct {
		Matches []struct{ Metadata map[string]any }
	}
	do(t, client, http.MethodPost, "/v1/collections/files/search", map[string]any{
		"text": "when is the pump serviced", "mode": "hybrid", "limit": 1, "filter": map[string]any{"field": "year", "eq": 2026},
	}, &found)
	if len(found.Matches) != 1 || found.Matches[0].Metadata["document"] != "guide/pump.md" || found.Matches[0].Metadata["lang"] != "en" {
		t.Errorf("search = %+v, want the passage of guide/pump.md", found.Matches)
	}
	before := all
	for deadline := time.Now().Add(patience); requests(s) < before && time.Now().Before(deadline); { // the log comes after the answers
		time.Sleep(time.Millisecond)
	}
	ingest("0 written, 233 unchanged, 0 failed", "--metadata", "year=2026", "--metadata", "lang=en")
	if sent := requests(s) - before; sent != 0 {
		t.Errorf("the same again sent %d documents, want none", sent)
	}
	writeFile(t, dir, "guide/pump.md", "# Pump\n\nThe pump is serviced in autumn.\n")
	if err := os.Remove(filepath.Join(dir, "notes.txt")); err != nil {
		t.Fatal(err)
	}
	said := ingest("", "--metadata", "year=2026", "--metadata", "lang=en", "--delete-missing", "--dry-run")
	if said != "would send guide/pump.md\nwould delete notes.txt\n" {
		t.Errorf("tars ingest --delete-missing --dry-run says %q, want the one to send and the one to delete", said)
	}
	ingest("1 written, 231 unchanged, 0 failed, 1 deleted", "--metadata", "year=2026", "--metadata", "lang=en", "--delete-missing")
	_, err := client.Do(t.Context(), http.MethodGet, "/v1/collections/files/documents/notes.txt", nil, nil)
	if !rest.IsStatus(err, http.StatusNotFound) {
		t.Errorf("GET of the deleted document = %v, want 404", err)
	}
	do(t, client, http.MethodGet, "/v1/collections/files/documents/odd%20name%20%231%3F.txt", nil, &map[string]any{})

	// Below a prefix only what is below it is missing.
	ingest("232 written, 0 unchanged, 0 failed, 0 deleted", "--prefix", "copy/", "--delete-missing")

	// One bad file is told, and the others are sent.
	bad := t.TempDir()
	writeFile(t, bad, "a.txt", "Good.")
	writeFile(t, bad, "b.txt", " \n")
	writeFile(t, bad, "c.txt", "Good as well.")
	_, stderr, err := ingesting(t.Context(), client, "--prefix", "bad/", bad)
	if err == nil || !strings.Contains(stderr, "2 written, 0 unchanged, 1 failed") || !strings.Contains(stderr, "failed: bad/b.txt: ") {
		t.Errorf("tars ingest with a bad file = %v, and says %q, want it named and the others written", err, stderr)
	}
	for what, args := range map[string][]string{
		"a wrong key":                {"--key", "tars_x", dir},
		"no such path":               {filepath.Join(dir, "none")},
		"a file to delete beside":    {"--delete-missing", filepath.Join(bad, "a.txt")},
		"no requests at once":        {"--parallel", "0", dir},
		"a collection of a bad name": {"--collection", "No Name", dir},
	} {
		if _, stderr, err := ingesting(t.Context(), client, args...); err == nil {
			t.Errorf("%s: tars ingest = nil, and says %q, want an error", what, stderr)
		}
	}
}

// requests is how many documents a server was sent.
func requests(s *running) int { return strings.Count(s.logs.String(), `"operation":"putDocument"`) }

// TestIngestGoesOn: a run that was stopped is gone on with, and nothing is sent twice.
func TestIngestGoesOn(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t))
	client := s.tenant(t, "acme")
	dir := t.TempDir()
	const all = 400
	for i := range all {
		writeFile(t, dir, fmt.Sprintf("%03d.txt", i), fmt.Sprintf("This is note number %d.\n", i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for deadline := time.Now().Add(patience); requests(s) < 40 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}()
	_, stderr, err := ingesting(ctx, client, dir)
	if err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Fatalf("tars ingest that is stopped = %v, and says %q, want it to say so", err, stderr)
	}
	_, stderr, err = ingesting(t.Context(), client, dir)
	if err != nil {
		t.Fatalf("tars ingest again = %v, and says %q", err, stderr)
	}
	var written, unchanged int
	at := strings.Index(stderr, "files in ")
	if _, err := fmt.Sscanf(stderr[at+strings.Index(stderr[at:], ": ")+2:], "%d written, %d unchanged", &written, &unchanged); err != nil || written+unchanged != all || unchanged < 30 {
		t.Errorf("tars ingest again says %q, want it to go on after the first ones", stderr)
	}
	var collection struct{ Records int }
	do(t, client, http.MethodGet, "/v1/collections/files", nil, &collection)
	if collection.Records != all {
		t.Errorf("there are %d passages, want one for each of %d files", collection.Records, all)
	}
	if got := documentIDs(t, client); !slices.IsSorted(got) {
		t.Errorf("documents = %q, want them in order", got)
	}
}
