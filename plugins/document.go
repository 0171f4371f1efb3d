package plugins

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge"
)

// Bounds of a manifest.
const (
	MaxManifest    = 64 << 10 // bytes of plugin.json
	MaxSamples     = 8
	maxDescription = 2000 // bytes
	maxWall        = 10 * time.Minute
)

// manifestDocument is plugin.json. Members stand in the order of the canonical
// form.
type manifestDocument struct {
	ABI          int            `json:"abi"`
	Name         string         `json:"name"`
	Description  string         `json:"description,omitempty"`
	Capabilities []Capability   `json:"capabilities"`
	Grants       []Grant        `json:"grants,omitempty"`
	Limits       limitsDocument `json:"limits,omitzero"`

	Samples        []sampleDocument `json:"samples,omitempty"`
	FreshInstances bool             `json:"fresh_instances,omitzero"`
}

type sampleDocument struct {
	Capability Capability     `json:"capability"`
	Input      jsontext.Value `json:"input"`
}

type limitsDocument struct {
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	WallMS      int64 `json:"wall_ms,omitempty"`
	OutputBytes int64 `json:"output_bytes,omitempty"`
	Fuel        int64 `json:"fuel,omitzero"`
	CPUMS       int64 `json:"cpu_ms,omitzero"`
	HostCalls   int   `json:"host_calls,omitzero"`
	HostBytes   int64 `json:"host_bytes,omitzero"`
	HostMS      int64 `json:"host_ms,omitzero"`
}

// limits are those of the document. Its times must be within [maxWall].
func (d limitsDocument) limits() Limits {
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	return Limits{
		Memory: d.MemoryBytes, Wall: ms(d.WallMS), Output: d.OutputBytes, Fuel: d.Fuel, CPU: ms(d.CPUMS),
		HostCalls: d.HostCalls, HostBytes: d.HostBytes, HostTime: ms(d.HostMS),
	}
}

// checkTimes refuses times that would overflow, or lose a fraction, on the way
// between document and manifest.
func (d limitsDocument) checkTimes() error {
	for _, t := range []struct {
		name string
		ms   int64
	}{{"wall_ms", d.WallMS}, {"cpu_ms", d.CPUMS}, {"host_ms", d.HostMS}} {
		if t.ms < 0 || t.ms > maxWall.Milliseconds() {
			return knowledge.Invalid("limits."+t.name, "is %d; need 1 to %d, or none for the default", t.ms, maxWall.Milliseconds())
		}
	}
	return nil
}

// document is the limits as the manifest has them.
func (l Limits) document() limitsDocument {
	return limitsDocument{
		MemoryBytes: l.Memory, WallMS: l.Wall.Milliseconds(), OutputBytes: l.Output, Fuel: l.Fuel, CPUMS: l.CPU.Milliseconds(),
		HostCalls: l.HostCalls, HostBytes: l.HostBytes, HostMS: l.HostTime.Milliseconds(),
	}
}

// ParseManifest reads plugin.json strictly: unknown and repeated members are
// refused. It returns a *[knowledge.InvalidError] that names the member.
func ParseManifest(data []byte) (Manifest, error) {
	if len(data) > MaxManifest {
		return Manifest{}, knowledge.Invalid("manifest", "has %d bytes; at most %d are allowed", len(data), MaxManifest)
	}
	var d manifestDocument
	if err := json.Unmarshal(data, &d, json.RejectUnknownMembers(true)); err != nil {
		return Manifest{}, knowledge.Invalid("manifest", "is not a plugin manifest: %s", jsonFault(err))
	}
	m := Manifest{
		Name: Name(d.Name), Description: d.Description,
		Capabilities: sortedSet(d.Capabilities), Grants: sortedSet(d.Grants),
		Limits: d.Limits.limits(),
	}
	m.FreshInstances = d.FreshInstances
	for i, sample := range d.Samples {
		if err := sample.Input.Compact(); err != nil { // also what was left out
			return Manifest{}, knowledge.Invalid(fmt.Sprintf("manifest.samples[%d].input", i), "is not a JSON value")
		}
		m.Samples = append(m.Samples, Sample{sample.Capability, sample.Input})
	}
	if d.ABI != ABI {
		return Manifest{}, knowledge.Invalid("manifest.abi", "is %d; this server speaks %d", d.ABI, ABI)
	}
	if err := d.Limits.checkTimes(); err != nil {
		return Manifest{}, knowledge.At("manifest", err)
	}
	if err := m.validate(); err != nil {
		return Manifest{}, knowledge.At("manifest", err)
	}
	return m, nil
}

