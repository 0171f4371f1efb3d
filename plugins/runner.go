package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/vmhost"
)

// policies tells a tenant's policy: the floor of its isolation, and the caps of
// its calls.
type policies interface {
	Tenant(ctx context.Context, id knowledge.TenantID) (tenancy.Tenant, error)
}

// Runner calls plugins. It fills [query.Plugins]. Set every field before the
// first use; safe for concurrent use.
type Runner struct {
	Catalog  Catalog
	Loader   *Loader
	Policies policies
	Tier     vmhost.Tier  // that calls run in
	REST     rest         // nil: plugins cannot search
	Recorder *Recorder    // nil: nothing is recorded
	Log      *slog.Logger // nil: what goes wrong beside a call is not told
	Ledger   notes        // nil: nothing is noted
}

// rest is what guests' documents have in common with the REST API, whose package
// fills it.
type rest interface {
	// Filter is a filter as JSON.
	Filter(f knowledge.Filter) []byte
	// ParseFilter returns an [knowledge.InvalidError] for what is none.
	ParseFilter(document []byte) (knowledge.Filter, error)
	// Search runs a search as its body asks, whose member collection says where,
	// and returns the answer's body.
	Search(ctx context.Context, tenant knowledge.TenantID, body []byte) ([]byte, error)
}

// Invocation is what a direct call gave.
type Invocation struct {
	Version Version
	Output  []byte // one JSON value; otherwise untrusted
	Receipt query.Receipt
}

// Invoke calls a plugin directly, for any capability of its manifest. input is
// one JSON value. With record it is recorded, see [Recorder]. Errors are those of
// [query.Plugins].
func (r *Runner) Invoke(ctx context.Context, tenant knowledge.TenantID, name Name, ref Ref, capability string, input []byte, record bool) (Invocation, error) {
	version, output, receipt, err := r.run(ctx, tenant, errand{
		name: name, ref: ref, capability: Capability(capability), record: record,
		input: func(int64) ([]byte, error) { return input, nil },
		host:  hostCalls{rest: r.REST, tenant: tenant}.answer,
		decode: func(output []byte) error {
			if !jsontext.Value(output).IsValid() {
				return errors.New("output is not one JSON value")
			}
			return nil
		},
	})
	if err != nil {
		return Invocation{}, err
	}
	return Invocation{Version: version, Output: output, Receipt: receipt}, nil
}

// call runs a plugin as a query asks for it, or the upload of a document.
func (r *Runner) call(ctx context.Context, tenant knowledge.TenantID, call query.PluginCall, e errand) (query.Receipt, error) {
	var err error
	if e.name, e.ref, err = parseCall(call); err != nil {
		return query.Receipt{}, err
	}
	if config := jsontext.Value(call.Config); len(config) > 0 && (config.Kind() != '{' || !config.IsValid()) {
		return query.Receipt{}, knowledge.Invalid("config", "is not a JSON object without repeated members")
	}
	limited, cancel := ctx, func() {}
	if call.Timeout > 0 {
		limited, cancel = context.WithTimeout(ctx, call.Timeout)
	}
	defer cancel()
	e.capability, e.record = Capability(call.Capability), call.Record
	_, _, receipt, err := r.run(limited, tenant, e)
	if errors.Is(err, context.DeadlineExceeded) && limited.Err() != nil && ctx.Err() == nil {
		err = timedOut(call, err)
	}
	return receipt, err
}

// parseCall reads which version of which plugin a call is for.
func parseCall(call query.PluginCall) (Name, Ref, error) {
	name, err := ParseName(call.Name)
	if err != nil {
		return "", Ref{}, knowledge.At("name", err)
	}
	ref, err := ParseRef(call.Version)
	if err != nil {
		return "", Ref{}, knowledge.At("version", err)
	}
	return name, ref, nil
}

// timedOut is the error of a call that took longer than the query gives it: it
// ran, or it waited all the time for a slot or for memory.
func timedOut(call query.PluginCall, err error) error {
	var waited *vmhost.BudgetError
	if errors.As(err, &waited) && errors.Is(waited, vmhost.ErrBusy) {
		return pluginError(call.Name, "busy", waited)
	}
	wall := &vmhost.BudgetError{Budget: vmhost.BudgetWall, Used: call.Timeout.Microseconds(), Allowed: call.Timeout.Microseconds()}
	timeout := pluginError(call.Name, "deadline", wall)
	timeout.Detail = fmt.Sprintf("the call took longer than the %d ms that it was given", call.Timeout.Milliseconds())
	return timeout
}

