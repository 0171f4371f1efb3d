package wazerovm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tars-project/tars/vmhost/wasm"
)

// description is what an artifact's header says of it.
type description struct {
	file         string // of the code, relative to the folder that the engine gets
	unrestorable string // as in wasm.Metered
	tableEntries int64  // the same
	globals      []wasm.RestoreGlobal
}

// describe takes over from a metered module what its loader needs.
func describe(m *wasm.Metered, file string) description {
	return description{file: file, unrestorable: m.Unrestorable, tableEntries: m.TableEntries, globals: m.Globals}
}

// headerVersion is the first byte of a header. A change to the format changes it
// and [EngineVersion], which names it.
const headerVersion = 2

// Bounds of a header's parts, above all that the meter gives.
const (
	maxHeaderText    = 1 << 10 // bytes of each text
	maxHeaderGlobals = 1 << 14
	maxHeaderNumber  = 1 << 40 // so that sums and products with small numbers do not wrap
	headerText       = 2       // bytes before each text: its length
	minHeaderGlobal  = 2 + 1   // bytes of a global without its name
)

var errHeader = errors.New("malformed header of an artifact")

// encode writes the header: version, then the fields in order. Texts have their
// length before them, numbers are little-endian.
func (d description) encode() ([]byte, error) {
	if len(d.globals) > maxHeaderGlobals {
		return nil, fmt.Errorf("%d globals, the most is %d", len(d.globals), maxHeaderGlobals)
	}
	b := []byte{headerVersion}
	texts := []string{d.file, d.unrestorable}
	for _, g := range d.globals {
		texts = append(texts, g.Export)
	}
	for _, s := range texts {
		if len(s) > maxHeaderText {
			return nil, fmt.Errorf("a text of %d bytes, the most is %d", len(s), maxHeaderText)
		}
	}
	b = appendHeaderText(b, d.file)
	b = appendHeaderText(b, d.unrestorable)
	b = binary.LittleEndian.AppendUint64(b, uint64(d.tableEntries))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(d.globals)))
	for _, g := range d.globals {
		b = append(appendHeaderText(b, g.Export), byte(g.Type))
	}
	return b, nil
}

func appendHeaderText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(s))), s...)
}

// decodeDescription is the inverse of encode. Each description has one encoding.
func decodeDescription(header []byte) (description, error) {
	r := headerReader{b: header}
	if r.take(1)[0] != headerVersion {
		return description{}, errHeader
	}
	d := description{file: r.text(), unrestorable: r.text(), tableEntries: r.number()}
	count := int(binary.LittleEndian.Uint16(r.take(2)))
	if r.bad || count > maxHeaderGlobals || count*minHeaderGlobal > len(r.b) {
		return description{}, errHeader
	}
	if count > 0 {
		d.globals = make([]wasm.RestoreGlobal, count)
	}
	for i := range d.globals {
		g := wasm.RestoreGlobal{Export: r.text(), Type: wasm.ValueType(r.take(1)[0])}
		switch g.Type {
		case wasm.I32, wasm.I64, wasm.F32, wasm.F64:
		default:
			return description{}, errHeader
		}
		d.globals[i] = g
	}
	if r.bad || len(r.b) > 0 {
		return description{}, errHeader
	}
	return d, nil
}

// headerReader reads a header field by field. After the first field that is not
// there all are zero.
type headerReader struct {
	b   []byte
	bad bool
}

// take returns the next n bytes, zero if they are not there.
func (r *headerReader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return make([]byte, n)
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

// number takes a number that is not negative.
func (r *headerReader) number() int64 {
	n := int64(binary.LittleEndian.Uint64(r.take(8)))
	r.bad = r.bad || n < 0 || n > maxHeaderNumber
	return n
}

func (r *headerReader) text() string {
	n := int(binary.LittleEndian.Uint16(r.take(headerText)))
	if n > maxHeaderText {
		r.bad = true
		return ""
	}
	p := r.take(n)
	r.bad = r.bad || !utf8.Valid(p)
	return string(p)
}
