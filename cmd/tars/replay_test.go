package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations/pgtest"
	"github.com/tars-project/tars/vmhost/vmhosttest"
)

// TestReplayOverHTTP: a recorded call of a query gives the same again, to the byte and
// to the unit of fuel, though what it was about has changed; after kill -9 too; and on
// another machine with the module alone.
func TestReplayOverHTTP(t *testing.T) {
	t.Parallel()
	d := pgtest.DB(t)
	s := start(t, d)
	client, other := s.tenant(t, "acme"), s.tenant(t, "rival")
	legs := library(t, client, 1)
	module := vmhosttest.Guest(t, "rerank")
	upload(t, client, "rerank", module)
	var answer struct {
		Receipts []struct{ ID, Recording string }
		Missing  []any
	}
	do(t, client, http.MethodPost, "/v1/query", map[string]any{"text": "how is a base backup taken?", "legs": legs, "plugins": []any{
		map[string]any{"name": "rerank", "capability": "rank", "record": true},
	}}, &answer)
	if len(answer.Receipts) != 1 || answer.Receipts[0].Recording != "kept" {
		t.Fatalf("query = %+v, want one call with its recording kept", answer)
	}
	do(t, client, http.MethodPost, "/v1/collections/c0/records/delete", map[string]any{"all": true}, nil)
	s.kill()
	s = start(t, d)
	client, other = rest.New(s.url, client.Token), rest.New(s.url, other.Token)

	path := "/v1/calls/" + answer.Receipts[0].ID
	var replayed struct {
		Same          bool
		Before, After struct {
			Outcome string
			Fuel    int64
		}
		Differences []any
		DivergedAt  *int `json:"diverged_at"`
	}
	do(t, client, http.MethodPost, path+"/replay", map[string]any{}, &replayed)
	if !replayed.Same || replayed.After.Outcome != "ok" || replayed.Before.Fuel != replayed.After.Fuel || replayed.DivergedAt != nil {
		t.Errorf("replay = %+v, want the same, with the same fuel", replayed)
	}
	if _, err := other.Do(t.Context(), http.MethodPost, path+"/replay", map[string]any{}, nil); !rest.IsStatus(err, http.StatusNotFound) {
		t.Errorf("replay by another tenant = %v, want 404", err)
	}

	dir := t.TempDir()
	file, saved := filepath.Join(dir, "plugin.wasm"), filepath.Join(dir, "recording.json")
	if err := os.WriteFile(file, module, 0o600); err != nil {
		t.Fatal(err)
	}
	local := func(args ...string) (string, error) {
		t.Helper()
		path, err := binary()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), path, append([]string{"plugin", "replay"}, args...)...)
		cmd.Env = append(os.Environ(), "TARS_SERVER="+s.url, "TARS_KEY="+client.Token)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err = cmd.Run()
		return out.String(), err
	}
	if out, err := local(answer.Receipts[0].ID, "--module", file, "--save", saved); err != nil || !strings.HasSuffix(out, "the same\n") || !strings.Contains(out, "the module is that of the recording") {
		t.Errorf("tars plugin replay = %s, %v, want the same", out, err)
	}
	document, err := os.ReadFile(saved)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(document, []byte(`\"index\":0,\"score\":`), []byte(`\"index\":0,\"score\":1`), 1)
	if bytes.Equal(changed, document) {
		t.Fatalf("the recording has no score to change: %s", document)
	}
	if err := os.WriteFile(saved, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := local(saved, "--module", file); err == nil || !strings.Contains(out, `"/scores/0/score"`) || !strings.Contains(out, errDiffers.Error()) {
		t.Errorf("tars plugin replay of a changed recording = %s, %v, want the difference and an error", out, err)
	}
	do(t, client, http.MethodDelete, path+"/recording", nil, nil)
	if _, err := client.Do(t.Context(), http.MethodGet, path+"/recording", nil, nil); !rest.IsStatus(err, http.StatusNotFound) {
		t.Errorf("a deleted recording = %v, want 404", err)
	}
}
