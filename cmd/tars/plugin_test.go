package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost/wasm"
)

// TestStarters: what `tars plugin new` writes builds with Go alone, into a module
// that the host takes, for the capability that was asked for.
func TestStarters(t *testing.T) {
	for capability := range starters() {
		t.Run(string(capability), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "first")
			w := &world{stdout: io.Discard, stderr: new(bytes.Buffer)}
			if err := (&pluginNew{Dir: dir, Capability: string(capability)}).Run(w); err != nil {
				t.Fatalf("plugin new = %v, want nil", err)
			}
			t.Setenv("GOFLAGS", "-mod=mod")
			t.Setenv("GOPROXY", "off")
			if err := (&pluginBuild{Dir: dir}).Run(t.Context(), w); err != nil {
				t.Fatalf("plugin build = %v, want nil: %s", err, w.stderr)
			}
			m, _, err := readManifest(dir)
			if err != nil || m.Name != "first" || len(m.Capabilities) != 1 || m.Capabilities[0] != capability || m.Description == "" {
				t.Errorf("the manifest is %+v, %v; want the name first, a description and the capability %s alone", m, err, capability)
			}
			module, err := os.ReadFile(filepath.Join(dir, "plugin.wasm"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := wasm.Check(module, wasm.DefaultLimits()); err != nil {
				t.Errorf("Check = %v, want no error", err)
			}
			if err := (&pluginNew{Dir: dir, Capability: string(plugins.Rank)}).Run(w); err == nil {
				t.Error("plugin new over a folder that is there = nil, want an error")
			}
		})
	}
}
