package main

import (
	"net/http"
	"syscall"
	"testing"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations/pgtest"
	"github.com/tars-project/tars/vmhost/vmhosttest"
)

// TestQuarantine: a plugin whose cells die is kept back, its tenant is told why, and
// the operator sees and releases it.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t), "TARS_PLUGIN_DEATHS=1")
	client := s.tenant(t, "acme")
	manifest := []byte(`{"abi":1,"name":"loop","capabilities":["rank"],"grants":["log"],"limits":{"wall_ms":20000}}`)
	if _, err := client.Upload(t.Context(), "/v1/plugins/loop/versions", manifest, vmhosttest.Guest(t, "loop"), nil); err != nil {
		t.Fatalf("upload: %v", err)
	}
	invoke := func(input any) error {
		_, err := client.Do(t.Context(), http.MethodPost, "/v1/plugins/loop/invoke", map[string]any{"capability": "rank", "version": "1", "input": input}, nil)
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- invoke(map[string]any{}) }()
	if err := syscall.Kill(busyCell(t, s.cmd.Process.Pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, <-failed, 503, "plugin-crashed", "")
	wantProblem(t, invoke(1), 409, "plugin-quarantined", "killed by signal 9")

	admin := rest.New(s.url, adminKey)
	var list struct {
		Modules []struct {
			Tenant, Reason string
			Module         string `json:"module_digest"`
			Deaths         int
		}
	}
	do(t, admin, http.MethodGet, "/v1/admin/quarantine", nil, &list)
	if len(list.Modules) != 1 || list.Modules[0].Tenant != "acme" || list.Modules[0].Deaths != 1 {
		t.Fatalf("quarantine = %+v, want acme's plugin", list)
	}
	do(t, admin, http.MethodDelete, "/v1/admin/quarantine/acme/"+list.Modules[0].Module, nil, nil)
	// An answer to an input that is none comes from a guest that runs.
	wantProblem(t, invoke(1), 422, "plugin-failed", "error")
}
