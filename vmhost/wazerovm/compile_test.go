package wazerovm_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest"
	. "github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild" //nolint:revive,staticcheck // instructions read as in the text format
	"github.com/tars-project/tars/vmhost/wazerovm"
)

// saying is a plugin that answers any input with one letter.
func saying(letter string) []byte {
	const at = 2048
	return Plugin{Handle: ReturnOK(I32(at), I32(1)), Data: []Data{{At: at, Bytes: []byte(letter)}}}.Encode()
}

// compiled compiles a module in a folder of its own.
func compiled(t *testing.T, module []byte) vmhost.Artifact {
	t.Helper()
	a, err := newDriver(t).Compile(t.Context(), source(module), t.TempDir(), 1<<30)
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	return a
}

// place puts code where an artifact's is looked for, and returns the folder.
func place(t *testing.T, a vmhost.Artifact, code []byte) string {
	t.Helper()
	folder := t.TempDir()
	file := filepath.Join(folder, a.Name)
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, code, 0o444); err != nil {
		t.Fatal(err)
	}
	return folder
}

// loadCompiled loads an artifact whose file is in the folder.
func loadCompiled(t *testing.T, d *wazerovm.Driver, source vmhost.Source, a vmhost.Artifact, folder string) (vmhost.Program, error) {
	t.Helper()
	source.Module = a.Module
	return d.LoadCompiled(t.Context(), source, a.Header, folder)
}

func answer(t *testing.T, p vmhost.Program) string {
	t.Helper()
	reply, err := p.Call(t.Context(), vmhost.Request{Capability: "rank", Input: []byte("?"), Deterministic: true})
	if err != nil {
		t.Fatalf("Call: %v", err)
	}
	return string(reply.Output)
}

// TestCompiled: what Compile made runs, also from a folder that goes away, and
// with what follows the code in its file.
func TestCompiled(t *testing.T) {
	d := newDriver(t)
	for _, more := range []string{"", "what the host keeps behind it"} {
		a := compiled(t, saying("a"))
		if !strings.HasPrefix(a.Name, "wazero-") || len(a.Header) == 0 || len(a.Module) == 0 {
			t.Errorf("Compile = name %q, header of %d bytes, module of %d, want all three", a.Name, len(a.Header), len(a.Module))
		}
		folder := place(t, a, append(a.Code, more...))
		p, err := loadCompiled(t, d, source(saying("a")), a, folder)
		if err != nil {
			t.Fatalf("LoadCompiled: %v", err)
		}
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		if got := answer(t, p); got != "a" {
			t.Errorf("answer = %q, want a", got)
		}
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

// TestNothingIsCompiled: the code is taken from the file, whatever the module
// says: the file of another module decides what runs.
func TestNothingIsCompiled(t *testing.T) {
	constant := func(n int32) []byte {
		return Plugin{Handle: ReturnOK(I32(2048), I32(n)), Data: []Data{{At: 2048, Bytes: []byte("abc")}}}.Encode()
	}
	a, b := compiled(t, constant(1)), compiled(t, constant(2))
	p, err := loadCompiled(t, newDriver(t), source(constant(1)), a, place(t, a, b.Code))
	if err != nil {
		t.Fatalf("LoadCompiled: %v", err)
	}
	if got := answer(t, p); got != "ab" {
		t.Errorf("answer = %q, want ab, which the code in the file gives", got)
	}
}

// TestCompiledGo: a whole language runtime answers as it does when it is compiled
// in place.
func TestCompiledGo(t *testing.T) {
	src := source(vmhosttest.Guest(t, "cited"))
	src.Limits.Memory, src.Limits.Output = 64<<20, 1<<20
	d := newDriver(t)
	a, err := d.Compile(t.Context(), src, t.TempDir(), 1<<30)
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	t.Logf("module %d bytes, metered %d, code %d, header %d", len(src.Module), len(a.Module), len(a.Code), len(a.Header))
	p, err := loadCompiled(t, d, src, a, place(t, a, a.Code))
	if err != nil {
		t.Fatalf("LoadCompiled: %v", err)
	}
	plain, err := d.Load(t.Context(), src)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	req := vmhost.Request{Capability: "rank", Input: []byte(`{"abi":1,"query":{"text":"x"},"candidates":[{"index":0,"text":"x"}]}`), Deterministic: true}
	want, wantErr := plain.Call(t.Context(), req)
	got, err := p.Call(t.Context(), req)
	if err != nil || wantErr != nil || string(got.Output) != string(want.Output) || got.Usage.Fuel != want.Usage.Fuel {
		t.Errorf("Call = %q, fuel %d, %v, want %q, fuel %d, %v", got.Output, got.Usage.Fuel, err, want.Output, want.Usage.Fuel, wantErr)
	}
}

// TestCompiledRefuses: what is not there or not what the engine wrote is the
// machine's fault; what cannot be compiled is the module's.
func TestCompiledRefuses(t *testing.T) {
	d := newDriver(t)
	src := source(saying("a"))
	a := compiled(t, src.Module)
	for name, c := range map[string]struct {
		header []byte
		folder string
	}{
		"no file":         {a.Header, t.TempDir()},
		"no folder":       {a.Header, filepath.Join(t.TempDir(), "none")},
		"not a header":    {[]byte("?"), place(t, a, a.Code)},
		"empty":           {a.Header, place(t, a, nil)},
		"cut short":       {a.Header, place(t, a, a.Code[:len(a.Code)/2])},
		"not what it was": {a.Header, place(t, a, []byte(strings.Repeat("x", 1000)))},
		"wrong code":      {a.Header, place(t, a, append([]byte(string(a.Code[:len(a.Code)-40])), make([]byte, 40)...))},
		"a folder as a file": {a.Header, func() string {
			folder := t.TempDir()
			if err := os.MkdirAll(filepath.Join(folder, a.Name), 0o755); err != nil {
				t.Fatal(err)
			}
			return folder
		}()},
	} {
		a := a
		a.Header = c.header
		p, err := loadCompiled(t, d, src, a, c.folder)
		if !errors.Is(err, vmhost.ErrUnavailable) {
			t.Errorf("LoadCompiled, %s = %v, %v, want ErrUnavailable", name, p, err)
		}
	}
	if _, err := d.Compile(t.Context(), source([]byte("no module")), t.TempDir(), 1<<30); !errors.Is(err, vmhost.ErrRefused) {
		t.Errorf("Compile of no module = %v, want ErrRefused", err)
	}
	if _, err := d.Compile(t.Context(), src, "/dev/null/x", 1<<30); !errors.Is(err, vmhost.ErrUnavailable) {
		t.Errorf("Compile without a folder = %v, want ErrUnavailable", err)
	}
}
