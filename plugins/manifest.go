package plugins

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// ABI is the version of the documents and the interface between host and
// guest; see plugins/wit.
const ABI = 1

// Capability is what a plugin may be called for.
type Capability string

// The capabilities. A query calls Rank and Synthesize; each may be invoked by
// itself.
const (
	Rank       Capability = "rank"       // orders the candidates of a query
	Merge      Capability = "merge"      // fuses the legs of a query
	Guard      Capability = "guard"      // narrows or redacts
	Synthesize Capability = "synthesize" // writes an answer with citations
	Chunk      Capability = "chunk"      // cuts a document into passages
	Reason     Capability = "reason"     // decides on a situation
	Heal       Capability = "heal"       // proposes actions for an issue
	Coordinate Capability = "coordinate" // plans calls of other plugins
)

// Manifest is what an author declares of a plugin: plugin.json.
type Manifest struct {
	Name         Name
	Description  string // up to 2,000 bytes
	Capabilities []Capability
	Grants       []Grant // host functions that it may call
	Limits       Limits
	Samples      []Sample // at most MaxSamples
	// FreshInstances gives every call a new instance of the module, where
	// otherwise it is put back at an image: for a plugin that must not begin
	// with what another run of its initialisation made, such as a secret.
	FreshInstances bool
}

// Grant is a host function that a plugin may call.
type Grant string

// The grants. "clock" shows the true time instead of a fixed one.
const (
	GrantSearch  Grant = "search"
	GrantEmbed   Grant = "embed"
	GrantVectors Grant = "vectors"
	GrantLog     Grant = "log"
	GrantClock   Grant = "clock"
)

// Limits are the caps of one call that a manifest asks for. Zero means the
// node's default, or what the tenant's policy allows if that is less. More than
// the policy allows is refused at upload.
type Limits struct {
	Memory int64         // linear memory, bytes
	Wall   time.Duration // of one call
	Output int64         // bytes
	Fuel   int64         // what its instructions may cost
	CPU    time.Duration // processor time, host calls excluded
	// Calls of search, embed and vectors: how many, bytes of their arguments
	// and answers together, time in them all.
	HostCalls int
	HostBytes int64
	HostTime  time.Duration
}

// Inspection is what was found in a module at upload.
type Inspection struct {
	ModuleDigest vmhost.Digest // SHA-256 of the module's bytes alone
	Imports      []string      // "module name"
	Exports      []string
	Functions    int
	MemoryPages  uint32   // at the start, 64 KiB each
	Features     []string // of WebAssembly beyond 1.0
	Toolchain    string   // as the module names it; empty when it does not
}

// DigestOf pins a version: SHA-256 of the length of the manifest document as 8
// bytes, little endian, then that document in canonical form, then the module.
func DigestOf(m Manifest, module []byte) Digest {
	document := m.Document()
	h := sha256.New()
	_ = binary.Write(h, binary.LittleEndian, uint64(len(document)))
	h.Write(document)
	h.Write(module)
	return Digest(h.Sum(nil))
}
