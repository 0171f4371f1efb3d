package guests_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const hostModule = "tars:plugin/host@0.1.0"

// manifest is what a guest says of itself.
type manifest struct {
	ABI          int      `json:"abi"`
	Name         string   `json:"name"`
	Description  string   `json:"description"`
	Capabilities []string `json:"capabilities"`
	Grants       []string `json:"grants"`
	Limits       struct {
		MemoryBytes int64 `json:"memory_bytes"`
		WallMS      int64 `json:"wall_ms"`
		OutputBytes int64 `json:"output_bytes"`
	} `json:"limits"`
}

// guests returns the folders of the guests: those with a main.go.
func guests(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*/main.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, filepath.Dir(f))
	}
	if want := []string{"asker", "cited", "dedupe", "echo", "flood", "guardian", "hog", "liar", "loop", "paragraphs", "rerank", "state", "trap"}; !slices.Equal(names, want) {
		t.Fatalf("the guests are %v, want %v", names, want)
	}
	return names
}

func readManifest(t *testing.T, guest string) manifest {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(guest, "plugin.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("manifest of %s: %v", guest, err)
	}
	return m
}

func TestManifests(t *testing.T) {
	for _, guest := range guests(t) {
		m := readManifest(t, guest)
		if m.ABI != 1 || m.Name != guest || m.Description == "" {
			t.Errorf("%s has the manifest %+v, want abi 1, its name and a description", guest, m)
		}
		want, ok := map[string][]string{
			"cited": {"rank", "synthesize"}, "state": {"rank", "synthesize"},
			"dedupe": {"merge"}, "guardian": {"guard"}, "paragraphs": {"chunk"}, "rerank": {"rank"},
		}[guest]
		if !ok { // of the cast for tests
			want = []string{"guard", "merge", "rank", "synthesize"}
		}
		if !slices.Equal(m.Capabilities, want) {
			t.Errorf("%s has the capabilities %v, want %v", guest, m.Capabilities, want)
		}
		if m.Limits.MemoryBytes <= 0 || m.Limits.WallMS <= 0 || m.Limits.OutputBytes <= 0 {
			t.Errorf("%s has the limits %+v, want each above 0", guest, m.Limits)
		}
	}
}

// TestModules builds each guest and holds its module to the contract: the
// world's exports, of the host no more imports than its manifest has grants
// for, and of others those of WASI alone.
func TestModules(t *testing.T) {
	for _, guest := range guests(t) {
		t.Run(guest, func(t *testing.T) {
			imports, exports := build(t, guest)
			for _, want := range []string{"memory", "handle", "cabi_realloc", "cabi_post_handle", "_initialize"} {
				if !slices.Contains(exports, want) {
					t.Errorf("%s exports %v, want %s among them", guest, exports, want)
				}
			}
			var grants []string
			for _, i := range imports {
				module, name, _ := strings.Cut(i, " ")
				switch module {
				case hostModule:
					grants = append(grants, name)
				case "wasi_snapshot_preview1":
				default:
					t.Errorf("%s imports %s, want the host and WASI alone", guest, i)
				}
			}
			slices.Sort(grants)
			if want := readManifest(t, guest).Grants; !slices.Equal(grants, want) {
				t.Errorf("%s imports %v of the host, want what its manifest asks for: %v", guest, grants, want)
			}
		})
	}
}

// build compiles a guest and lists what its module imports and exports.
func build(t *testing.T, guest string) (imports, exports []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), guest+".wasm")
	c := exec.Command("go", "build", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w", "-o", file, "./"+guest)
	c.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go build of %s: %v\n%s", guest, err, out)
	}
	module, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const header = 8 // magic and version
	r := reader{module[header:]}
	for len(r.rest) > 0 {
		id, section := r.byte(), reader{r.bytes(r.number())}
		switch id {
		case 2:
			imports = section.list(func() string { return section.name() + " " + section.name() + section.skipImport() })
		case 7:
			exports = section.list(func() string { return section.name() + section.skipExport() })
		}
	}
	return imports, exports
}

// reader reads the binary format of a module that the Go linker wrote.
type reader struct{ rest []byte }

func (r *reader) byte() byte { return r.bytes(1)[0] }

func (r *reader) bytes(n uint64) []byte {
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// number reads a LEB128 number.
func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.bytes(uint64(n))
	return v
}

func (r *reader) name() string { return string(r.bytes(r.number())) }

func (r *reader) list(element func() string) []string {
	out := make([]string, r.number())
	for i := range out {
		out[i] = element()
	}
	return out
}

// skipImport skips what follows an import's names. Go imports functions only.
func (r *reader) skipImport() string {
	if kind := r.byte(); kind != 0 {
		panic(fmt.Sprintf("an import of kind %d, want a function", kind))
	}
	r.number()
	return ""
}

func (r *reader) skipExport() string {
	r.byte()
	r.number()
	return ""
}
