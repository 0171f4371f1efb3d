// Package encoder makes vectors of sentences: it is the Universal Sentence Encoder
// Lite (Cer et al., 2018), a transformer of two layers over pieces of words.
//
// The graph, as the published model has it: the vector of a piece, taken twice, plus
// a timing signal of its position; a dense entry from 256 to 512 numbers; two layers
// with the norm before attention and before the feed-forward network, of which the
// first reads 256 numbers and the second 512, each with four heads; the mean over the
// pieces, a dense layer of 512 with tanh; length 1.
package encoder

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/tars-project/tars/knowledge/embed/local/internal/gemm"
)

// Sizes.
const (
	Dimension = 512  // of a sentence's vector
	MaxPieces = 128  // that a sentence may have
	Pieces    = 8002 // that there are: ids are 0 to Pieces-1

	width  = 256 // of a piece's vector
	inner  = 1536
	heads  = 4
	layers = 2
)

const magic = "TARSENC1"

// Model is the encoder. Immutable, so safe for concurrent use; it reads the weights
// where they are.
type Model struct {
	table  string    // Pieces rows of width, int8
	scales []float32 // of the rows
	timing []float32 // MaxPieces rows of width
	entry  *gemm.Matrix
	layer  [layers]layer
	exit   *gemm.Matrix
}

// layer is one of the transformer's.
type layer struct {
	width                      int // of what it reads
	attentionNorm, forwardNorm norm
	qkv, output, first, second *gemm.Matrix
}

// norm is a layer norm: scale and bias of each number.
type norm struct{ scale, bias []float32 }

// Open returns the model whose form is data, which it keeps and shares. The form:
//
//	magic                8 bytes
//	scales of pieces     Pieces x float32
//	pieces               Pieces x width x int8
//	frequencies          width/2 x float32: of the timing signal
//	entry                a matrix as gemm has it
//	for each layer       two norms, scales and then biases, as float32, of attention
//	                     and of the network; matrices: queries, keys and values,
//	                     output, the network's first and second
//	exit                 a matrix
func Open(data string) (*Model, error) {
	r := reader{data: data}
	if r.take(len(magic)) != magic {
		return nil, errors.New("encoder: not its data")
	}
	m := &Model{scales: r.floats(Pieces), table: r.take(Pieces * width)}
	frequencies := r.floats(width / 2)
	m.entry = r.matrix(width, Dimension)
	for i := range m.layer {
		l := &m.layer[i]
		if l.width = width; i > 0 {
			l.width = Dimension
		}
		l.attentionNorm = norm{r.floats(l.width), r.floats(l.width)}
		l.forwardNorm = norm{r.floats(Dimension), r.floats(Dimension)}
		l.qkv, l.output = r.matrix(l.width, 3*l.width), r.matrix(l.width, Dimension)
		l.first, l.second = r.matrix(Dimension, inner), r.matrix(inner, Dimension)
	}
	m.exit = r.matrix(Dimension, Dimension)
	if r.err == nil && r.data != "" {
		r.err = fmt.Errorf("%d bytes after the end", len(r.data))
	}
	if r.err != nil {
		return nil, fmt.Errorf("encoder: %w", r.err)
	}
	m.timing = timingOf(frequencies)
	return m, nil
}

// timingOf is the timing signal: sines, then cosines, of position times frequency.
func timingOf(frequencies []float32) []float32 {
	timing := make([]float32, MaxPieces*width)
	for position := range MaxPieces {
		row := timing[position*width : (position+1)*width]
		for i, f := range frequencies {
			sin, cos := math.Sincos(float64(float32(position) * f))
			row[i], row[width/2+i] = float32(sin), float32(cos)
		}
	}
	return timing
}

// reader takes one thing after another from data; after an error, nothing.
type reader struct {
	data string
	err  error
}

func (r *reader) take(n int) string {
	if r.err == nil && len(r.data) < n {
		r.err = errors.New("data end too early")
	}
	if r.err != nil {
		return ""
	}
	part := r.data[:n]
	r.data = r.data[n:]
	return part
}

func (r *reader) floats(n int) []float32 {
	part := r.take(4 * n)
	all := make([]float32, len(part)/4)
	for i := range all {
		all[i] = gemm.Float(part[4*i:])
	}
	return all
}

