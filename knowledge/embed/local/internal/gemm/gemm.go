// Package gemm multiplies small matrices of float32, as an encoder needs it: a few
// rows by a matrix of weights that are kept in 8 bits.
//
// What a row becomes depends on that row alone, never on how many others there are
// or where it stands among them: one machine gives the same bits in every batch.
// Machines with and without a fused multiply-add differ in the last bits.
package gemm

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Lanes is how many columns are computed at once: those of a panel.
const Lanes = 16

// block is how many rows are computed at once.
const block = 6

// Panel is Lanes columns of a matrix, row after row: k x Lanes numbers.
type Panel []float32

// Affine is what is done to each column of a product: times Scale, plus Bias.
type Affine struct{ Scale, Bias [Lanes]float32 }

// Padding is room for fewer rows than a block has. It grows to what it is used for.
type Padding struct{ x, y []float32 }

// Multiply sets y[i*yStride+j] to a.Scale[j] * (x[i*xStride:][:k] · column j of p) +
// a.Bias[j], for each of the rows i and of the Lanes columns j. y must not overlap x.
func Multiply(rows, k int, x []float32, xStride int, p Panel, y []float32, yStride int, a *Affine, pad *Padding) {
	_ = p[k*Lanes-1]
	_, _ = x[(rows-1)*xStride+k-1], y[(rows-1)*yStride+Lanes-1]
	if rows < block {
		multiplyFew(rows, k, x, xStride, p, y, yStride, a, pad)
		return
	}
	i := 0
	for ; i+block <= rows; i += block {
		kernel(k, x[i*xStride:], xStride, p, y[i*yStride:], yStride, a)
	}
	if i < rows { // once more from some row before, which gives the same again
		i = rows - block
		kernel(k, x[i*xStride:], xStride, p, y[i*yStride:], yStride, a)
	}
}

// multiplyFew computes a whole block and keeps the rows that there are.
func multiplyFew(rows, k int, x []float32, xStride int, p Panel, y []float32, yStride int, a *Affine, pad *Padding) {
	if len(pad.x) < block*k {
		pad.x = make([]float32, block*k)
	}
	if pad.y == nil {
		pad.y = make([]float32, block*Lanes)
	}
	for i := range rows {
		copy(pad.x[i*k:(i+1)*k], x[i*xStride:])
	}
	kernel(k, pad.x, k, p, pad.y, Lanes, a)
	for i := range rows {
		copy(y[i*yStride:i*yStride+Lanes], pad.y[i*Lanes:])
	}
}

// multiplyGeneric is what the kernels do, in Go.
func multiplyGeneric(k int, x []float32, xStride int, p Panel, y []float32, yStride int, a *Affine) {
	for i := range block {
		var sum [Lanes]float32
		row := x[i*xStride : i*xStride+k]
		for j, v := range row {
			w := (*[Lanes]float32)(p[j*Lanes:])
			for c := range sum {
				sum[c] += v * w[c]
			}
		}
		out := (*[Lanes]float32)(y[i*yStride:])
		for c := range out {
			out[c] = a.Scale[c]*sum[c] + a.Bias[c]
		}
	}
}

// widenGeneric is what widen does, in Go.
func widenGeneric(into []float32, weights string) {
	into = into[:len(weights)]
	for i := range into {
		into[i] = float32(int8(weights[i]))
	}
}

// Matrix is a matrix of weights in 8 bits, a scale for each column, with what is
// added to each column. Immutable.
type Matrix struct {
	in, out int
	weights string // panels one after the other, int8
	affine  []Affine
}

// In is its number of rows.
func (m *Matrix) In() int { return m.in }

// Out is its number of columns, a multiple of [Lanes].
func (m *Matrix) Out() int { return m.out }

// Encode appends the form that [Decode] reads of a matrix, given row after row: one
// column after the other is scaled so that its largest weight is 127. bias gives what
// is added to a column, and may look at what has become of its weights. out must be a
// multiple of [Lanes].
func Encode(data []byte, weights []float32, in, out int, bias func(column int, quantised []float32) float32) []byte {
	quantised := make([]int8, in*out)
	scales, biases := make([]byte, 0, 4*out), make([]byte, 0, 4*out)
	column := make([]float32, in)
	for j := range out {
		largest := 0.0
		for i := range in {
			largest = max(largest, math.Abs(float64(weights[i*out+j])))
		}
		scale := float32(largest / 127)
		for i := range in {
			if scale > 0 {
				quantised[(j/Lanes)*in*Lanes+i*Lanes+j%Lanes] = int8(math.RoundToEven(float64(weights[i*out+j] / scale)))
			}
			column[i] = scale * float32(quantised[(j/Lanes)*in*Lanes+i*Lanes+j%Lanes])
		}
		scales = binary.LittleEndian.AppendUint32(scales, math.Float32bits(scale))
		biases = binary.LittleEndian.AppendUint32(biases, math.Float32bits(bias(j, column)))
	}
	data = append(append(data, scales...), biases...)
	for _, q := range quantised {
		data = append(data, byte(q))
	}
	return data
}

// Decode returns the matrix at the beginning of data, which it keeps and shares, and
// the rest of data. The form, little-endian: out scales and out biases as float32,
// then in x out weights as int8, panels one after the other.
func Decode(data string, in, out int) (m *Matrix, rest string, err error) {
	if size := 8*out + in*out; in < 1 || out < Lanes || out%Lanes != 0 || len(data) < size {
		return nil, data, fmt.Errorf("matrix of %d x %d: %d bytes are too few, or sizes are wrong", in, out, len(data))
	}
	m = &Matrix{in: in, out: out, affine: make([]Affine, out/Lanes), weights: data[8*out : 8*out+in*out]}
	for j := range out {
		a := &m.affine[j/Lanes]
		a.Scale[j%Lanes], a.Bias[j%Lanes] = Float(data[4*j:]), Float(data[4*out+4*j:])
	}
	return m, data[8*out+in*out:], nil
}

// Float is the little-endian float32 at the beginning of data.
func Float(data string) float32 {
	_ = data[3]
	return math.Float32frombits(uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24)
}

// Scratch is what multiplying by matrices works with; it grows to what it is used
// for. One goroutine at a time.
type Scratch struct {
	Padding
	panel []float32
}

// Multiply sets rows of m.Out() numbers of y to the product of rows of m.In() numbers
// of x with the matrix, its biases added. y must not overlap x.
func (m *Matrix) Multiply(rows int, x, y []float32, s *Scratch) {
	size := m.in * Lanes
	if len(s.panel) < size {
		s.panel = make([]float32, size)
	}
	for j := range m.affine {
		widen(s.panel[:size], m.weights[j*size:(j+1)*size])
		Multiply(rows, m.in, x, m.in, s.panel[:size], y[j*Lanes:], m.out, &m.affine[j], &s.Padding)
	}
}
