package plugins

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge/query"
)

// passages makes the documents of candidates, as plugins/wit/schema defines them. A
// guest names each by its index. They are most of what a query hands to plugins, so
// they are written by hand: in a third of the time of reflection. The same candidates
// give the same bytes.
func passages(h *query.Handout) ([]byte, error) {
	size := 2
	for _, c := range h.Candidates {
		size += 256 + len(c.Text) + len(c.Text)/8
	}
	w := passageWriter{out: make([]byte, 0, size)}
	w.raw("[")
	for i, c := range h.Candidates {
		if i > 0 {
			w.raw(",")
		}
		w.raw(`{"index":`)
		w.int(i)
		w.raw(`,"id":`)
		w.text(string(c.ID))
		w.raw(`,"collection":`)
		w.text(string(c.Collection))
		if c.Owner != "" {
			w.raw(`,"owner":`)
			w.text(string(c.Owner))
		}
		w.raw(`,"text":`)
		w.text(c.Text)
		w.raw(`,"score":`)
		w.value(c.Score)
		if len(c.Metadata) > 0 {
			w.raw(`,"metadata":`)
			w.value(c.Metadata)
		}
		if rows := h.Rows(i); len(rows) > 0 {
			w.raw(`,"legs":[`)
			for j, r := range rows {
				w.raw([]string{`{"leg":`, `,{"leg":`}[min(j, 1)])
				w.int(r.Leg)
				if r.Row >= 0 {
					w.raw(`,"row":`)
					w.int(r.Row)
				}
				w.raw("}")
			}
			w.raw("]")
		}
		w.raw("}")
		if len(w.out) > maxPassagesDocument {
			return nil, tooLong(maxPassagesDocument)
		}
	}
	w.raw("]")
	return w.out, w.err
}

// passageWriter appends JSON. After an error, which it keeps, what it has written is
// of no use.
type passageWriter struct {
	out []byte
	err error
}

func (w *passageWriter) raw(s string) { w.out = append(w.out, s...) }

func (w *passageWriter) int(n int) { w.out = strconv.AppendInt(w.out, int64(n), 10) }

func (w *passageWriter) text(s string) {
	var err error
	if w.out, err = jsontext.AppendQuote(w.out, s); err != nil {
		w.fail(err)
	}
}

func (w *passageWriter) fail(err error) {
	if w.err == nil {
		w.err = fmt.Errorf("passages: %w", err)
	}
}

// value writes a value of metadata, as encoding/json decodes it. Members are in order.
func (w *passageWriter) value(v any) {
	switch v := v.(type) {
	case nil:
		w.raw("null")
	case bool:
		w.out = strconv.AppendBool(w.out, v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			w.fail(fmt.Errorf("%v is no number of JSON", v))
		}
		w.out = strconv.AppendFloat(w.out, v, 'g', -1, 64)
	case string:
		w.text(v)
	case []any:
		w.raw("[")
		for i, item := range v {
			if i > 0 {
				w.raw(",")
			}
			w.value(item)
		}
		w.raw("]")
	case map[string]any:
		w.raw("{")
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				w.raw(",")
			}
			w.text(name)
			w.raw(":")
			w.value(v[name])
		}
		w.raw("}")
	default:
		w.fail(fmt.Errorf("metadata has a %T", v))
	}
}