func (r *reader) matrix(in, out int) *gemm.Matrix {
	if r.err != nil {
		return nil
	}
	var m *gemm.Matrix
	m, r.data, r.err = gemm.Decode(r.data, in, out)
	return m
}

// Encode appends the vectors of sentences, Dimension numbers each, to into. A
// sentence is 1 to MaxPieces ids of pieces; of a longer one the rest is not read. All
// of them go through the model together, so their pieces together bound w's memory
// (about 14 KB for one); what becomes of one does not depend on the others. It
// returns ctx's error when that ends first, within some milliseconds for a thousand
// pieces.
func (m *Model) Encode(ctx context.Context, sentences [][]int32, into []float32, w *Workspace) ([]float32, error) {
	w.begin(sentences)
	if w.rows == 0 {
		return into, nil
	}
	m.read(sentences, w)
	m.entry.Multiply(w.rows, w.x, w.y, &w.Scratch)
	in := w.x
	for i := range m.layer {
		if err := ctx.Err(); err != nil {
			return into, err
		}
		m.layer[i].apply(in, w)
		in = w.y
	}
	pooled := w.pool()
	n := len(w.ends)
	m.exit.Multiply(n, pooled, w.hidden, &w.Scratch)
	for i := range n {
		into = appendUnit(into, w.hidden[i*Dimension:(i+1)*Dimension])
	}
	return into, nil
}

// read puts the pieces' vectors into x.
func (m *Model) read(sentences [][]int32, w *Workspace) {
	row := 0
	for _, s := range sentences {
		for position, id := range s[:min(len(s), MaxPieces)] {
			vector, scale := m.table[int(id)*width:(int(id)+1)*width], 2*m.scales[id]
			timing := m.timing[position*width : (position+1)*width]
			out := w.x[row*width : (row+1)*width]
			for i := range out {
				out[i] = scale*float32(int8(vector[i])) + timing[i]
			}
			row++
		}
	}
}

// apply reads x, and adds to y; x may be y.
func (l *layer) apply(x []float32, w *Workspace) {
	l.attentionNorm.apply(x, w.hidden, w.rows)
	l.qkv.Multiply(w.rows, w.hidden, w.wide, &w.Scratch)
	start := 0
	for _, end := range w.ends {
		w.attend(start, end, l.width)
		start = end
	}
	l.output.Multiply(w.rows, w.hidden, w.narrow, &w.Scratch)
	add(w.y, w.narrow, w.rows*Dimension)
	l.forwardNorm.apply(w.y, w.hidden, w.rows)
	l.first.Multiply(w.rows, w.hidden, w.wide, &w.Scratch)
	for i, v := range w.wide[:w.rows*inner] {
		w.wide[i] = max(v, 0)
	}
	l.second.Multiply(w.rows, w.wide, w.narrow, &w.Scratch)
	add(w.y, w.narrow, w.rows*Dimension)
}

func add(to, from []float32, n int) {
	to, from = to[:n], from[:n]
	for i, v := range from {
		to[i] += v
	}
}

// apply norms rows of x into y: mean 0 and variance 1, then scale and bias.
func (n norm) apply(x, y []float32, rows int) {
	size := len(n.scale)
	for i := range rows {
		in, out := x[i*size:(i+1)*size], y[i*size:(i+1)*size]
		var sum float32
		for _, v := range in {
			sum += v
		}
		mean := sum / float32(size)
		var square float32
		for _, v := range in {
			square += (v - mean) * (v - mean)
		}
		inverse := float32(1 / math.Sqrt(float64(square/float32(size)+1e-6)))
		scale, bias := n.scale[:len(in)], n.bias[:len(in)]
		for j, v := range in {
			out[j] = (v-mean)*inverse*scale[j] + bias[j]
		}
	}
}

// appendUnit appends tanh of the numbers, brought to length 1.
func appendUnit(into, numbers []float32) []float32 {
	start := len(into)
	square := 0.0
	for _, v := range numbers {
		t := math.Tanh(float64(v))
		square += t * t
		into = append(into, float32(t))
	}
	for i := range into[start:] {
		into[start+i] = float32(float64(into[start+i]) / math.Sqrt(square))
	}
	return into
}
