package api

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/plugins"
)

// ledgerReader tells what was used.
type ledgerReader interface{ ledger.Reader }

// ownKey is the key that a caller is shown the calls and the usage of: its own if it is
// limited to views, for others see more; else nil, for any.
func ownKey(ctx context.Context) *string {
	if _, limited := knowledge.ViewsOf(ctx); !limited {
		return nil
	}
	id := principalOf(ctx).KeyID
	return &id
}

// ListPluginCalls implements listPluginCalls.
func (s *Server) ListPluginCalls(ctx context.Context, r oapi.ListPluginCallsRequestObject) (oapi.ListPluginCallsResponseObject, error) {
	name, err := named("name", r.Name, plugins.ParseName)
	if err != nil {
		return nil, err
	}
	if _, err := s.services.Catalog.Plugin(ctx, tenantOf(ctx), name); err != nil {
		return nil, err
	}
	selection := ledger.Selection{
		Key: ownKey(ctx), Version: valueOf(r.Params.Version), Outcome: valueOf(r.Params.Outcome),
		Since: valueOf(r.Params.Since), Until: valueOf(r.Params.Until),
	}
	found, next, err := page("calls", r.Params.Cursor, r.Params.Limit, ledger.ParseID,
		func(before ledger.ID, limit int) ([]ledger.Call, error) {
			selection.Before = before
			return s.services.Ledger.Calls(ctx, tenantOf(ctx), string(name), selection, limit)
		},
		func(c ledger.Call) string { return string(c.ID) })
	if err != nil {
		return nil, err
	}
	return oapi.ListPluginCalls200JSONResponse{Calls: each(found, callOut), NextCursor: next}, nil
}

// valueOf is what a parameter has, or the zero value where it was not given.
func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// GetCall implements getCall.
func (s *Server) GetCall(ctx context.Context, r oapi.GetCallRequestObject) (oapi.GetCallResponseObject, error) {
	id, err := named("call", r.Call, ledger.ParseID)
	if err != nil {
		return nil, err
	}
	found, err := s.services.Ledger.Call(ctx, tenantOf(ctx), id)
	if key := ownKey(ctx); err == nil && key != nil && found.Key != *key {
		err = knowledge.NotFound("call", id)
	}
	if err != nil {
		return nil, err
	}
	return oapi.GetCall200JSONResponse(callOut(found)), nil
}

func callOut(c ledger.Call) oapi.Call {
	return oapi.Call{
		Id: string(c.ID), Key: c.Key, Plugin: c.Plugin, Version: c.Version, Digest: c.Digest, Capability: c.Capability,
		Tier: c.Tier, Grade: c.Grade, StartedAt: c.Started, Outcome: c.Outcome,
		QueueUs: c.Queue.Microseconds(), VmUs: c.VM.Microseconds(), CpuUs: c.CPU.Microseconds(), Fuel: c.Fuel, PeakMemoryBytes: c.PeakMemory,
		HostCalls: c.HostCalls, HostBytes: c.HostBytes, HostUs: c.HostTime.Microseconds(),
		InputBytes: c.Input, OutputBytes: c.Output, RowsRead: c.Rows,
	}
}

// GetUsage implements getUsage.
func (s *Server) GetUsage(ctx context.Context, r oapi.GetUsageRequestObject) (oapi.GetUsageResponseObject, error) {
	return s.usage(ctx, tenantOf(ctx), ownKey(ctx), r.Params)
}

// GetTenantUsage implements getTenantUsage.
func (s *Server) GetTenantUsage(ctx context.Context, r oapi.GetTenantUsageRequestObject) (oapi.GetTenantUsageResponseObject, error) {
	id, err := named("tenant", r.Tenant, knowledge.ParseTenantID)
	if err != nil {
		return nil, err
	}
	if _, err := s.services.Tenants.Tenant(ctx, id); err != nil {
		return nil, err
	}
	return s.usage(ctx, id, nil, oapi.GetUsageParams(r.Params))
}

// usageDays is how many days are summed when a request does not say from which one.
const usageDays = 30

