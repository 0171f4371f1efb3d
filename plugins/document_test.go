package plugins_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/plugins"
)

func TestParseManifest(t *testing.T) {
	const full = `{"limits":{"output_bytes":9,"wall_ms":1500,"memory_bytes":131072},"grants":["log","clock","log"],
		"capabilities":["synthesize","rank","rank"],"description":"Grüße","name":"my-plugin_1","abi":1}`
	want := plugins.Manifest{
		Name: "my-plugin_1", Description: "Grüße",
		Capabilities: []plugins.Capability{plugins.Rank, plugins.Synthesize},
		Grants:       []plugins.Grant{plugins.GrantClock, plugins.GrantLog},
		Limits:       plugins.Limits{Memory: 131072, Wall: 1500 * time.Millisecond, Output: 9},
	}
	got, err := plugins.ParseManifest([]byte(full))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseManifest = %+v, %v, want %+v", got, err, want)
	}
	const canonical = `{"abi":1,"name":"my-plugin_1","description":"Grüße","capabilities":["rank","synthesize"],"grants":["clock","log"],` +
		`"limits":{"memory_bytes":131072,"wall_ms":1500,"output_bytes":9}}`
	if document := string(got.Document()); document != canonical {
		t.Errorf("Document = %s, want %s", document, canonical)
	}
	if again, err := plugins.ParseManifest(got.Document()); err != nil || !reflect.DeepEqual(again, got) {
		t.Errorf("ParseManifest(Document) = %+v, %v, want the same", again, err)
	}
}

