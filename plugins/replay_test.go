package plugins_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/recordings"
	"github.com/tars-project/tars/knowledge/recordings/recordingstest"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/fakevm"
)

// searcher asks for as many searches as its configuration says, and answers with what
// it got; the number 9 makes it fail.
func searcher(prefix string) fakevm.Func {
	return func(ctx context.Context, c *fakevm.Call) ([]byte, error) {
		var in struct{ Searches int }
		if err := json.Unmarshal(c.Input, &in); err != nil {
			return nil, err
		}
		var got []string
		for i := range in.Searches {
			answer, err := c.Search(ctx, fmt.Sprintf("%s%d", prefix, i))
			var refusal *vmhost.GuestError
			if err != nil && !errors.As(err, &refusal) {
				return nil, err
			}
			if refusal != nil {
				answer = []byte(refusal.Code)
			}
			got = append(got, string(answer))
			c.Log(1, "asked")
		}
		if in.Searches == 9 {
			return nil, vmhost.ErrTrapped
		}
		return json.Marshal(map[string]any{"got": got})
	}
}

// recorded is a node whose runner records, with the plugin "s" of two versions: the
// second asks for something else.
func recorded(t *testing.T) *node {
	t.Helper()
	n := newNode(t, fakevm.New(map[string]fakevm.Func{"s": searcher("q"), "other": searcher("r")}), 16)
	ring, err := tenancy.NewRing(bytes.Repeat([]byte{7}, tenancy.RingKeySize))
	if err != nil {
		t.Fatal(err)
	}
	n.runner.Recorder = &plugins.Recorder{Store: &recordingstest.Memory{}, Ring: ring, Life: time.Hour, Most: 1 << 30}
	m := manifest("s")
	m.Grants, m.Limits.HostCalls = []plugins.Grant{plugins.GrantSearch, plugins.GrantLog}, 10
	n.upload(t, alice, m, fakevm.Module("s"))
	m.Description = "the second"
	if _, _, err := n.registry.Upload(t.Context(), alice, tenancy.Policy{}, m, fakevm.Module("other")); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) answerWith(answer func(body []byte) ([]byte, error)) {
	n.runner.REST = restAPI{search: func(_ context.Context, _ knowledge.TenantID, body []byte) ([]byte, error) { return answer(body) }}
}

func TestReplay(t *testing.T) {
	n := recorded(t)
	n.answerWith(func(body []byte) ([]byte, error) {
		if string(body) == "q1" {
			return nil, knowledge.Invalid("limit", "is 0")
		}
		return []byte("of " + string(body)), nil
	})
	called, err := n.runner.Invoke(knowledge.AskedBy(t.Context(), "key_a"), alice, "s", plugins.Ref{}, "rank", []byte(`{"searches":  3}`), true)
	if err != nil || called.Receipt.Recording != plugins.RecordingKept || string(called.Output) != `{"got":["of q0","invalid","of q2"]}` {
		t.Fatalf("Invoke = %s with the recording %q, %v, want it kept", called.Output, called.Receipt.Recording, err)
	}
	id, key := ledger.ID(called.Receipt.ID), "key_a"
	rec, err := n.runner.Recorder.Recording(t.Context(), alice, id, &key)
	if err != nil || rec.Input != `{"searches":  3}` || len(rec.HostCalls) != 3 || rec.HostCalls[1].Refusal == nil {
		t.Fatalf("Recording = %+v, %v, want the call with its input to the byte and three host calls", rec, err)
	}
	n.answerWith(func([]byte) ([]byte, error) { t.Error("a replay asked for something anew"); return nil, nil })
	for name, tc := range map[string]struct {
		ref      *plugins.Ref
		same     bool
		diverged int
		version  int
	}{
		"same version":    {nil, true, -1, 1},
		"by its number":   {&plugins.Ref{Number: 1}, true, -1, 1},
		"another version": {&plugins.Ref{Number: 2}, false, 0, 2},
	} {
		got, err := n.runner.Replay(t.Context(), alice, rec, tc.ref)
		if err != nil || got.Same != tc.same || got.Diverged != tc.diverged || got.Version.Number != tc.version {
			t.Errorf("%s: Replay = %+v, %v, want same %v, diverged at %d, version %d", name, got, err, tc.same, tc.diverged, tc.version)
		}
		if differences := len(got.Output); (differences == 0) != tc.same || !tc.same && (differences != 3 || got.Output[0].Pointer != "/got/0" || string(got.Output[0].After) != `"unavailable"`) {
			t.Errorf("%s: differences %+v, want none of the same, and three of the other", name, got.Output)
		}
	}
	if s := n.driver.seeds; len(s) != 4 || s[0] != s[1] || s[1] != s[2] || s[2] != s[3] || s[0] == [32]byte{} {
		t.Errorf("the call and its replays had the seeds %x, want one for all", s)
	}
	for name, as := range map[string]struct {
		tenant knowledge.TenantID
		key    string
	}{"another tenant": {bob, "key_a"}, "another key": {alice, "key_b"}} {
		if _, err := n.runner.Recorder.Recording(t.Context(), as.tenant, id, &as.key); !errors.Is(err, knowledge.ErrNotFound) {
			t.Errorf("Recording for %s = %v, want ErrNotFound", name, err)
		}
	}
	if _, err := n.runner.Replay(t.Context(), alice, rec, &plugins.Ref{Number: 3}); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Replay with an unknown version = %v, want ErrNotFound", err)
	}
}