// pluginError is a failure that is about a budget.
func pluginError(name, reason string, spent *vmhost.BudgetError) *query.PluginError {
	return &query.PluginError{
		Plugin: name, Reason: reason, Detail: spent.Error(), Err: spent,
		Budget: &query.BudgetUse{Name: string(spent.Budget), Used: spent.Used, Allowed: spent.Allowed, Unit: spent.Budget.Unit()},
	}
}

// errand is one call of a plugin.
type errand struct {
	name       Name
	ref        Ref
	capability Capability
	input      func(most int64) ([]byte, error) // makes its input, of at most so many bytes
	decode     func(output []byte) error        // takes its output; an error is made for the plugin's owner
	host       vmhost.HostFunc
	// With deterministic the clock stands, and random numbers follow from seed.
	deterministic bool
	seed          [32]byte
	record        bool
}

// find resolves the version that a call names, and checks that it has the
// capability.
func (r *Runner) find(ctx context.Context, tenant knowledge.TenantID, name Name, ref Ref, capability Capability) (Version, error) {
	version, err := r.Catalog.Version(ctx, tenant, name, ref)
	if err != nil {
		return Version{}, fmt.Errorf("plugin %q: %w", name, err)
	}
	if !slices.Contains(version.Manifest.Capabilities, capability) {
		return version, knowledge.Invalid("capability", "is not one of plugin %q; its manifest has %s", name, words(version.Manifest.Capabilities))
	}
	return version, nil
}

// run resolves a version, checks that it may be called so, calls it, and notes what
// became of that. The receipt is zero unless the guest ran.
func (r *Runner) run(ctx context.Context, tenant knowledge.TenantID, e errand) (Version, []byte, query.Receipt, error) {
	version, err := r.find(ctx, tenant, e.name, e.ref, e.capability)
	if err != nil {
		return version, nil, query.Receipt{}, err
	}
	policy, err := r.policy(ctx, tenant)
	if err != nil {
		return version, nil, query.Receipt{}, err
	}
	want := wanted{
		key:      key{tenant, version.Digest, r.Loader.defaults.limits(version.Manifest, policy)},
		manifest: version.Manifest,
		memory:   policy.Memory,
		module: func(ctx context.Context) ([]byte, error) {
			return r.Catalog.Module(ctx, tenant, e.name, version.Number)
		},
	}
	var reply vmhost.Reply
	var asked asked
	var tape tape
	e.record = e.record && r.Recorder != nil
	if e.record {
		tape.start(&e)
	}
	err = r.Loader.use(ctx, want, func(guest *vmhost.Guest) error {
		document, err := e.input(want.limits.Input)
		if err != nil {
			return err
		}
		asked.at, asked.input = time.Now(), len(document)
		reply, err = guest.Call(ledger.CountRead(ctx, &asked.read), vmhost.Request{
			Capability: string(e.capability), Input: document, Host: e.host,
			Slots: policy.PluginSlots, AccountMemory: policy.Memory, Weight: policy.PluginWeight,
			Deterministic: e.deterministic, Seed: e.seed,
		})
		return err
	})
	receipt := receiptOf(version, e.capability, reply)
	if err != nil {
		err = callError(ctx, e.name, err)
	} else if err = e.decode(reply.Output); err != nil {
		err = badOutput(e.name, err)
	}
	r.note(ctx, tenant, &receipt, &asked, err)
	if e.record {
		r.record(ctx, tenant, &tape, version, e, &receipt, reply.Output, err)
	}
	if err != nil {
		return version, nil, receipt, err
	}
	return version, reply.Output, receipt, nil
}

// policy returns the tenant's policy, or refuses when that asks for a stronger
// tier than this node has.
func (r *Runner) policy(ctx context.Context, tenant knowledge.TenantID) (tenancy.Policy, error) {
	t, err := r.Policies.Tenant(ctx, tenant)
	if err != nil {
		return tenancy.Policy{}, fmt.Errorf("policy: %w", err)
	}
	if floor := t.Policy.MinIsolation; floor != "" && tierOf(floor) > r.Tier {
		return tenancy.Policy{}, fmt.Errorf("%w: the tenant's policy needs isolation %q, this node has %q", knowledge.ErrUnavailable, floor, r.Tier)
	}
	return t.Policy, nil
}

