package api

import (
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/recordings"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/plugins"
)

// keep puts a recording of a call into the world, as of a key, and returns its id.
func (w *world) keep(key string, change func(*recordings.Entry)) ledger.ID {
	w.t.Helper()
	id := ledger.NewID(time.Now())
	document, err := plugins.Recording{
		Format: 1, Call: id, Recorded: time.Now().UTC(), Plugin: "cited", Version: 1, Digest: "sha256:", Manifest: []byte(goodManifest), Capability: plugins.Rank,
		Input: `{"abi":1}`, Seed: string(make64('a')), HostCalls: []plugins.RecordedAsk{{Function: "search", Text: "{}", Answer: []byte("{}")}},
		Outcome: plugins.RecordedOutcome{Outcome: "ok", Output: `{"scores":[]}`, Fuel: 5, Logs: []string{"one"}},
	}.Document()
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := w.recorder.Seal("acme", id, key, document)
	if err != nil {
		w.t.Fatal(err)
	}
	if change != nil {
		change(&e)
	}
	if err := w.recordings.PutRecording(w.t.Context(), "acme", e, 1<<30); err != nil {
		w.t.Fatal(err)
	}
	return id
}

func make64(c byte) []byte {
	b := make([]byte, 64)
	for i := range b {
		b[i] = c
	}
	return b
}

func TestReplay(t *testing.T) {
	w, token := asker(t, nil)
	id := string(w.keep("key_of_another", nil))
	got := w.call("POST", "/v1/calls/"+id+"/replay", token, `{}`)
	w.wantStatus("replay", got, 200)
	if got.json["same"] != false || got.json["version"] != 1.0 || got.json["diverged_at"] != 1.0 || got.json["before"].(map[string]any)["fuel"] != 5.0 || len(got.json["differences"].([]any)) != 2 {
		t.Errorf("replay = %s, want what the runner gave", got.body)
	}
	w.wantStatus("replay with an unknown version", w.call("POST", "/v1/calls/"+id+"/replay", token, `{"version":"canary"}`), 404)
	downloaded := w.call("GET", "/v1/calls/"+id+"/recording", token, "")
	w.wantStatus("download", downloaded, 200)
	if rec, err := plugins.ParseRecording([]byte(downloaded.body)); err != nil || rec.Input != `{"abi":1}` || len(rec.HostCalls) != 1 {
		t.Errorf("download = %s, %v, want the recording", downloaded.body, err)
	}
	w.wantStatus("delete", w.call("DELETE", "/v1/calls/"+id+"/recording", token, ""), 204)
	for _, method := range []string{"GET", "DELETE"} {
		w.wantStatus(method+" of what is gone", w.call(method, "/v1/calls/"+id+"/recording", token, ""), 404)
	}
	w.wantStatus("replay of what is gone", w.call("POST", "/v1/calls/"+id+"/replay", token, `{}`), 404)
	w.wantStatus("bad id", w.call("GET", "/v1/calls/call_1/recording", token, ""), 400)
}

// TestRecordingsOfOthers: another tenant has none of these, and a key that is limited
// to views those of its own calls alone.
func TestRecordingsOfOthers(t *testing.T) {
	w, _ := asker(t, nil)
	other := w.tenant("other")
	key, limited, err := w.keys.IssueKey(t.Context(), "acme", "limited", tenancy.ViewScopes(), noTime, "v")
	if err != nil {
		t.Fatal(err)
	}
	foreign, own := string(w.keep("key_of_another", nil)), string(w.keep(key.ID, nil))
	for name, tc := range map[string]struct {
		token, id string
		want      int
	}{
		"another tenant":         {other, foreign, 404},
		"limited key, another's": {limited, foreign, 404},
		"limited key, its own":   {limited, own, 200},
	} {
		w.wantStatus(name+": download", w.call("GET", "/v1/calls/"+tc.id+"/recording", tc.token, ""), tc.want)
		w.wantStatus(name+": replay", w.call("POST", "/v1/calls/"+tc.id+"/replay", tc.token, `{}`), tc.want)
		if tc.want == 404 {
			w.wantStatus(name+": delete", w.call("DELETE", "/v1/calls/"+tc.id+"/recording", tc.token, ""), 404)
		}
	}
}

// TestTamperedRecording: what the database changed is no recording any more, and
// nothing of it is shown.
func TestTamperedRecording(t *testing.T) {
	w, token := asker(t, nil)
	for name, change := range map[string]func(*recordings.Entry){
		"a byte":  func(e *recordings.Entry) { e.Sealed.Bytes[20] ^= 1 },
		"cut":     func(e *recordings.Entry) { e.Sealed.Bytes = e.Sealed.Bytes[:5] },
		"moved":   func(e *recordings.Entry) { e.Call = ledger.NewID(time.Now()) },
		"the key": func(e *recordings.Entry) { e.Sealed.KeyID = "none" },
	} {
		var id ledger.ID
		w.keep("k", func(e *recordings.Entry) { change(e); id = e.Call })
		w.wantStatus(name, w.call("GET", "/v1/calls/"+string(id)+"/recording", token, ""), 500)
	}
}
