package plugins

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/recordings"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/vmhost"
)

const (
	recordingFormat = 1
	// MaxRecording is the most bytes of a recording, before it is compressed. A call
	// with more is not recorded.
	MaxRecording = 16 << 20
	// keepPatience is how long keeping a recording may take, also when the call's own
	// time is over: those of calls that went wrong are wanted most.
	keepPatience = 2 * time.Second
)

// What became of a recording that was asked for, as receipts say it.
const (
	RecordingKept     = "kept"
	RecordingTooLarge = "too-large"
	RecordingFailed   = "failed"
)

// Recording is all that a call needs to be run again, and what it gave.
type Recording struct {
	Format     int             `json:"format"`
	Call       ledger.ID       `json:"call"`
	Recorded   time.Time       `json:"recorded_at"`
	Plugin     Name            `json:"plugin"`
	Version    int             `json:"version"`
	Digest     string          `json:"digest"`
	Manifest   jsontext.Value  `json:"manifest"`
	Capability Capability      `json:"capability"`
	Input      string          `json:"input"` // to the byte
	Seed       string          `json:"seed"`  // 64 hexadecimal digits
	HostCalls  []RecordedAsk   `json:"host_calls"`
	Outcome    RecordedOutcome `json:"outcome"`
}

// RecordedAsk is a host call with what it was answered.
type RecordedAsk struct {
	Function string         `json:"function"`
	Text     string         `json:"text,omitzero"`
	Leg      uint32         `json:"leg,omitzero"`
	First    uint32         `json:"first,omitzero"`
	Count    uint32         `json:"count,omitzero"`
	Answer   []byte         `json:"answer,omitempty"` // base64
	Refusal  *RecordedFault `json:"refusal,omitzero"`
}

// RecordedFault is an error of a host call.
type RecordedFault struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// RecordedOutcome is what a call gave.
type RecordedOutcome struct {
	Outcome    string   `json:"outcome"` // "ok", or the reason of the failure
	Detail     string   `json:"detail,omitzero"`
	Output     string   `json:"output,omitzero"` // to the byte
	Logs       []string `json:"logs,omitempty"`
	Fuel       int64    `json:"fuel"`
	VM         int64    `json:"vm_us"`
	CPU        int64    `json:"cpu_us"`
	PeakMemory int64    `json:"peak_memory_bytes"`
	Grade      string   `json:"grade"`
}

// outcomeDocument is what a call gave, as a recording has it.
func outcomeDocument(receipt query.Receipt, output []byte, err error) RecordedOutcome {
	o := RecordedOutcome{
		Outcome: outcomeOf(err), Output: string(output), Logs: receipt.Logs, Fuel: receipt.Fuel,
		VM: receipt.VM.Microseconds(), CPU: receipt.CPU.Microseconds(), PeakMemory: receipt.PeakMemory, Grade: receipt.Tier + " (" + receipt.Grade + ")",
	}
	var plugin *query.PluginError
	if errors.As(err, &plugin) {
		o.Detail = plugin.Detail
	}
	return o
}

// ParseRecording reads what [Recording.Document] wrote. It returns an
// [knowledge.InvalidError].
func ParseRecording(document []byte) (Recording, error) {
	var r Recording
	if err := json.Unmarshal(document, &r, json.RejectUnknownMembers(true)); err != nil {
		return Recording{}, knowledge.Invalid("", "is no recording of a call: %s", jsonFault(err))
	}
	if r.Format != recordingFormat {
		return Recording{}, knowledge.Invalid("format", "is %d; this version reads %d", r.Format, recordingFormat)
	}
	if _, err := r.seed(); err != nil {
		return Recording{}, err
	}
	return r, nil
}

// Document is the recording as JSON.
func (r Recording) Document() ([]byte, error) { return json.Marshal(r, json.Deterministic(true)) }

func (r Recording) seed() (seed [32]byte, err error) {
	b, err := hex.DecodeString(r.Seed)
	if err != nil || len(b) != len(seed) {
		return seed, knowledge.Invalid("seed", "is not 64 hexadecimal digits")
	}
	return [32]byte(b), nil
}

// Recorder keeps recordings and gives them back. Set every field before the first
// use; safe for concurrent use.
type Recorder struct {
	Store recordings.Store
	Ring  *tenancy.Ring
	Life  time.Duration // of a recording
	Most  int64         // bytes of a tenant's recordings together
}

