package plugins

import (
	"context"
	"errors"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/vmhost"
)

// notes takes calls down; a [ledger.Book] does.
type notes interface {
	Called(ctx context.Context, tenant knowledge.TenantID, c ledger.Call)
	Rejected(ctx context.Context, tenant knowledge.TenantID, c ledger.Call)
}

// note gives the receipt of a call that came to a machine its id, and takes the call
// down. It was asked for at began, with a document of so many bytes; err is what became
// of it.
func (r *Runner) note(ctx context.Context, tenant knowledge.TenantID, receipt *query.Receipt, began time.Time, sent int, err error) {
	if receipt.Plugin == "" {
		return
	}
	receipt.ID, receipt.Started, receipt.Input = string(ledger.NewID(began)), began, int64(sent)
	if r.Ledger != nil {
		r.Ledger.Called(ctx, tenant, callOf(*receipt, outcomeOf(err)))
	}
}

// badOutput is the error of a call whose output is not what its capability asks for,
// which is found out after the call was noted as one that went well.
func (r *Runner) badOutput(ctx context.Context, tenant knowledge.TenantID, receipt query.Receipt, err error) error {
	failed := &query.PluginError{Plugin: receipt.Plugin, Reason: "output", Detail: err.Error(), Err: vmhost.ErrOutput}
	if r.Ledger != nil {
		r.Ledger.Rejected(ctx, tenant, callOf(receipt, failed.Reason))
	}
	return failed
}

// outcomeOf is the word for what became of a call.
func outcomeOf(err error) string {
	var plugin *query.PluginError
	switch {
	case err == nil:
		return ledger.OutcomeOK
	case errors.As(err, &plugin):
		return plugin.Reason
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	case errors.Is(err, context.Canceled):
		return ledger.OutcomeCancelled
	default:
		return ledger.OutcomeInternal
	}
}

func callOf(r query.Receipt, outcome string) ledger.Call {
	return ledger.Call{
		ID: ledger.ID(r.ID), Plugin: r.Plugin, Version: r.Version, Digest: r.Digest, Capability: string(r.Capability),
		Tier: r.Tier, Grade: r.Grade, Started: r.Started, Outcome: outcome,
		Queue: r.Queue, VM: r.VM, CPU: r.CPU, Fuel: r.Fuel, PeakMemory: r.PeakMemory,
		HostCalls: r.HostCalls, HostBytes: r.HostBytes, HostTime: r.HostTime,
		Input: r.Input, Output: r.Output, Rows: r.Records,
	}
}