// usage answers with the sums of a tenant, of one key alone if that is given.
func (s *Server) usage(ctx context.Context, tenant knowledge.TenantID, key *string, p oapi.GetUsageParams) (usageReport, error) {
	q := ledger.Question{Key: key, To: ledger.DayOf(time.Now())}
	var err error
	if p.To != nil {
		if q.To, err = named("to", *p.To, ledger.ParseDay); err != nil {
			return usageReport{}, err
		}
	}
	q.From = ledger.DayOf(q.To.Time().AddDate(0, 0, 1-usageDays))
	if p.From != nil {
		if q.From, err = named("from", *p.From, ledger.ParseDay); err != nil {
			return usageReport{}, err
		}
	}
	report := usageReport{UsageReport: oapi.UsageReport{GroupBy: []oapi.UsageGroup{}}, csv: prefers(sentBy(ctx).header, "text/csv")}
	for _, group := range valueOf(p.GroupBy) {
		report.GroupBy = append(report.GroupBy, group)
		switch group {
		case oapi.UsageGroupDay:
			q.ByDay = true
		case oapi.UsageGroupKey:
			q.ByKey = true
		case oapi.UsageGroupPlugin:
			q.ByPlugin = true
		}
	}
	sums, err := s.services.Ledger.Usage(ctx, tenant, q)
	if err != nil {
		return usageReport{}, err
	}
	report.From, report.To = string(q.From), string(q.To)
	report.Rows = each(sums, func(sum ledger.Sum) oapi.UsageRow { return usageOut(sum, q) })
	return report, nil
}

func usageOut(s ledger.Sum, q ledger.Question) oapi.UsageRow {
	row := oapi.UsageRow{
		Queries: s.Queries, Searches: s.Searches, RowsRead: s.Rows, EmbeddedTexts: s.EmbeddedTexts, EmbeddedTokens: s.EmbeddedTokens,
		PluginCalls: s.Calls, FailedCalls: s.Failed, Fuel: s.Fuel, VmUs: s.VM.Microseconds(), CpuUs: s.CPU.Microseconds(),
		MegabyteSeconds: float64(s.ByteSeconds) / 1e6, HostCalls: s.HostCalls, InputBytes: s.Input, OutputBytes: s.Output,
	}
	day := string(s.Day)
	for _, part := range []struct {
		apart bool
		text  *string
		into  **string
	}{{q.ByDay, &day, &row.Day}, {q.ByKey, &s.Key, &row.Key}, {q.ByPlugin, &s.Plugin, &row.Plugin}} {
		if part.apart {
			*part.into = part.text
		}
	}
	return row
}

// usageReport is the answer about usage, in JSON or CSV.
type usageReport struct {
	oapi.UsageReport
	csv bool
}

// VisitGetUsageResponse implements [oapi.GetUsageResponseObject].
func (u usageReport) VisitGetUsageResponse(w http.ResponseWriter) error {
	w.Header().Set("Vary", "Accept")
	if !u.csv {
		return oapi.GetUsage200JSONResponse(u.UsageReport).VisitGetUsageResponse(w)
	}
	text, err := u.table()
	if err != nil {
		return err
	}
	return oapi.GetUsage200TextcsvResponse{Body: strings.NewReader(text), ContentLength: int64(len(text))}.VisitGetUsageResponse(w)
}

// VisitGetTenantUsageResponse implements [oapi.GetTenantUsageResponseObject].
func (u usageReport) VisitGetTenantUsageResponse(w http.ResponseWriter) error {
	return u.VisitGetUsageResponse(w)
}

// table is the report as CSV: the names of columns, and a line for each row.
func (u usageReport) table() (string, error) {
	columns := []string{
		"queries", "searches", "rows_read", "embedded_texts", "embedded_tokens", "plugin_calls", "failed_calls", "fuel",
		"vm_us", "cpu_us", "megabyte_seconds", "host_calls", "input_bytes", "output_bytes",
	}
	apart := each(u.GroupBy, func(g oapi.UsageGroup) string { return string(g) })
	columns = append(apart, columns...)
	var b strings.Builder
	to := csv.NewWriter(&b)
	_ = to.Write(columns) // as all writes, its error is in the end to's
	for _, row := range u.Rows {
		cells, err := cellsOf(row, columns)
		if err != nil {
			return "", err
		}
		_ = to.Write(cells)
	}
	to.Flush()
	return b.String(), to.Error()
}

// cellsOf are the members of a row by their names in JSON.
func cellsOf(row oapi.UsageRow, columns []string) ([]string, error) {
	text, err := json.Marshal(row)
	if err != nil {
		return nil, err
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	cells := make([]string, len(columns))
	for i, name := range columns {
		cells[i] = string(members[name])
		if plain, err := strconv.Unquote(cells[i]); err == nil { // ids and days have no escapes but JSON's quotes
			cells[i] = plain
		}
	}
	return cells, nil
}

// prefers reports that a client wants a type rather than JSON.
func prefers(h http.Header, wanted string) bool {
	group, _, _ := strings.Cut(wanted, "/")
	var other, document float64
	for _, part := range strings.Split(strings.Join(h.Values("Accept"), ","), ",") {
		kind, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		weight := 1.0
		if given, ok := parameters["q"]; ok {
			if weight, err = strconv.ParseFloat(given, 64); err != nil {
				continue
			}
		}
		switch kind {
		case "application/json", "application/*", "*/*":
			document = max(document, weight)
		case wanted, group + "/*":
			other = max(other, weight)
		}
	}
	return other > 0 && other >= document
}
