package wire

import (
	"time"

	"github.com/tars-project/tars/vmhost"
)

// Compile asks a cell that was started for it to compile a module. Whose the
// module is does not enter the cell.
type Compile struct {
	Remaining time.Duration // time left for it
	Memory    int64         // of a guest, as in vmhost.Limits; so are Tables and Stack
	Tables    int64
	Stack     int64
	Room      int64 // most bytes of code
	Digest    vmhost.Digest
	Module    []byte // not copied
}

// Append appends the encoded message, without the module, to b. The module
// follows as the rest of the body.
func (m Compile) Append(b []byte) []byte {
	for _, v := range [...]int64{int64(m.Remaining), m.Memory, m.Tables, m.Stack, m.Room} {
		b = appendI64(b, v)
	}
	return append(b, m.Digest[:]...)
}

// DecodeCompile decodes a Compile. Its module is part of body.
func DecodeCompile(body []byte) (Compile, error) {
	f := fields{b: body}
	m := Compile{Remaining: time.Duration(f.i64()), Memory: f.i64(), Tables: f.i64(), Stack: f.i64(), Room: f.i64()}
	copy(m.Digest[:], f.take(len(m.Digest)))
	m.Module = f.rest()
	return m, f.end("compile")
}

// MaxArtifactName bounds the name of an artifact's file, bytes. What is in the
// name is not looked at here.
const MaxArtifactName = 256

// ArtifactOverhead is what an [Artifact] needs besides its module and its code.
const ArtifactOverhead = vmhost.MaxArtifactHeader + MaxArtifactName + 64

// AppendArtifact appends an artifact, without its code, to b. The code follows as
// the rest of the body.
func AppendArtifact(b []byte, a vmhost.Artifact) []byte {
	b = appendText(b, a.Name, MaxArtifactName)
	b = appendBytes(b, a.Header)
	return appendBytes(b, a.Module)
}

// DecodeArtifact decodes an artifact. Its parts but the name are parts of body.
func DecodeArtifact(body []byte) (vmhost.Artifact, error) {
	f := fields{b: body}
	a := vmhost.Artifact{Name: f.text(MaxArtifactName), Header: f.bytes(vmhost.MaxArtifactHeader)}
	a.Module, a.Code = f.bytes(len(f.b)), f.rest()
	return a, f.end("artifact")
}
