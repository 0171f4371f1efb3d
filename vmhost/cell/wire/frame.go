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
	// chunk is the longest body that a Writer sends: short enough for
	// frames of other calls to get between, long enough for few writes.
	chunk = 64 << 10
	// readBuffer holds several small frames; bodies longer than it go
	// straight from the stream to their value. Each cell pays for two.
	readBuffer = 8 << 10
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
// frame.
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
	case more && length == 0:
		return Value{}, false, Broken("%v for call %d continues with nothing", op, id)
	}
	if p.body, err = readOn(r.r, p.body, int(length)); err != nil {
		return Value{}, false, r.ended(err)
	}
	if more {
		r.open[key] = p
		return Value{}, false, nil
	}
	delete(r.open, key)
	return Value{Op: op, Method: method, ID: id, Body: p.body}, true, nil
}

// readOn appends the next n bytes of r to b.
func readOn(r io.Reader, b []byte, n int) ([]byte, error) {
	had := len(b)
	if b == nil && n > 0 {
		b = make([]byte, n)
	} else {
		b = append(b, make([]byte, n)...)
	}
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

// Writer puts values on a stream. Safe for concurrent use: values of several
// goroutines are interleaved frame by frame. Two values of the same operation
// and id must not be written at once.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte // header and body together: one write a frame
	err error  // the first failure: what follows half a frame means nothing
}

// NewWriter returns a writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write sends one value whose body is the parts one after the other. It blocks
// while the other side does not read; closing the stream ends that.
func (w *Writer) Write(op Op, method uint16, id uint32, parts ...[]byte) error {
	left := 0
	for _, p := range parts {
		left += len(p)
	}
	for {
		n := min(left, chunk)
		left -= n
		if err := w.frame(op, method, id, n, left > 0, &parts); err != nil {
			return err
		}
		if left == 0 {
			return nil
		}
	}
}

// frame sends the next n bytes of parts and cuts them off.
func (w *Writer) frame(op Op, method uint16, id uint32, n int, more bool, parts *[][]byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	b := binary.LittleEndian.AppendUint32(w.buf[:0], uint32(n))
	flags := byte(0)
	if more {
		flags = flagMore
	}
	b = append(b, byte(op), flags)
	b = binary.LittleEndian.AppendUint16(b, method)
	b = binary.LittleEndian.AppendUint32(b, id)
	for n > 0 {
		p := (*parts)[0]
		m := min(n, len(p))
		b = append(b, p[:m]...)
		n -= m
		if m == len(p) {
			*parts = (*parts)[1:]
		} else {
			(*parts)[0] = p[m:]
		}
	}
	w.buf = b
	_, w.err = w.w.Write(b)
	return w.err
}