// TestReplayOfFailures: what failed fails again, in the same way.
func TestReplayOfFailures(t *testing.T) {
	n := recorded(t)
	n.answerWith(func([]byte) ([]byte, error) { return nil, nil })
	_, receipt, err := n.rank(t.Context(), alice, query.PluginCall{Name: "s", Capability: query.Rank, Record: true}, "q", nil)
	if reason(t, "Rank", err) != "output" || receipt.Recording != plugins.RecordingKept {
		t.Fatalf("Rank = %v with the recording %q, want output and kept", err, receipt.Recording)
	}
	invoked := func(input string) plugins.Recording {
		m := &recordingstest.Memory{}
		n.runner.Recorder.Store = m
		if _, err := n.runner.Invoke(t.Context(), alice, "s", plugins.Ref{}, "rank", []byte(input), true); reason(t, "Invoke", err) != "trapped" {
			t.Fatalf("Invoke = %v, want trapped", err)
		}
		rec, err := n.runner.Recorder.Recording(t.Context(), alice, m.Only(alice), nil)
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	rec, err := n.runner.Recorder.Recording(t.Context(), alice, ledger.ID(receipt.ID), nil)
	if err != nil {
		t.Fatal(err)
	}
	for want, rec := range map[string]plugins.Recording{"output": rec, "trapped": invoked(`{"searches":9}`)} {
		got, err := n.runner.Replay(t.Context(), alice, rec, nil)
		if err != nil || !got.Same || got.After.Outcome != want || got.Before.Outcome != want {
			t.Errorf("Replay = %+v, %v, want %s again", got, err, want)
		}
	}
}

// TestRecordingIsBounded: a call that is too large for a recording is not recorded, and
// goes on.
func TestRecordingIsBounded(t *testing.T) {
	n := recorded(t)
	n.answerWith(func([]byte) ([]byte, error) { return bytes.Repeat([]byte("a"), 6<<20), nil })
	called, err := n.runner.Invoke(t.Context(), alice, "s", plugins.Ref{}, "rank", []byte(`{"searches":1}`), true)
	if reason(t, "Invoke with an output of 6 MiB", err) != "output" {
		t.Errorf("Invoke = %+v, %v, want output", called, err)
	}
	n.answerWith(func([]byte) ([]byte, error) { return nil, nil })
	n.runner.Recorder.Store = failingRecordings{}
	called, err = n.runner.Invoke(t.Context(), alice, "s", plugins.Ref{}, "rank", []byte(`{"searches":1}`), true)
	if err != nil || called.Receipt.Recording != plugins.RecordingFailed {
		t.Errorf("Invoke with a store that fails = %q, %v, want the call to be well and failed", called.Receipt.Recording, err)
	}
	called, err = n.runner.Invoke(t.Context(), alice, "s", plugins.Ref{}, "rank", []byte(`{"searches":1}`), false)
	if err != nil || called.Receipt.Recording != "" {
		t.Errorf("Invoke without a recording = %q, %v, want none", called.Receipt.Recording, err)
	}
}

// failingRecordings keeps nothing.
type failingRecordings struct{ *recordingstest.Memory }

func (failingRecordings) PutRecording(context.Context, knowledge.TenantID, recordings.Entry, int64) error {
	return errors.New("the disk is full")
}

func FuzzParseRecording(f *testing.F) {
	f.Add([]byte(`{"format":1,"call":"call_1","recorded_at":"2026-02-03T04:05:06Z","plugin":"p","version":1,"digest":"","manifest":{},"capability":"rank","input":"","seed":"` + strings.Repeat("0", 64) + `","host_calls":[{"function":"search","answer":"AAAA"}],"outcome":{"outcome":"ok"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := plugins.ParseRecording(data)
		if err != nil {
			if !errors.Is(err, knowledge.ErrInvalid) {
				t.Errorf("ParseRecording(%q) = %v, want ErrInvalid", data, err)
			}
			return
		}
		again, err := rec.Document()
		if err != nil {
			t.Fatalf("Document of %q = %v", data, err)
		}
		if _, err := plugins.ParseRecording(again); err != nil {
			t.Errorf("ParseRecording of what Document wrote = %v", err)
		}
	})
}
