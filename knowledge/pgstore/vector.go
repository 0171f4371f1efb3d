package pgstore

import (
	"encoding/binary"
	"fmt"
	"math"
)

// sentVector is the SQL of a vector or halfvec as pgvector itself sends it: a third of
// the time of an array of float4 on both sides, and half its bytes.
func sentVector(column string) string { return "vector_send(" + column + "::vector)" }

// sentFloats reads what [sentVector] gives: the number of components and another of
// no meaning, 2 bytes each, and single precision numbers, most significant byte
// first.
type sentFloats []float32

// ScanBytes implements pgtype.BytesScanner. It is given nothing for NULL.
func (f *sentFloats) ScanBytes(b []byte) error {
	if b == nil {
		*f = nil
		return nil
	}
	const head, size = 4, 4
	if len(b) < head || len(b) != head+size*int(binary.BigEndian.Uint16(b)) {
		return fmt.Errorf("a vector of %d bytes", len(b))
	}
	*f = make([]float32, 0, (len(b)-head)/size)
	for rest := b[head:]; len(rest) > 0; rest = rest[size:] {
		*f = append(*f, math.Float32frombits(binary.BigEndian.Uint32(rest)))
	}
	return nil
}
