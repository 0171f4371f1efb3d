package plugins

import (
	"context"
	"errors"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/query"
)

// notes takes calls down; a [ledger.Book] does.
type notes interface {
	Called(ctx context.Context, tenant knowledge.TenantID, c ledger.Call)
}

// asked is what is known of a call beside what its machine says.
type asked struct {
	at    time.Time
	input int         // bytes of its document
	read  ledger.Read // by its host calls
}

// note gives the receipt of a call that came to a machine its id, and takes the call
// down. err is what became of it.
func (r *Runner) note(ctx context.Context, tenant knowledge.TenantID, receipt *query.Receipt, a *asked, err error) {
	if receipt.Plugin == "" {
		return
	}
	receipt.ID, receipt.Started, receipt.Input, receipt.Records = string(ledger.NewID(a.at)), a.at, int64(a.input), a.read.Records()
	if r.Ledger != nil {
		r.Ledger.Called(ctx, tenant, callOf(*receipt, outcomeOf(err)))
	}
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