// tierOf returns the tier of that name; an unknown name is stronger than all, so
// that doubt fails closed.
func tierOf(name string) vmhost.Tier {
	for _, t := range []vmhost.Tier{vmhost.TierInProc, vmhost.TierProcess, vmhost.TierMicroVM} {
		if t.String() == name {
			return t
		}
	}
	return vmhost.TierMicroVM + 1
}

// receiptOf makes the receipt of a call, or the zero one if it did not come to a
// machine: each names its grade.
func receiptOf(v Version, capability Capability, reply vmhost.Reply) query.Receipt {
	if reply.Usage.Grade == "" {
		return query.Receipt{}
	}
	receipt := query.Receipt{
		Plugin: string(v.Name), Version: v.Number, Digest: v.Digest.String(), Capability: query.Capability(capability),
		Tier: reply.Usage.Tier.String(), Grade: reply.Usage.Grade,
		Queue: reply.Usage.Queue, VM: reply.Usage.VM, CPU: reply.Usage.CPU, Fuel: reply.Usage.Fuel, PeakMemory: reply.Usage.PeakMemory,
		HostCalls: reply.Usage.HostCalls, HostBytes: reply.Usage.HostBytes, HostTime: reply.Usage.HostTime,
		Output: int64(len(reply.Output)),
	}
	for _, l := range reply.Logs {
		receipt.Logs = append(receipt.Logs, l.Text)
	}
	return receipt
}

// callError turns an error of vmhost into one that the engine understands: the
// plugin's own failures become a *[query.PluginError]; what is not its fault
// keeps its kind.
func callError(ctx context.Context, name Name, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err
	}
	var (
		spent *vmhost.BudgetError
		guest *vmhost.GuestError
	)
	about := err
	switch {
	case errors.As(err, &spent): // also if the guest had an error of its own because of it
		about = spent
	case errors.As(err, &guest):
		return &query.PluginError{Plugin: string(name), Reason: "error", Detail: guest.Error(), Err: err}
	}
	var quarantined *vmhost.QuarantinedError
	if errors.As(err, &quarantined) {
		return &query.PluginError{Plugin: string(name), Reason: "quarantined", Detail: quarantined.Error(), Err: err}
	}
	for _, k := range failures {
		switch {
		case !errors.Is(about, k.kind):
		case spent != nil:
			return pluginError(string(name), k.reason, spent)
		default:
			return &query.PluginError{Plugin: string(name), Reason: k.reason, Detail: k.kind.Error(), Err: err}
		}
	}
	return fmt.Errorf("plugin %q: %w", name, err)
}

// failures are the ways in which a call of a plugin fails, with their words in
// the API.
var failures = []struct {
	kind   error
	reason string
}{
	{vmhost.ErrDeadline, "deadline"},
	{vmhost.ErrCPU, "cpu"},
	{vmhost.ErrFuel, "fuel"},
	{vmhost.ErrMemory, "memory"},
	{vmhost.ErrHostBudget, "host-budget"},
	{vmhost.ErrTrapped, "trapped"},
	{vmhost.ErrOutput, "output"},
	{vmhost.ErrInput, "input"},
	{vmhost.ErrRefused, "refused"},
	{vmhost.ErrCrashed, "crashed"},
	{vmhost.ErrBusy, "busy"},
	{vmhost.ErrUnavailable, "unavailable"},
}

func badOutput(name Name, err error) error {
	return &query.PluginError{Plugin: string(name), Reason: "output", Detail: err.Error(), Err: vmhost.ErrOutput}
}

// ParseRef reads how a caller names a version: "" for the alias [Live], a number,
// "sha256:" and 64 hexadecimal digits, or an alias. It returns a
// *[knowledge.InvalidError].
func ParseRef(s string) (Ref, error) {
	if s == "" {
		return Ref{Alias: Live}, nil
	}
	if strings.HasPrefix(s, "sha256:") {
		digest, err := ParseDigest(s)
		return Ref{Digest: &digest}, err
	}
	if number, err := strconv.Atoi(s); err == nil {
		if number < 1 || strconv.Itoa(number) != s {
			return Ref{}, knowledge.Invalid("", "is not a version; need an alias, a number from 1, or sha256: and 64 hexadecimal digits")
		}
		return Ref{Number: number}, nil
	}
	alias, err := ParseAlias(s)
	return Ref{Alias: alias}, err
}