func (m Manifest) validate() error {
	if _, err := ParseName(string(m.Name)); err != nil {
		return knowledge.At("name", err)
	}
	if len(m.Description) > maxDescription {
		return knowledge.Invalid("description", "has %d bytes; at most %d are allowed", len(m.Description), maxDescription)
	}
	if err := knowledge.CheckText(m.Description); err != nil {
		return knowledge.At("description", err)
	}
	if len(m.Capabilities) == 0 {
		return knowledge.Invalid("capabilities", "is empty; need at least one of %s", words(capabilities))
	}
	for _, c := range m.Capabilities {
		if !slices.Contains(capabilities, c) {
			return knowledge.Invalid("capabilities", "has an unknown entry; need some of %s", words(capabilities))
		}
	}
	for _, g := range m.Grants {
		if !slices.Contains(offered, g) {
			return knowledge.Invalid("grants", "has an entry that this server does not offer; need some of %s", words(offered))
		}
	}
	if len(m.Samples) > MaxSamples {
		return knowledge.Invalid("samples", "has %d entries; at most %d are allowed", len(m.Samples), MaxSamples)
	}
	for i, s := range m.Samples {
		if !slices.Contains(m.Capabilities, s.Capability) {
			return knowledge.Invalid(fmt.Sprintf("samples[%d].capability", i), "is not one of the manifest's capabilities; need one of %s", words(m.Capabilities))
		}
	}
	return knowledge.At("limits", m.Limits.validate())
}

func (l Limits) validate() error {
	if l.Memory < 0 || l.Memory%(64<<10) != 0 {
		return knowledge.Invalid("memory_bytes", "is %d; need a positive multiple of 65536, or none for the default", l.Memory)
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"output_bytes", l.Output},
		{"fuel", l.Fuel},
		{"host_calls", int64(l.HostCalls)},
		{"host_bytes", l.HostBytes},
	} {
		if n.value < 0 {
			return knowledge.Invalid(n.name, "is %d; need a positive number, or none for the default", n.value)
		}
	}
	for _, t := range []struct {
		name  string
		value time.Duration
	}{{"wall_ms", l.Wall}, {"cpu_ms", l.CPU}, {"host_ms", l.HostTime}} {
		if t.value < 0 || t.value > maxWall || t.value%time.Millisecond != 0 {
			return knowledge.Invalid(t.name, "is %s; need 1 to %d, or none for the default", t.value, maxWall.Milliseconds())
		}
	}
	return nil
}

// Document returns the manifest in canonical form: the same manifest gives the
// same bytes.
func (m Manifest) Document() []byte {
	var samples []sampleDocument
	for _, s := range m.Samples {
		samples = append(samples, sampleDocument{s.Capability, s.Input})
	}
	data, err := json.Marshal(manifestDocument{
		Samples: samples, FreshInstances: m.FreshInstances,
		ABI: ABI, Name: string(m.Name), Description: m.Description,
		Capabilities: sortedSet(m.Capabilities), Grants: sortedSet(m.Grants),
		Limits: m.Limits.document(),
	}, json.Deterministic(true))
	if err != nil {
		panic(fmt.Sprintf("plugins: a manifest of strings and numbers did not encode: %v", err)) // Unreachable: validate refuses bad UTF-8
	}
	return data
}

// capabilities and offered are what a manifest may name.
var (
	capabilities = []Capability{Rank, Merge, Guard, Synthesize, Chunk, Reason, Heal, Coordinate}
	offered      = []Grant{GrantSearch, GrantEmbed, GrantVectors, GrantLog, GrantClock}
)

func words[S ~string](all []S) string {
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = string(s)
	}
	return strings.Join(texts, ", ")
}

func sortedSet[S ~string](all []S) []S { return slices.Compact(slices.Sorted(slices.Values(all))) }
