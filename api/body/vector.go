package body

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge"
)

// vector reads components of single precision: an array of numbers, or a string
// with the base64 of their bytes.
func (d *decoder) vector() ([]float32, error) {
	if d.json.PeekKind() == '"' {
		return d.packed()
	}
	var v []float32
	err := d.array(1, knowledge.MaxDimension, func(int) error {
		token, err := d.token('0')
		if err != nil {
			return err
		}
		x, err := component(token)
		v = append(v, x)
		return err
	})
	return v, err
}

// component returns a number of single precision. One near the bound is looked at
// again, for it may have been rounded to it.
func component(token jsontext.Token) (float32, error) {
	x, err := token.Float32()
	if err == nil && -maxComponent < x && x < maxComponent {
		return x, nil
	}
	if f, err := token.Float(); err != nil || math.Abs(f) > maxComponent {
		return 0, knowledge.Invalid("", "is beyond ±%g", float64(maxComponent))
	}
	return x, nil
}

// maxComponent is the largest component that openapi.yaml admits, and
// [knowledge.CheckVector] too.
const maxComponent = 1e15

// maxPacked is the length of the base64 of the longest vector.
const maxPacked = (4*knowledge.MaxDimension + 2) / 3 * 4

// packed reads a string of base64: little-endian float32, one after the other.
func (d *decoder) packed() ([]float32, error) {
	s, err := d.text(1, maxPacked)
	if err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // which the decoder skips
		return nil, knowledge.Invalid("", "is a string, but not base64 with padding and without line breaks; need that, or an array")
	}
	if len(raw)%4 != 0 {
		return nil, knowledge.Invalid("", "is base64 of %d bytes; need 4 for each component", len(raw))
	}
	v := make([]float32, len(raw)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		// Also false for what is no number.
		if f := float64(v[i]); !(math.Abs(f) <= maxComponent) {
			return nil, knowledge.At("["+strconv.Itoa(i)+"]", knowledge.Invalid("", "is not a finite number within ±%g", float64(maxComponent)))
		}
	}
	return v, nil
}
