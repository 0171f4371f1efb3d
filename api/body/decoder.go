// Package body reads the JSON bodies of requests: in one pass, in bounded
// memory, strictly, and straight into the words of the domain.
//
// Strictly means that each body is exactly what its schema in openapi.yaml
// admits; a test in package api holds the two together. Beyond the schema it
// refuses members that are repeated, text that is not UTF-8 or holds NUL, numbers
// that their place cannot hold, and anything after the document. Errors are
// [knowledge.InvalidError], or those of the reader.
//
// What depends on the state of the service, such as the dimension of a
// collection, is left to the domain.
package body

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge"
)

// Body is a body that this package can read. Its implementations are the
// exported types of this package.
type Body interface {
	decode(d *decoder) error
}

// Decode reads one document from r to its end. It returns a
// *[knowledge.InvalidError] that names the place, or the error of r.
func Decode(r io.Reader, into Body) error {
	_, err := DecodeNaming(r, into)
	return err
}

// DecodeNaming is [Decode]. It also returns the names of the document's members, as far as
// these were read: names that its schema has, and none that a client made up.
func DecodeNaming(r io.Reader, into Body) (members []string, err error) {
	d := &decoder{json: jsontext.NewDecoder(r)}
	if err := into.decode(d); err != nil {
		return d.members, err
	}
	if _, err := d.json.ReadToken(); !errors.Is(err, io.EOF) {
		if err = d.fault(err); err == nil || errors.Is(err, knowledge.ErrInvalid) {
			err = knowledge.Invalid("", "has something after the JSON document")
		}
		return d.members, err
	}
	return d.members, nil
}

// decoder reads values of a known type. Each method reads exactly one value, or
// returns an error, after which the decoder must not be used.
type decoder struct {
	json    *jsontext.Decoder
	members []string // of the outermost object, those that have been read
}

// token reads the next token, which must be of the given kind.
func (d *decoder) token(want jsontext.Kind) (jsontext.Token, error) {
	token, err := d.json.ReadToken()
	if err != nil {
		return token, d.fault(err)
	}
	if got := token.Kind(); got != want {
		return token, knowledge.Invalid("", "is %s; need %s", kindName(got), kindName(want))
	}
	return token, nil
}

// fault turns an error of the JSON decoder into one made for the client. The
// decoder's own text may hold parts of the request, so it is not used.
func (d *decoder) fault(err error) error {
	var syntactic *jsontext.SyntacticError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jsontext.ErrDuplicateName):
		return knowledge.Invalid("", "has a repeated member near byte %d", d.json.InputOffset())
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return knowledge.Invalid("", "ends before the JSON document does")
	case errors.As(err, &syntactic):
		return knowledge.Invalid("", "is not JSON in UTF-8 near byte %d", syntactic.ByteOffset)
	}
	return err
}

// object reads an object and calls member for each member's name; member must
// read the value.
func (d *decoder) object(member func(name string) error) error {
	if _, err := d.token('{'); err != nil {
		return err
	}
	outermost := d.json.StackDepth() == 1
	for {
		token, err := d.json.ReadToken()
		if err != nil {
			return d.fault(err)
		}
		if token.Kind() == '}' {
			return nil
		}
		name := token.String()
		if err := member(name); err != nil {
			return knowledge.At(clip(name), err)
		}
		if outermost {
			d.members = append(d.members, name)
		}
	}
}

// array reads an array of minimum to maximum items and calls item for each; item
// must read the value.
func (d *decoder) array(minimum, maximum int, item func(i int) error) error {
	if _, err := d.token('['); err != nil {
		return err
	}
	for i := 0; ; i++ {
		if d.json.PeekKind() == ']' {
			if _, err := d.json.ReadToken(); err != nil {
				return d.fault(err)
			}
			if i < minimum {
				return knowledge.Invalid("", "has %d entries; need at least %d", i, minimum)
			}
			return nil
		}
		if i == maximum {
			return knowledge.Invalid("", "has more than %d entries", maximum)
		}
		if err := item(i); err != nil {
			return knowledge.At("["+strconv.Itoa(i)+"]", err)
		}
	}
}

// text reads a string of minimum to maximum bytes without NUL.
func (d *decoder) text(minimum, maximum int) (string, error) {
	token, err := d.token('"')
	if err != nil {
		return "", err
	}
	s := token.String()
	switch {
	case len(s) < minimum:
		return "", knowledge.Invalid("", "is empty; need %d to %d bytes", minimum, maximum)
	case len(s) > maximum:
		return "", knowledge.Invalid("", "has %d bytes; at most %d are allowed", len(s), maximum)
	case strings.IndexByte(s, 0) >= 0:
		return "", knowledge.Invalid("", "has a NUL character, which cannot be kept")
	}
	return s, nil
}

// word reads a string that must be one of some.
func word[S ~string](d *decoder, some ...S) (S, error) {
	token, err := d.token('"')
	if err != nil {
		return "", err
	}
	s := token.String()
	names := make([]string, len(some))
	for i, w := range some {
		if s == string(w) {
			return w, nil
		}
		names[i] = string(w)
	}
	return "", knowledge.Invalid("", "is not one of %s", strings.Join(names, ", "))
}

// integer reads a whole number without fraction or exponent.
func (d *decoder) integer(minimum, maximum int64) (int64, error) {
	token, err := d.token('0')
	if err != nil {
		return 0, err
	}
	n, err := token.Int()
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return 0, knowledge.Invalid("", "is not a whole number; need %d to %d", minimum, maximum)
	case err != nil || n < minimum || n > maximum:
		return 0, knowledge.Invalid("", "is out of range; need %d to %d", minimum, maximum)
	}
	return n, nil
}

// number reads a finite number.
func (d *decoder) number() (float64, error) {
	token, err := d.token('0')
	if err != nil {
		return 0, err
	}
	return finite(token)
}

func finite(token jsontext.Token) (float64, error) {
	f, err := token.Float()
	if err != nil {
		return 0, knowledge.Invalid("", "is larger than a number of 64 bits can be")
	}
	return f, nil
}

// maxExact is the largest size up to which each integer has a float64 of its own.
const maxExact = 1 << 53

// exact returns the number of token if it can be given back as it came. Larger
// integers are refused rather than changed in silence.
func exact(token jsontext.Token) (float64, error) {
	f, err := finite(token)
	if err != nil || math.Abs(f) < maxExact {
		return f, err
	}
	if n, err := token.Int(); errors.Is(err, strconv.ErrSyntax) || err == nil && -maxExact <= n && n <= maxExact {
		return f, nil // a fraction or an exponent asks for a float
	}
	return 0, knowledge.Invalid("", "is an integer beyond ±%d, which would not come back as it is; send it as a string", int64(maxExact))
}

// boolean reads true or false.
func (d *decoder) boolean() (bool, error) {
	token, err := d.json.ReadToken()
	if err != nil {
		return false, d.fault(err)
	}
	switch kind := token.Kind(); kind {
	case 't', 'f':
		return kind == 't', nil
	default:
		return false, knowledge.Invalid("", "is %s; need true or false", kindName(kind))
	}
}

func unknown() error { return knowledge.Invalid("", "is not a member of this object") }

func missing(name string) error { return knowledge.Invalid(name, "is missing") }

// clip shortens a member's name, which may be as long as the body, for a message.
func clip(name string) string {
	const most = 128
	if len(name) <= most {
		return name
	}
	end := most
	for !utf8.RuneStart(name[end]) {
		end--
	}
	return fmt.Sprintf("%s…", name[:end])
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '{', '}':
		return "an object"
	case '[', ']':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "nothing"
}
