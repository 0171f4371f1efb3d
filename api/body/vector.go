package body

import (
	"math"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge"
)

// vector reads components of single precision: an array of numbers, or a string
// with the base64 of their bytes.
func (d *decoder) vector() ([]float32, error) {
	if d.json.PeekKind() == '"' {
		return d.packed(4)
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
