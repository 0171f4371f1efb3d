package tars

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// reader reads a JSON document (RFC 8259) member by member. In WebAssembly the
// reflection and the second pass of encoding/json took most of the time of a call
// with many passages. Texts without escapes are not copied: they are parts of data,
// which stays as it is. What is skipped or kept as it stands is not checked: the
// host makes the documents. Its zero value with data is ready.
type reader struct {
	data []byte
	at   int
}

// document is an input that is read by hand. read is given one member's name, and
// takes its value or skips it.
type document interface {
	read(r *reader, name string) error
}

func (r *reader) document(d document) error {
	err := r.object(func(name string) error { return d.read(r, name) })
	if err == nil && r.next() != 0 {
		err = r.fault("the end")
	}
	return err
}

// next returns the first byte that is no white space; 0 at the end.
func (r *reader) next() byte {
	for ; r.at < len(r.data); r.at++ {
		switch c := r.data[r.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (r *reader) fault(need string) error { return fmt.Errorf("byte %d: need %s", r.at, need) }

// take goes past c, which has to be next.
func (r *reader) take(c byte) error {
	if r.next() != c {
		return r.fault(strconv.QuoteRune(rune(c)))
	}
	r.at++
	return nil
}

// null goes past a null, which leaves what it is read into as it is.
func (r *reader) null() bool {
	if r.next() == 'n' && bytes.HasPrefix(r.data[r.at:], []byte("null")) {
		r.at += len("null")
		return true
	}
	return false
}

func (r *reader) object(member func(name string) error) error {
	return r.series('{', '}', func() error {
		var name string
		err := r.text(&name)
		if err == nil {
			err = r.take(':')
		}
		if err == nil {
			err = member(name)
		}
		return err
	})
}

// series reads what stands between brackets.
func (r *reader) series(left, right byte, element func() error) error {
	if r.null() {
		return nil
	}
	if err := r.take(left); err != nil {
		return err
	}
	if r.next() == right {
		r.at++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if r.next() == right {
			r.at++
			return nil
		}
		if err := r.take(','); err != nil {
			return err
		}
	}
}

// readList reads an array of objects, whose members read takes.
func readList[T any](r *reader, list *[]T, read func(element *T, name string) error) error {
	return r.series('[', ']', func() error {
		*list = append(*list, *new(T))
		element := &(*list)[len(*list)-1]
		return r.object(func(name string) error { return read(element, name) })
	})
}

func (r *reader) text(to *string) error {
	if r.null() {
		return nil
	}
	if err := r.take('"'); err != nil {
		return err
	}
	rest := r.data[r.at:]
	if end := plain(rest); end < len(rest) && rest[end] == '"' {
		*to = unsafe.String(unsafe.SliceData(rest), end)
		r.at += end + 1
		return nil
	}
	return r.escaped(to)
}

// plain is how many bytes of a string come before its end or an escape.
func plain(b []byte) int {
	for i, c := range b {
		if c == '"' || c == '\\' {
			return i
		}
	}
	return len(b)
}

// escaped is text from after the quote on, for one with escapes.
func (r *reader) escaped(to *string) error {
	var text []byte
	for {
		rest := r.data[r.at:]
		stop := plain(rest)
		if stop == len(rest) || stop+1 == len(rest) && rest[stop] == '\\' {
			return r.fault("the end of a string")
		}
		text = append(text, rest[:stop]...)
		r.at += stop + 1
		if rest[stop] == '"' {
			*to = unsafe.String(unsafe.SliceData(text), len(text))
			return nil
		}
		c := rest[stop+1]
		r.at++
		switch c {
		case '"', '\\', '/':
			text = append(text, c)
		case 'b':
			text = append(text, '\b')
		case 'f':
			text = append(text, '\f')
		case 'n':
			text = append(text, '\n')
		case 'r':
			text = append(text, '\r')
		case 't':
			text = append(text, '\t')
		case 'u':
			code, err := r.unit(0)
			if err != nil {
				return err
			}
			if utf16.IsSurrogate(code) {
				code = r.pair(code)
			}
			text = utf8.AppendRune(text, code)
		default:
			return r.fault("an escape of JSON")
		}
	}
}

// unit reads the four digits of an escape, after so many bytes.
func (r *reader) unit(after int) (rune, error) {
	from := r.at + after
	if from+4 <= len(r.data) {
		if code, err := strconv.ParseUint(string(r.data[from:from+4]), 16, 16); err == nil {
			r.at = from + 4
			return rune(code), nil
		}
	}
	return 0, r.fault("four hexadecimal digits")
}

// pair reads the second half of a surrogate pair, if it is there: a half alone is
// U+FFFD.
func (r *reader) pair(first rune) rune {
	if !bytes.HasPrefix(r.data[r.at:], []byte(`\u`)) {
		return utf8.RuneError
	}
	at := r.at
	second, err := r.unit(2)
	if err != nil {
		return utf8.RuneError
	}
	code := utf16.DecodeRune(first, second)
	if code == utf8.RuneError {
		r.at = at // it is a character of its own
	}
	return code
}

func (r *reader) integer(to *int) error {
	if r.null() {
		return nil
	}
	n, err := strconv.Atoi(string(r.number()))
	if err != nil {
		return r.fault("an integer")
	}
	*to = n
	return nil
}

func (r *reader) float(to *float64) error {
	if r.null() {
		return nil
	}
	x, err := strconv.ParseFloat(string(r.number()), 64)
	if err != nil {
		return r.fault("a number")
	}
	*to = x
	return nil
}

// number goes past what a number is written in.
func (r *reader) number() []byte {
	r.next()
	from := r.at
	for ; r.at < len(r.data); r.at++ {
		switch c := r.data[r.at]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
		default:
			return r.data[from:r.at]
		}
	}
	return r.data[from:]
}

// raw goes past a value and returns its bytes.
func (r *reader) raw() ([]byte, error) {
	r.next()
	from, depth := r.at, 0
	for r.at < len(r.data) {
		switch c := r.data[r.at]; c {
		case '"':
			if err := r.skipText(); err != nil {
				return nil, err
			}
		case '{', '[':
			depth++
			r.at++
		case '}', ']':
			if depth == 0 {
				return nil, r.fault("a value")
			}
			depth--
			r.at++
		default:
			r.at++
			if depth > 0 || r.at < len(r.data) && !bytes.ContainsRune([]byte(",}] \t\r\n"), rune(r.data[r.at])) {
				continue
			}
		}
		if depth == 0 {
			return r.data[from:r.at:r.at], nil
		}
	}
	return nil, r.fault("the end of a value")
}

func (r *reader) skipText() error {
	for at := r.at + 1; at < len(r.data); at += 2 { // past what is escaped
		at += plain(r.data[at:])
		if at < len(r.data) && r.data[at] == '"' {
			r.at = at + 1
			return nil
		}
	}
	return r.fault("the end of a string")
}

// rest reads a value by reflection: what is small.
func (r *reader) rest(v any) error {
	value, err := r.raw()
	if err != nil {
		return err
	}
	return json.Unmarshal(value, v)
}

func (r *reader) skip() error {
	_, err := r.raw()
	return err
}

func (r *reader) passages(to *[]Passage) error {
	return readList(r, to, func(p *Passage, name string) (err error) {
		switch name {
		case "index":
			return r.integer(&p.Index)
		case "id":
			return r.text(&p.ID)
		case "collection":
			return r.text(&p.Collection)
		case "owner":
			return r.text(&p.Owner)
		case "text":
			return r.text(&p.Text)
		case "score":
			return r.float(&p.Score)
		case "metadata":
			p.Metadata, err = r.raw()
			return err
		case "legs":
			return readList(r, &p.Legs, func(f *FoundBy, name string) error {
				switch name {
				case "leg":
					return r.integer(&f.Leg)
				case "row":
					if r.null() {
						return nil
					}
					f.Row = new(int)
					return r.integer(f.Row)
				default:
					return r.skip()
				}
			})
		default:
			return r.skip()
		}
	})
}

func (r *reader) lists(to *[]List) error {
	return readList(r, to, func(l *List, name string) error {
		switch name {
		case "leg":
			return r.integer(&l.Leg)
		case "mode":
			return r.text(&l.Mode)
		case "weight":
			return r.float(&l.Weight)
		case "entries":
			return readList(r, &l.Entries, func(e *Entry, name string) error {
				switch name {
				case "index":
					return r.integer(&e.Index)
				case "score":
					return r.float(&e.Score)
				default:
					return r.skip()
				}
			})
		default:
			return r.skip()
		}
	})
}

func (in *RankInput) read(r *reader, name string) error {
	if name == "candidates" {
		return r.passages(&in.Candidates)
	}
	return readCommon(r, name, &in.ABI, &in.Query, &in.Legs, &in.Config)
}

func (in *MergeInput) read(r *reader, name string) error {
	switch name {
	case "candidates":
		return r.passages(&in.Candidates)
	case "lists":
		return r.lists(&in.Lists)
	default:
		return readCommon(r, name, &in.ABI, &in.Query, &in.Legs, &in.Config)
	}
}

func (in *SynthesizeInput) read(r *reader, name string) error {
	if name == "passages" {
		return r.passages(&in.Passages)
	}
	return readCommon(r, name, &in.ABI, &in.Query, &in.Legs, &in.Config)
}

func (in *GuardPostInput) read(r *reader, name string) error {
	switch name {
	case "candidates":
		return r.passages(&in.Candidates)
	case "stage":
		return r.text(&in.Stage)
	default:
		return readCommon(r, name, &in.ABI, &in.Query, &in.Legs, &in.Config)
	}
}

// readCommon reads the members that all inputs with passages have, and skips others.
func readCommon(r *reader, name string, abi *int, query *Query, legs *[]Leg, config *Config) error {
	switch name {
	case "abi":
		return r.integer(abi)
	case "query":
		return r.rest(query)
	case "legs":
		return r.rest(legs)
	case "config":
		return r.rest(config)
	default:
		return r.skip()
	}
}
