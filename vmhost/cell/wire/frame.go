package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

const (
	// MaxFrame is the longest body of a frame that a [Reader] takes.
	MaxFrame = 256 << 10

	headerLen = 12
	flagMore  = 1
	// minContinued is the shortest body of a frame whose value continues. A
	// peer that cut values into single bytes would make the reader work for
	// each as much as for a page.
	minContinued = 4 << 10
	// maxOpen is the most values that may be half there at once, whatever
	// the bounds allow.
	maxOpen = 1024
	// readBuffer holds several small frames; bodies longer than it go
	// straight from the stream to their value. Each cell pays for two.
	readBuffer = 8 << 10
	// maxRecycled is the longest body that is used again.
	maxRecycled = 4 << 20
)

// Value is what one or several frames of the same operation and id carried.
type Value struct {
	Op     Op
	Method uint16
	ID     uint32
	Body   []byte // owned by the receiver
}

// Bound says how many bytes a value of this operation and id may have in all,
// or a negative number when none is expected. It is asked at the value's first
// frame. A reader keeps no more than the sum of the bounds that it was told for
// the values that are half there.
type Bound func(op Op, id uint32) int64

type valueKey struct {
	op Op
	id uint32
}

type partial struct {
	method uint16
	bound  int64
	body   []byte
}

// Reader takes values from a stream. Values of different calls may be
// interleaved, frame by frame. For one goroutine.
type Reader struct {
	r     *bufio.Reader
	bound Bound
	open  map[valueKey]*partial // continued values; never more than bound lets in
	spare sync.Pool             // of *[]byte: bodies that nobody uses any more
}

// NewReader returns a reader of r that refuses every value that bound does
// not expect.
func NewReader(r io.Reader, bound Bound) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, readBuffer), bound: bound, open: make(map[valueKey]*partial)}
}

// Next returns the next whole value. It returns io.EOF at an end of the stream
// between two values, an error of the kind [ErrProtocol] when the stream
// departs from the format or ends inside a value, and the stream's own errors.
func (r *Reader) Next() (Value, error) {
	for {
		v, whole, err := r.frame()
		if err != nil || whole {
			return v, err
		}
	}
}

// Recycle gives back a value's body, which nobody may use from then on: a later
// value of several frames comes to stand in it. Memory that is new costs more than
// to read what goes into it. Bodies that are never given back do no harm. Safe for
// concurrent use.
func (r *Reader) Recycle(body []byte) {
	if cap(body) > MaxFrame && cap(body) <= maxRecycled {
		body = body[:0]
		r.spare.Put(&body)
	}
}

// recycled returns an empty body with room for some values, or nil.
func (r *Reader) recycled() []byte {
	if b, ok := r.spare.Get().(*[]byte); ok {
		return *b
	}
	return nil
}

// frame reads one frame into the value that it belongs to.
func (r *Reader) frame() (v Value, whole bool, err error) {
	var h [headerLen]byte
	if _, err := io.ReadFull(r.r, h[:]); err != nil {
		return Value{}, false, r.ended(err)
	}
	length := int64(binary.LittleEndian.Uint32(h[0:]))
	op, flags := Op(h[4]), h[5]
	method, id := binary.LittleEndian.Uint16(h[6:]), binary.LittleEndian.Uint32(h[8:])
	if op == 0 || op >= opEnd || flags&^flagMore != 0 || length > MaxFrame {
		return Value{}, false, Broken("header % x", h)
	}
	key := valueKey{op, id}
	p := r.open[key]
	if p == nil {
		p = &partial{method: method, bound: r.bound(op, id)}
		if p.bound < 0 {
			return Value{}, false, Broken("%v for call %d was not expected", op, id)
		}
	}
	more := flags&flagMore != 0
	switch {
	case p.method != method:
		return Value{}, false, Broken("%v for call %d changed its method from %d to %d", op, id, p.method, method)
	case int64(len(p.body))+length > p.bound:
		return Value{}, false, Broken("%v for call %d passes %d bytes", op, id, p.bound)
	case more && length < minContinued:
		return Value{}, false, Broken("%v for call %d continues after %d bytes", op, id, length)
	case more && len(r.open) >= maxOpen:
		return Value{}, false, Broken("more than %d values at once", maxOpen)
	}
	if more && p.body == nil {
		p.body = r.recycled()
	}
	if p.body, err = readOn(r.r, p.body, int(length), p.bound); err != nil {
		return Value{}, false, r.ended(err)
	}
	if more {
		r.open[key] = p
		return Value{}, false, nil
	}
	delete(r.open, key)
	return Value{Op: op, Method: method, ID: id, Body: p.body}, true, nil
}

// Unfinished reports whether a value of the id is half there.
func (r *Reader) Unfinished(id uint32) bool {
	for key := range r.open { // mostly none
		if key.id == id {
			return true
		}
	}
	return false
}

// readOn appends the next n bytes of r to b, which will never be longer than
// bound.
func readOn(r io.Reader, b []byte, n int, bound int64) ([]byte, error) {
	had := len(b)
	if had+n > cap(b) {
		room := had + n
		if had > 0 { // the second frame of a value: there may be many
			room = int(min(max(int64(room), 2*int64(had)), bound))
		}
		b = append(make([]byte, 0, room), b...)
	}
	b = b[:had+n]
	if m, err := io.ReadFull(r, b[had:]); err != nil {
		if m == 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // after a header, even the first byte is missing
		}
		return nil, err
	}
	return b, nil
}

// ended tells an end between values from one inside a value.
func (r *Reader) ended(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || (errors.Is(err, io.EOF) && len(r.open) > 0) {
		return Broken("the stream ends inside a value")
	}
	return err
}
