package main

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
)

// coding is how vectors travel in JSON.
type coding string

const (
	asNumbers coding = "json"   // an array of numbers
	asBase64  coding = "base64" // a string: little-endian float32
)

func (c coding) vector(b []byte, v []float32) []byte {
	if c == asBase64 {
		raw := make([]byte, 0, 4*len(v))
		for _, x := range v {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, raw)
		return append(b, '"')
	}
	for i, x := range v {
		if i == 0 {
			b = append(b, '[')
		} else {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(x), 'g', -1, 32)
	}
	return append(b, ']')
}

// record writes a row as a record: its index as id, a short text, its bucket.
func (c coding) record(b []byte, d *dataset, row int) []byte {
	b = append(b, `{"id":"`...)
	b = strconv.AppendInt(b, int64(row), 10)
	b = append(b, `","text":"`...)
	b = appendText(b, d, row)
	b = append(b, `","metadata":{"bucket":`...)
	b = strconv.AppendInt(b, int64(d.bucket[row]), 10)
	b = append(b, `},"vector":`...)
	b = c.vector(b, d.row(row))
	return append(b, '}')
}

// appendText writes the text that a row has in every layer.
func appendText(b []byte, d *dataset, row int) []byte {
	b = append(b, "row "...)
	b = strconv.AppendInt(b, int64(row), 10)
	b = append(b, " of "...)
	return append(b, d.name...)
}

// records writes the body of putRecords for rows from the first up to but without
// the second.
func (c coding) records(b []byte, d *dataset, from, to int) []byte {
	b = append(b[:0], `{"records":[`...)
	for row := from; row < to; row++ {
		if row > from {
			b = append(b, ',')
		}
		b = c.record(b, d, row)
	}
	return append(b, "]}"...)
}

// search writes the body of searchRecords. ef 0 leaves it to the server.
func (c coding) search(d *dataset, n, ef int, s scope, exact bool) []byte {
	b := []byte(`{"vector":`)
	b = c.vector(b, d.query(n))
	b = append(b, `,"limit":`...)
	b = strconv.AppendInt(b, topK, 10)
	if ef > 0 {
		b = append(b, `,"ef":`...)
		b = strconv.AppendInt(b, int64(ef), 10)
	}
	if s.below < buckets {
		b = append(b, `,"filter":{"field":"bucket","lt":`...)
		b = strconv.AppendInt(b, int64(s.below), 10)
		b = append(b, '}')
	}
	if exact {
		b = append(b, `,"exact":true`...)
	}
	return append(b, '}')
}
