package encoder

import (
	"math"

	"github.com/tars-project/tars/knowledge/embed/local/internal/gemm"
)

// Workspace is what a call of Encode works with. The zero value is ready; it grows to
// the most pieces that it was used for. One goroutine at a time.
type Workspace struct {
	gemm.Scratch
	rows int   // pieces of all sentences
	ends []int // of each sentence, in rows

	x      []float32 // rows x width: what the model reads
	y      []float32 // rows x Dimension: what the layers add to
	hidden []float32 // rows x Dimension
	narrow []float32 // rows x Dimension
	wide   []float32 // rows x inner

	keys, values gemm.Panel // of one head, brought to panels
	weights      []float32  // of one head: pieces x pieces
}

// begin makes room for the sentences.
func (w *Workspace) begin(sentences [][]int32) {
	w.rows, w.ends = 0, w.ends[:0]
	for _, s := range sentences {
		w.rows += min(len(s), MaxPieces)
		w.ends = append(w.ends, w.rows)
	}
	if rows := max(w.rows, len(sentences)); len(w.x) < rows*width {
		w.x = make([]float32, rows*width)
		w.y = make([]float32, rows*Dimension)
		w.hidden = make([]float32, rows*Dimension)
		w.narrow = make([]float32, rows*Dimension)
		w.wide = make([]float32, rows*inner)
	}
	if w.keys == nil {
		w.keys, w.values = make(gemm.Panel, MaxPieces*MaxPieces), make(gemm.Panel, MaxPieces*gemm.Lanes)
		w.weights = make([]float32, MaxPieces*MaxPieces)
	}
}

// attend puts the attention of one sentence, rows start to end of wide, which has
// queries, keys and values of that width, into hidden.
func (w *Workspace) attend(start, end, width int) {
	const lanes = gemm.Lanes
	n, size := end-start, width/heads
	row := func(i int) []float32 { return w.wide[(start+i)*3*width:] }
	padded := (n + lanes - 1) / lanes * lanes // columns of the weights
	var scaled, plain gemm.Affine
	for i := range lanes {
		scaled.Scale[i], plain.Scale[i] = float32(1/math.Sqrt(float64(size))), 1
	}
	for head := range heads {
		at := head * size
		// Keys as columns: panel after panel of 16 pieces; those that there are
		// not give weights that nobody reads.
		for i := range padded {
			panel := w.keys[i/lanes*size*lanes:]
			for j := range size {
				var v float32
				if i < n {
					v = row(i)[width+at+j]
				}
				panel[j*lanes+i%lanes] = v
			}
		}
		for j := 0; j < padded; j += lanes {
			gemm.Multiply(n, size, w.wide[start*3*width+at:], 3*width, w.keys[j*size:(j+lanes)*size], w.weights[j:], padded, &scaled, &w.Padding)
		}
		for i := range n {
			softmax(w.weights[i*padded : i*padded+n])
		}
		for j := 0; j < size; j += lanes {
			for i := range n {
				copy(w.values[i*lanes:(i+1)*lanes], row(i)[2*width+at+j:])
			}
			gemm.Multiply(n, n, w.weights, padded, w.values[:n*lanes], w.hidden[start*width+at+j:], width, &plain, &w.Padding)
		}
	}
}

// softmax turns scores into weights that sum to 1.
func softmax(scores []float32) {
	largest := scores[0]
	for _, s := range scores {
		largest = max(largest, s)
	}
	var sum float32
	for i, s := range scores {
		scores[i] = float32(math.Exp(float64(s - largest)))
		sum += scores[i]
	}
	for i := range scores {
		scores[i] /= sum
	}
}

// pool puts the mean of each sentence's rows of y into narrow and returns it. A
// sentence of no pieces has none but zeros.
func (w *Workspace) pool() []float32 {
	start := 0
	for i, end := range w.ends {
		mean := w.narrow[i*Dimension : (i+1)*Dimension]
		clear(mean)
		for row := start; row < end; row++ {
			for j, v := range w.y[row*Dimension : (row+1)*Dimension] {
				mean[j] += v
			}
		}
		for j := range mean {
			mean[j] /= float32(max(1, end-start))
		}
		start = end
	}
	return w.narrow
}
