package api

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost"
)

// moduleOfAcme is a module that a tenant has.
var moduleOfAcme = vmhost.DigestOf([]byte("of acme"))

// quarantineDouble is a quarantine of two modules. For one test at a time.
type quarantineDouble struct{ released []string }

func (q *quarantineDouble) ListQuarantined(_ context.Context, after string, limit int) ([]plugins.Quarantined, error) {
	var list []plugins.Quarantined
	for _, tenant := range []knowledge.TenantID{"acme", "zulu"} {
		item := plugins.Quarantined{Tenant: tenant, Module: moduleOfAcme, Reason: "out of memory", Since: time.Unix(1_770_091_506, 0).UTC(), Deaths: 5}
		if item.Key() > after && len(list) < limit && !slices.Contains(q.released, item.Key()) {
			list = append(list, item)
		}
	}
	return list, nil
}

func (q *quarantineDouble) ReleaseQuarantined(_ context.Context, tenant knowledge.TenantID, module vmhost.Digest) error {
	key := plugins.Quarantined{Tenant: tenant, Module: module}.Key()
	if tenant != "acme" || module != moduleOfAcme || slices.Contains(q.released, key) {
		return knowledge.NotFound("module in quarantine", module.String())
	}
	q.released = append(q.released, key)
	return nil
}

// The operator sees page by page what is kept back, and releases it once.
func TestQuarantine(t *testing.T) {
	w := newWorld(t, nil)
	first := w.call("GET", "/v1/admin/quarantine?limit=1", adminKey, "")
	w.wantStatus("list", first, 200)
	want := `{"modules":[{"deaths":5,"module_digest":"` + moduleOfAcme.String() + `","reason":"out of memory","since":"2026-02-03T04:05:06Z","tenant":"acme"}]`
	if !strings.HasPrefix(first.body, want) {
		t.Errorf("list = %s, want %s and a cursor", first.body, want)
	}
	cursor, _ := first.json["next_cursor"].(string)
	rest := w.call("GET", "/v1/admin/quarantine?cursor="+cursor, adminKey, "")
	if list, _ := rest.json["modules"].([]any); len(list) != 1 {
		t.Errorf("second page = %s, want the other module", rest.body)
	}
	path := "/v1/admin/quarantine/acme/" + moduleOfAcme.String()
	w.wantStatus("release", w.call("DELETE", path, adminKey, ""), 204)
	w.wantStatus("release again", w.call("DELETE", path, adminKey, ""), 404)
	w.wantStatus("release what is no digest", w.call("DELETE", "/v1/admin/quarantine/acme/sha256:12", adminKey, ""), 400)
	w.wantStatus("a tenant that releases", w.call("DELETE", path, w.tenant("acme"), ""), 403)
	if !strings.Contains(w.log.String(), `"operation":"releaseQuarantined"`) {
		t.Error("the log has no line of the release")
	}
}

// What happens to cells is counted for the operator.
func TestCellMetrics(t *testing.T) {
	m := NewMetrics()
	m.RegisterCells(func() CellStats {
		return CellStats{Cells: 3, Blanks: 2, Quarantined: 1, Adoptions: 9, ColdStarts: 4, BlankFailures: 5, Deaths: map[string]int64{"memory": 7}}
	})
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()[0].String()
	}
	for name, want := range map[string]string{
		"tars_cells": "value:3", "tars_cells_blank": "value:2", "tars_modules_quarantined": "value:1", "tars_cell_adoptions_total": "value:9",
		"tars_cell_cold_starts_total": "value:4", "tars_cell_blank_failures_total": "value:5", "tars_cell_deaths_total": "value:7",
	} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s = %q, want %s", name, got[name], want)
		}
	}
	if !strings.Contains(got["tars_cell_deaths_total"], `"memory"`) {
		t.Errorf("deaths = %s, want their cause", got["tars_cell_deaths_total"])
	}
}
