package extismize

import (
	"testing"

	extism "github.com/extism/go-sdk"

	"github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild"
)

// TestModule: a plugin that echoes does so as an Extism plugin, at lengths around
// the eight bytes that are copied at a time, again and again in one instance.
func TestModule(t *testing.T) {
	for name, p := range map[string]wasmbuild.Plugin{
		"no imports":   {Handle: wasmbuild.ReturnOK(wasmbuild.Get(2), wasmbuild.Get(3))},
		"with imports": {Imports: []wasmbuild.Import{wasmbuild.WASIImport("sched_yield")}, Handle: wasmbuild.Code(wasmbuild.Call(0), wasmbuild.Drop(), wasmbuild.ReturnOK(wasmbuild.Get(2), wasmbuild.Get(3)))},
		"own calls": {
			Handle: wasmbuild.Code(wasmbuild.Call(4), wasmbuild.ReturnOK(wasmbuild.Get(2), wasmbuild.Get(3))),
			Funcs:  []wasmbuild.Func{{}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			plugin := load(t, p.Encode())
			for _, input := range []string{"", "a", "1234567", "12345678", "123456789", "a text of more than twice eight bytes"} {
				code, output, err := plugin.Call(Export, []byte(input))
				if err != nil || code != 0 || string(output) != input {
					t.Errorf("Call(%q) = %d, %q, %v, want the input", input, code, output, err)
				}
			}
		})
	}
}

// TestCapability: handle is called for the capability that was named.
func TestCapability(t *testing.T) {
	p := wasmbuild.Plugin{Handle: wasmbuild.ReturnOK(wasmbuild.Get(0), wasmbuild.Get(1))}
	if _, output, err := load(t, p.Encode()).Call(Export, []byte("x")); err != nil || string(output) != "rank" {
		t.Errorf("Call = %q, %v, want rank", output, err)
	}
}

// TestError: an error of the guest is a code.
func TestError(t *testing.T) {
	p := wasmbuild.Plugin{Handle: wasmbuild.I32(wasmbuild.ResultAt), Data: []wasmbuild.Data{{At: wasmbuild.ResultAt, Bytes: wasmbuild.Error(0, 0, 0, 0)}}}
	if code, _, err := load(t, p.Encode()).Call(Export, nil); err != nil || code != 1 {
		t.Errorf("Call = %d, %v, want 1", code, err)
	}
}

// TestRefused: what is no plugin is refused and does not panic.
func TestRefused(t *testing.T) {
	good := wasmbuild.Plugin{Handle: wasmbuild.I32(0)}.Encode()
	for name, module := range map[string][]byte{
		"empty":     []byte("\x00asm\x01\x00\x00\x00"),
		"no header": []byte("\x00as"),
		"cut off":   good[:len(good)-5],
	} {
		if out, err := Module(module, "rank"); err == nil {
			t.Errorf("Module(%s) = %d bytes, want an error", name, len(out))
		}
	}
}

func load(t *testing.T, module []byte) *extism.Plugin {
	t.Helper()
	converted, err := Module(module, "rank")
	if err != nil {
		t.Fatalf("Module: %v", err)
	}
	manifest := extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: converted}}}
	plugin, err := extism.NewPlugin(t.Context(), manifest, extism.PluginConfig{EnableWasi: true}, nil)
	if err != nil {
		t.Fatalf("NewPlugin: %v", err)
	}
	t.Cleanup(func() { plugin.Close(t.Context()) })
	return plugin
}