// Recording returns the recording of a call, that of this key alone unless it is nil.
// It wraps [knowledge.ErrNotFound] when there is none, or none any more.
func (r *Recorder) Recording(ctx context.Context, tenant knowledge.TenantID, call ledger.ID, key *string) (Recording, error) {
	e, err := r.Store.Recording(ctx, tenant, call)
	if err != nil {
		return Recording{}, err
	}
	if key != nil && e.Key != *key {
		return Recording{}, knowledge.NotFound("recording", call)
	}
	packed, err := r.Ring.Open(tenant, sealedName(call), e.Sealed)
	if err != nil {
		return Recording{}, fmt.Errorf("recording %s: %w", call, err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return Recording{}, fmt.Errorf("recording %s: %w", call, err)
	}
	document, err := io.ReadAll(z) // it was sealed by us, and bounded
	if err != nil {
		return Recording{}, fmt.Errorf("recording %s: %w", call, err)
	}
	return ParseRecording(document)
}

// Delete removes the recording of a call, that of this key alone unless it is nil, or
// wraps [knowledge.ErrNotFound].
func (r *Recorder) Delete(ctx context.Context, tenant knowledge.TenantID, call ledger.ID, key *string) error {
	if key != nil {
		if e, err := r.Store.Recording(ctx, tenant, call); err != nil {
			return err
		} else if e.Key != *key {
			return knowledge.NotFound("recording", call)
		}
	}
	return r.Store.DeleteRecording(ctx, tenant, call)
}

// sealedName is what a recording is sealed for, so that it opens as no other.
func sealedName(call ledger.ID) string { return "recording " + string(call) }

// keep seals a recording and keeps it, and returns the word for the receipt.
func (r *Recorder) keep(ctx context.Context, tenant knowledge.TenantID, rec Recording) (string, error) {
	document, err := rec.Document()
	if err != nil {
		return RecordingFailed, err
	}
	if len(document) > MaxRecording*4/3+1<<20 { // base64, and what stands around it
		return RecordingTooLarge, nil
	}
	e, err := r.Seal(tenant, rec.Call, knowledge.AskerOf(ctx), document)
	if err != nil {
		return RecordingFailed, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepPatience)
	defer cancel()
	if err := r.Store.PutRecording(ctx, tenant, e, r.Most); err != nil {
		return RecordingFailed, fmt.Errorf("keep the recording of %s: %w", rec.Call, err)
	}
	return RecordingKept, nil
}

// Seal makes the entry of a recording's document, as of a key.
func (r *Recorder) Seal(tenant knowledge.TenantID, call ledger.ID, key string, document []byte) (recordings.Entry, error) {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err == nil {
		_, err = z.Write(document)
	}
	if err == nil {
		err = z.Close()
	}
	return recordings.Entry{
		Call: call, Key: key, Sealed: r.Ring.Seal(tenant, sealedName(call), packed.Bytes()),
		Expires: time.Now().Add(r.Life).UTC().Truncate(time.Microsecond),
	}, err
}

// tape takes down what a call is given and asks while it runs.
type tape struct {
	input []byte
	asks  []RecordedAsk
	bytes int64 // over MaxRecording: no more is taken
}

// start prepares an errand to be recorded: it runs as a deterministic one, since only
// that can be run again.
func (t *tape) start(e *errand) {
	if !e.deterministic {
		e.deterministic = true
		rand.Read(e.seed[:]) // never fails: crypto/rand ends the program instead
	}
	make, host := e.input, e.host
	e.input = func(most int64) ([]byte, error) {
		input, err := make(most)
		t.input, t.bytes = input, t.bytes+int64(len(input))
		return input, err
	}
	// One at a time for each call, as vmhost promises.
	e.host = func(ctx context.Context, call vmhost.HostCall) ([]byte, error) {
		answer, err := host(ctx, call)
		t.bytes += int64(len(call.Text) + len(answer))
		if t.bytes > MaxRecording {
			t.asks = nil
			return answer, err
		}
		ask := RecordedAsk{Function: call.Func, Text: call.Text, Leg: call.Leg, First: call.First, Count: call.Count, Answer: answer}
		var refusal *vmhost.GuestError
		if errors.As(err, &refusal) {
			ask.Refusal = &RecordedFault{refusal.Code, refusal.Message}
		}
		t.asks = append(t.asks, ask)
		return answer, err
	}
}

// recording is what was taken down of a call that has ended.
func (t *tape) recording(v Version, e errand, receipt query.Receipt, output []byte, err error) Recording {
	return Recording{
		Format: recordingFormat, Call: ledger.ID(receipt.ID), Recorded: receipt.Started.UTC(), Plugin: v.Name, Version: v.Number, Digest: v.Digest.String(),
		Manifest: v.Manifest.Document(), Capability: e.capability, Input: string(t.input), Seed: hex.EncodeToString(e.seed[:]),
		HostCalls: t.asks, Outcome: outcomeDocument(receipt, output, err),
	}
}

// record keeps the recording of a call that came to a machine, and says in its receipt
// what became of that. A recording that cannot be kept is no failure of the call.
func (r *Runner) record(ctx context.Context, tenant knowledge.TenantID, t *tape, v Version, e errand, receipt *query.Receipt, output []byte, err error) {
	if receipt.Plugin == "" {
		return
	}
	if t.bytes += int64(len(output)); t.bytes > MaxRecording {
		receipt.Recording = RecordingTooLarge
		return
	}
	word, keepErr := r.Recorder.keep(ctx, tenant, t.recording(v, e, *receipt, output, err))
	if receipt.Recording = word; keepErr != nil && r.Log != nil {
		r.Log.WarnContext(ctx, "a recording is lost", "call", receipt.ID, "error", keepErr)
	}
}