// TestManifestSamples: samples are kept as they are written, without white space,
// and a manifest without them has the document that it always had.
func TestManifestSamples(t *testing.T) {
	const full = `{"abi":1,"name":"p","capabilities":["rank"],"fresh_instances":true,
		"samples":[{"capability":"rank","input": {"b": 9007199254740993, "a": [1, null]} }]}`
	got, err := plugins.ParseManifest([]byte(full))
	want := plugins.Manifest{
		Name: "p", Capabilities: []plugins.Capability{plugins.Rank}, FreshInstances: true,
		Samples: []plugins.Sample{{Capability: plugins.Rank, Input: []byte(`{"b":9007199254740993,"a":[1,null]}`)}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseManifest = %+v, %v, want %+v", got, err, want)
	}
	const canonical = `{"abi":1,"name":"p","capabilities":["rank"],` +
		`"samples":[{"capability":"rank","input":{"b":9007199254740993,"a":[1,null]}}],"fresh_instances":true}`
	if document := string(got.Document()); document != canonical {
		t.Errorf("Document = %s, want %s", document, canonical)
	}
	if again, err := plugins.ParseManifest(got.Document()); err != nil || !reflect.DeepEqual(again, got) {
		t.Errorf("ParseManifest(Document) = %+v, %v, want the same", again, err)
	}
}

func TestParseManifestRefuses(t *testing.T) {
	// with is a good manifest with one member put in another's place.
	with := func(member, value string) string {
		members := map[string]string{"abi": "1", "name": `"p"`, "capabilities": `["rank"]`}
		members[member] = value
		var list []string
		for name, v := range members {
			list = append(list, `"`+name+`":`+v)
		}
		return "{" + strings.Join(list, ",") + "}"
	}
	for _, tc := range []struct{ name, document, field string }{
		{"good", with("abi", "1"), "ok"},
		{"nothing", "", "manifest"},
		{"null", "null", "manifest.abi"},
		{"a list", "[]", "manifest"},
		{"cut", `{"abi":1`, "manifest"},
		{"two", `{"abi":1} {"abi":1}`, "manifest"},
		{"trailing", with("abi", "1") + "x", "manifest"},
		{"unknown member", with("tenant", `"other"`), "manifest"},
		{"another case", with("Name", `"q"`), "manifest"},
		{"repeated member", `{"abi":1,"name":"p","name":"q","capabilities":["rank"]}`, "manifest"},
		{"bad UTF-8", with("description", "\"\xff\""), "manifest"},
		{"lone surrogate", with("description", `"\ud800"`), "manifest"},
		{"deep", strings.Repeat("[", 60_000), "manifest"},
		{"too large", with("description", `"`+strings.Repeat("d", plugins.MaxManifest)+`"`), "manifest"},
		{"abi 0", with("abi", "0"), "manifest.abi"},
		{"abi 2", with("abi", "2"), "manifest.abi"},
		{"abi of text", with("abi", `"1"`), "manifest"},
		{"abi fraction", with("abi", "1.5"), "manifest"},
		{"no name", with("name", `""`), "manifest.name"},
		{"name of a path", with("name", `"../p"`), "manifest.name"},
		{"capital name", with("name", `"P"`), "manifest.name"},
		{"long name", with("name", `"`+strings.Repeat("p", 64)+`"`), "manifest.name"},
		{"description of 2000", with("description", `"`+strings.Repeat("d", 2000)+`"`), "ok"},
		{"description of 2001", with("description", `"`+strings.Repeat("d", 2001)+`"`), "manifest.description"},
		{"description with NUL", with("description", `"\u0000"`), "manifest.description"},
		{"no capability", with("capabilities", `[]`), "manifest.capabilities"},
		{"null capabilities", with("capabilities", `null`), "manifest.capabilities"},
		{"unknown capability", with("capabilities", `["rank","mine-bitcoin"]`), "manifest.capabilities"},
		{"capability of number", with("capabilities", `[1]`), "manifest"},
		{"grant log", with("grants", `["log"]`), "ok"},
		{"sample", with("samples", `[{"capability":"rank","input":null}]`), "ok"},
		{"sample of another capability", with("samples", `[{"capability":"merge","input":{}}]`), "manifest.samples[0].capability"},
		{"sample without an input", with("samples", `[{"capability":"rank"}]`), "manifest.samples[0].input"},
		{"sample with a repeated member", with("samples", `[{"capability":"rank","input":{"a":1,"a":2}}]`), "manifest"},
		{"nine samples", with("samples", "["+strings.Repeat(`{"capability":"rank","input":1},`, 8)+`{"capability":"rank","input":1}]`), "manifest.samples"},
		{"grants of the store", with("grants", `["search","embed","vectors"]`), "ok"},
		{"unknown grant", with("grants", `["network"]`), "manifest.grants"},
		{"memory 0", with("limits", `{"memory_bytes":0}`), "ok"},
		{"memory negative", with("limits", `{"memory_bytes":-65536}`), "manifest.limits.memory_bytes"},
		{"memory no page", with("limits", `{"memory_bytes":65537}`), "manifest.limits.memory_bytes"},
		{"memory 2^64", with("limits", `{"memory_bytes":18446744073709551616}`), "manifest"},
		{"wall negative", with("limits", `{"wall_ms":-1}`), "manifest.limits.wall_ms"},
		{"wall 600 s", with("limits", `{"wall_ms":600000}`), "ok"},
		{"wall over 600 s", with("limits", `{"wall_ms":600001}`), "manifest.limits.wall_ms"},
		{"wall that overflows", with("limits", `{"wall_ms":18446744073710}`), "manifest.limits.wall_ms"},
		{"output negative", with("limits", `{"output_bytes":-1}`), "manifest.limits.output_bytes"},
		{"fuel negative", with("limits", `{"fuel":-1}`), "manifest.limits.fuel"},
		{"fuel 2^63-1", with("limits", `{"fuel":9223372036854775807}`), "ok"},
		{"CPU negative", with("limits", `{"cpu_ms":-1}`), "manifest.limits.cpu_ms"},
		{"CPU that overflows", with("limits", `{"cpu_ms":18446744073710}`), "manifest.limits.cpu_ms"},
		{"host calls negative", with("limits", `{"host_calls":-1}`), "manifest.limits.host_calls"},
		{"host bytes negative", with("limits", `{"host_bytes":-1}`), "manifest.limits.host_bytes"},
		{"host time over 600 s", with("limits", `{"host_ms":600001}`), "manifest.limits.host_ms"},
		{"all budgets", with("limits", `{"fuel":1,"cpu_ms":1,"host_calls":1,"host_bytes":1,"host_ms":1}`), "ok"},
		{"unknown limit", with("limits", `{"cpu":1}`), "manifest"},
	} {
		m, err := plugins.ParseManifest([]byte(tc.document))
		got := "ok"
		var invalid *knowledge.InvalidError
		if errors.As(err, &invalid) {
			got = invalid.Field
		} else if err != nil {
			got = err.Error()
		}
		if got != tc.field {
			t.Errorf("%s: ParseManifest = %v at %q, want %q", tc.name, err, got, tc.field)
		}
		if err != nil && !reflect.DeepEqual(m, plugins.Manifest{}) {
			t.Errorf("%s: ParseManifest gave %+v beside its error", tc.name, m)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%s: the error has %d bytes, want it not to repeat the document", tc.name, len(err.Error()))
		}
	}
}

func TestDigestOf(t *testing.T) {
	m := plugins.Manifest{Name: "p", Capabilities: []plugins.Capability{plugins.Rank}}
	module := []byte("\x00asm")
	digest := plugins.DigestOf(m, module)
	// As plugin.json in the wild pins it: 8 bytes of length, document, module.
	if want := "sha256:a52ffc8f5a370bfcae13a90fadbb1ba45a236934a48ad9348eff2e7fbefccbbd"; digest.String() != want {
		t.Errorf("DigestOf = %v, want %v", digest, want)
	}
	limited := m // from before there were budgets of fuel, CPU and host calls
	limited.Limits.Wall = time.Second
	if want := "sha256:63dd49532e1c4227daf878c06ddb29129e9db81a625fca583504ab1d9a444e60"; plugins.DigestOf(limited, module).String() != want {
		t.Errorf("DigestOf with limits = %v, want %v", plugins.DigestOf(limited, module), want)
	}
	reordered := m
	reordered.Capabilities = []plugins.Capability{plugins.Rank, plugins.Rank}
	reordered.Grants = []plugins.Grant{}
	if got := plugins.DigestOf(reordered, module); got != digest {
		t.Errorf("DigestOf the same manifest written otherwise = %v, want %v", got, digest)
	}
	seen := map[plugins.Digest]string{digest: "the first"}
	differ := func(name string, m plugins.Manifest, module []byte) {
		t.Helper()
		d := plugins.DigestOf(m, module)
		if other, twice := seen[d]; twice {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[d] = name
	}
	differ("another module", m, []byte("\x00asn"))
	differ("no module", m, nil)
	for name, change := range map[string]func(*plugins.Manifest){
		"name":         func(m *plugins.Manifest) { m.Name = "q" },
		"description":  func(m *plugins.Manifest) { m.Description = "d" },
		"capabilities": func(m *plugins.Manifest) { m.Capabilities = []plugins.Capability{plugins.Synthesize} },
		"grants":       func(m *plugins.Manifest) { m.Grants = []plugins.Grant{plugins.GrantLog} },
		"memory":       func(m *plugins.Manifest) { m.Limits.Memory = 65536 },
		"wall":         func(m *plugins.Manifest) { m.Limits.Wall = time.Second },
		"output":       func(m *plugins.Manifest) { m.Limits.Output = 1 },
		"fuel":         func(m *plugins.Manifest) { m.Limits.Fuel = 1 },
		"CPU":          func(m *plugins.Manifest) { m.Limits.CPU = time.Millisecond },
		"host calls":   func(m *plugins.Manifest) { m.Limits.HostCalls = 1 },
		"host bytes":   func(m *plugins.Manifest) { m.Limits.HostBytes = 1 },
		"host time":    func(m *plugins.Manifest) { m.Limits.HostTime = time.Millisecond },
	} {
		changed := m
		change(&changed)
		differ("another "+name, changed, module)
	}
	// The border between document and module cannot be moved.
	document := m.Document()
	differ("a module that begins with the document", m, append(bytes.Clone(document), module...))
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"abi":1,"name":"p","capabilities":["rank"]}`))
	f.Add([]byte(`{"abi":1,"name":"p","description":"é","capabilities":["synthesize","rank"],"grants":["log"],"limits":{"memory_bytes":65536,"wall_ms":1,"output_bytes":1}}`))
	f.Add([]byte(`{"abi":1,"name":"p","name":"q"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := plugins.ParseManifest(data)
		if err != nil {
			if !errors.Is(err, knowledge.ErrInvalid) {
				t.Errorf("ParseManifest(%q) = %v, want ErrInvalid", data, err)
			}
			return
		}
		document := m.Document()
		again, err := plugins.ParseManifest(document)
		if err != nil || !bytes.Equal(again.Document(), document) || plugins.DigestOf(again, nil) != plugins.DigestOf(m, nil) {
			t.Errorf("ParseManifest(%q) = %+v, whose document %s is read as %+v, %v", data, m, document, again, err)
		}
	})
}
