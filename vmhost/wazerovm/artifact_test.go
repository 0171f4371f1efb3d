package wazerovm

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/tars-project/tars/vmhost/wasm"
)

// descriptions are good ones.
func descriptions() []description {
	return []description{
		{},
		{file: "wazero-v1/0f", unrestorable: "table.set"},
		{file: "f", tableEntries: 1 << 40, globals: []wasm.RestoreGlobal{{Export: "tars_global_0", Type: wasm.I32}, {Export: "é", Type: wasm.F64}}},
	}
}

// TestDescription: what is encoded is decoded, and nothing else is.
func TestDescription(t *testing.T) {
	for _, want := range descriptions() {
		b, err := want.encode()
		if err != nil {
			t.Fatalf("encode(%+v): %v", want, err)
		}
		if got, err := decodeDescription(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("decodeDescription = %+v, %v, want %+v", got, err, want)
		}
		for n := range b {
			if got, err := decodeDescription(b[:n]); err == nil {
				t.Errorf("decodeDescription of %d of %d bytes = %+v, want an error", n, len(b), got)
			}
		}
		if got, err := decodeDescription(append(b, 0)); err == nil {
			t.Errorf("decodeDescription with a byte more = %+v, want an error", got)
		}
	}
	for name, d := range map[string]description{
		"a long name":      {file: strings.Repeat("x", maxHeaderText+1)},
		"too many globals": {globals: make([]wasm.RestoreGlobal, maxHeaderGlobals+1)},
	} {
		if _, err := d.encode(); err == nil {
			t.Errorf("encode with %s succeeded", name)
		}
	}
}

// FuzzDescription: a header is refused, or is the one encoding of what it says.
func FuzzDescription(f *testing.F) {
	for _, d := range descriptions() {
		b, err := d.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDescription(b)
		if err != nil {
			return
		}
		again, err := d.encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("encode(%+v) = %x, %v, want %x", d, again, err, b)
		}
	})
}
