package body

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

// pack is how a client writes a vector as a string.
func pack(v ...float32) string {
	var raw []byte
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// TestDecodePackedVectors: a string means the same vector as an array, bit for bit,
// in each of the places that take one.
func TestDecodePackedVectors(t *testing.T) {
	if got := pack(1, -0.5); got != "AACAPwAAAL8=" {
		t.Fatalf("pack(1, -0.5) = %s, want the example of openapi.yaml", got)
	}
	want := []float32{1, -0.5, 300, 1e15, -1e15, 1e-45, 0.1}
	text := `"` + pack(want...) + `"`
	var search SearchRequest
	var query QueryRequest
	var batch RecordBatch
	for body, into := range map[string]Body{
		`{"vector":` + text + `}`:                             &search,
		`{"legs":[{"collection":"c","vector":` + text + `}]}`: &query,
		`{"records":[{"id":"a","vector":` + text + `}]}`:      &batch,
	} {
		if err := Decode(strings.NewReader(body), into); err != nil {
			t.Fatalf("Decode(%s) = %v, want nil", body, err)
		}
	}
	for place, got := range map[string][]float32{"search": search.Vector, "leg": query.Legs[0].Vector, "record": batch.Records[0].Vector} {
		if !slices.Equal(got, want) {
			t.Errorf("the vector of a %s is %v, want %v", place, got, want)
		}
	}
	longest := make([]float32, knowledge.MaxDimension)
	if err := Decode(strings.NewReader(`{"vector":"`+pack(longest...)+`"}`), new(SearchRequest)); err != nil {
		t.Errorf("Decode(%d components) = %v, want nil", len(longest), err)
	}
}

func TestDecodeRefusesPackedVectors(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	good := pack(1, 2)
	for text, want := range map[string]string{
		"":                           "is empty",
		pack(1, nan):                 "vector[1]: is not a finite number within ±1e+15",
		pack(inf, 1):                 "vector[0]: is not a finite number within ±1e+15",
		pack(1, -inf):                "vector[1]: is not a finite number within ±1e+15",
		pack(1.1e15):                 "vector[0]: is not a finite number within ±1e+15",
		"AAAA":                       "is base64 of 3 bytes; need 4 for each component",
		"AACAPwA=":                   "is base64 of 5 bytes; need 4 for each component",
		good[:8] + `\n` + good[8:]:   "is a string, but not base64",
		good[:8] + `\r\n` + good[8:]: "is a string, but not base64",
		strings.TrimRight(good, "="): "is a string, but not base64",
		"AACAPwAAAEB=":               "is a string, but not base64", // its last bits are lost
		"AACA_wAAAEA=":               "is a string, but not base64", // the alphabet of URLs
		good + good:                  "is a string, but not base64",
		"[1,1]":                      "is a string, but not base64",
		pack(make([]float32, knowledge.MaxDimension+1)...): "at most 85336 are allowed",
	} {
		err := Decode(strings.NewReader(`{"vector":"`+text+`"}`), new(SearchRequest))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Decode(%.40s) = %v, want an error with %q", text, err, want)
		}
	}
}

// BenchmarkVector compares the two forms of a vector of 384 components.
func BenchmarkVector(b *testing.B) {
	v := make([]float32, 384)
	numbers := make([]string, len(v))
	for i := range v {
		v[i] = float32(math.Sin(float64(i)))
		numbers[i] = strconv.FormatFloat(float64(v[i]), 'g', -1, 32)
	}
	for name, text := range map[string]string{"array": "[" + strings.Join(numbers, ",") + "]", "packed": `"` + pack(v...) + `"`} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := Decode(strings.NewReader(`{"vector":`+text+`}`), new(SearchRequest)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
