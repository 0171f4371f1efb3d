package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/plugins"
)

// recordingStore gives recordings of calls back.
type recordingStore interface {
	Recording(ctx context.Context, tenant knowledge.TenantID, call ledger.ID, key *string) (plugins.Recording, error)
	Delete(ctx context.Context, tenant knowledge.TenantID, call ledger.ID, key *string) error
}

// recording returns the recording that a path names, if the caller may have it.
func (s *Server) recording(ctx context.Context, call string) (plugins.Recording, error) {
	id, err := named("call", call, ledger.ParseID)
	if err != nil {
		return plugins.Recording{}, err
	}
	return s.services.Recorder.Recording(ctx, tenantOf(ctx), id, ownKey(ctx))
}

// ReplayCall implements replayCall.
func (s *Server) ReplayCall(ctx context.Context, r oapi.ReplayCallRequestObject) (oapi.ReplayCallResponseObject, error) {
	recording, err := s.recording(ctx, r.Call)
	if err != nil {
		return nil, err
	}
	replayed, err := s.services.Invoker.Replay(ctx, tenantOf(ctx), recording, r.Body.Version)
	if err != nil {
		return nil, err
	}
	out := oapi.ReplayCall200JSONResponse{
		Same: replayed.Same, Version: replayed.Version.Number, Digest: replayed.Version.Digest.String(),
		Before: replayOutcomeOut(replayed.Before), After: replayOutcomeOut(replayed.After),
		Differences: each(replayed.Output, func(d plugins.Difference) oapi.ReplayDifference {
			return oapi.ReplayDifference{Pointer: d.Pointer, Before: anyJSON(d.Before), After: anyJSON(d.After)}
		}),
	}
	if replayed.Diverged >= 0 {
		out.DivergedAt = &replayed.Diverged
	}
	return out, nil
}

func replayOutcomeOut(o plugins.RecordedOutcome) oapi.ReplayOutcome {
	return oapi.ReplayOutcome{
		Outcome: o.Outcome, Detail: given(o.Detail), Logs: logsOut(o.Logs), Fuel: o.Fuel, VmUs: o.VM, PeakMemoryBytes: o.PeakMemory,
	}
}

// anyJSON is a value as it is written, or nil, which is left out.
func anyJSON(text []byte) any {
	if text == nil {
		return nil
	}
	return json.RawMessage(text)
}

// recordingResponse is the document of a recording.
type recordingResponse []byte

// VisitGetRecordingResponse implements [oapi.GetRecordingResponseObject].
func (r recordingResponse) VisitGetRecordingResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(r)
	return err
}

// GetRecording implements getRecording.
func (s *Server) GetRecording(ctx context.Context, r oapi.GetRecordingRequestObject) (oapi.GetRecordingResponseObject, error) {
	recording, err := s.recording(ctx, r.Call)
	if err != nil {
		return nil, err
	}
	document, err := recording.Document()
	return recordingResponse(document), err
}

// DeleteRecording implements deleteRecording.
func (s *Server) DeleteRecording(ctx context.Context, r oapi.DeleteRecordingRequestObject) (oapi.DeleteRecordingResponseObject, error) {
	id, err := named("call", r.Call, ledger.ParseID)
	if err != nil {
		return nil, err
	}
	if err := s.services.Recorder.Delete(ctx, tenantOf(ctx), id, ownKey(ctx)); err != nil {
		return nil, err
	}
	return oapi.DeleteRecording204Response{}, nil
}
