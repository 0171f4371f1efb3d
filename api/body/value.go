package body

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

// maxDepth is how deeply a document that passes through as it is may be nested.
const maxDepth = 32

// moment reads a time as in RFC 3339. Times before 1970 are refused, so that none
// of them is mistaken for the zero time.
func (d *decoder) moment() (time.Time, error) {
	s, err := d.text(1, 64)
	if err != nil {
		return time.Time{}, err
	}
	return parseMoment(s)
}

func parseMoment(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1970 {
		return time.Time{}, knowledge.Invalid("", "is not a time since 1970 as in RFC 3339, such as 2027-01-31T12:00:00Z")
	}
	return t.UTC(), nil
}

// milliseconds reads how long something may take: at least one, at most a minute,
// which is [query.MaxTimeout] too.
func (d *decoder) milliseconds() (time.Duration, error) {
	n, err := d.integer(1, query.MaxTimeout.Milliseconds())
	return time.Duration(n) * time.Millisecond, err
}

// raw reads a value that passes through, of at most so many bytes, and returns
// its text.
func (d *decoder) raw(most int) (jsontext.Value, error) {
	value, err := d.json.ReadValue()
	if err != nil {
		return nil, d.fault(err)
	}
	if len(value) > most {
		return nil, knowledge.Invalid("", "has %d bytes; at most %d are allowed", len(value), most)
	}
	value = value.Clone()
	return value, checkRaw(value)
}

// checkRaw refuses what a reader further on may stumble over: deep nesting and
// numbers that no float64 holds. value is well-formed.
func checkRaw(value jsontext.Value) error {
	inner := &decoder{json: jsontext.NewDecoder(bytes.NewReader(value))}
	for {
		token, err := inner.json.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return inner.fault(err)
		}
		if inner.json.StackDepth() > maxDepth {
			return knowledge.Invalid("", "is nested deeper than %d levels", maxDepth)
		}
		if token.Kind() == '0' {
			if _, err := finite(token); err != nil {
				return err
			}
		}
	}
}

// metadata reads an object within the bounds of a record's metadata. It gives up
// as soon as one is passed, so that a small body cannot make a large tree.
func (d *decoder) metadata() (map[string]any, error) {
	if kind := d.json.PeekKind(); kind != '{' && kind != 0 {
		return nil, knowledge.Invalid("", "is %s; need an object", kindName(kind))
	}
	left := knowledge.MaxMetadataBytes
	value, err := d.tree(1, &left)
	if err != nil {
		return nil, err
	}
	return value.(map[string]any), nil
}

// tree reads any value at a depth of metadata, with so many bytes left.
func (d *decoder) tree(depth int, left *int) (any, error) {
	switch kind := d.json.PeekKind(); kind {
	case '{', '[':
		if depth > knowledge.MaxMetadataDepth {
			return nil, knowledge.Invalid("", "is nested deeper than %d levels", knowledge.MaxMetadataDepth)
		}
		if err := spend(left, 8); err != nil {
			return nil, err
		}
		if kind == '[' {
			return d.list(depth, left)
		}
		m := map[string]any{}
		err := d.object(func(name string) error {
			if err := spend(left, len(name)); err != nil {
				return err
			}
			value, err := d.tree(depth+1, left)
			m[name] = value
			return err
		})
		return m, err
	default:
		return d.leaf(left)
	}
}

func (d *decoder) list(depth int, left *int) (any, error) {
	items := []any{}
	err := d.array(0, knowledge.MaxMetadataBytes, func(int) error {
		value, err := d.tree(depth+1, left)
		items = append(items, value)
		return err
	})
	return items, err
}

func (d *decoder) leaf(left *int) (any, error) {
	token, err := d.json.ReadToken()
	if err != nil {
		return nil, d.fault(err)
	}
	if err := spend(left, 8); err != nil {
		return nil, err
	}
	switch token.Kind() {
	case '"':
		s := token.String()
		return s, spend(left, len(s))
	case '0':
		return exact(token)
	case 't', 'f':
		return token.Bool(), nil
	}
	return nil, nil
}

func spend(left *int, n int) error {
	if *left -= n; *left < 0 {
		return knowledge.Invalid("", "metadata is over %d bytes", knowledge.MaxMetadataBytes)
	}
	return nil
}
