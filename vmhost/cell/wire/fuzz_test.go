package wire

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// FuzzReader: no stream, under no bounds, makes a reader keep more than the
// bounds allow, give a value that was not expected, or end by an error of no
// kind.
func FuzzReader(f *testing.F) {
	page := strings.Repeat("x", minContinued)
	f.Add([]byte(header(minContinued, OpResult, flagMore, 0, 1)+page+header(1, OpResult, 0, 0, 1)+"d"), uint16(1), uint32(2*minContinued))
	f.Add([]byte(header(minContinued, OpResult, flagMore, 0, 1)+page+header(minContinued, OpLog, flagMore, 0, 1)+page), uint16(3), uint32(minContinued))
	f.Add([]byte(header(1<<32-1, OpResult, 0, 0, 1)), uint16(2), uint32(math.MaxUint32))
	f.Add([]byte(header(MaxFrame, OpResult, 0, 0, 0)), uint16(1), uint32(MaxFrame))
	f.Fuzz(func(t *testing.T, stream []byte, ids uint16, bound uint32) {
		var asked int64 // sum of the bounds of values that have begun
		r := NewReader(bytes.NewReader(stream), func(op Op, id uint32) int64 {
			if id >= uint32(ids) {
				return -1
			}
			asked += int64(bound)
			return int64(bound)
		})
		for {
			v, err := r.Next()
			if held := held(r); held > min(asked, int64(len(stream))*2+MaxFrame) {
				t.Fatalf("the reader keeps %d bytes of %d sent, where values of %d were let in", held, len(stream), asked)
			}
			if err != nil {
				if !errors.Is(err, ErrProtocol) && !errors.Is(err, io.EOF) {
					t.Errorf("Next = %v, want ErrProtocol or io.EOF", err)
				}
				return
			}
			asked -= int64(bound)
			if len(v.Body) > int(bound) || v.ID >= uint32(ids) || v.Op == 0 || v.Op >= opEnd {
				t.Errorf("Next = %v for %d with %d bytes, want at most %d for ids below %d", v.Op, v.ID, len(v.Body), bound, ids)
			}
			if r.Unfinished(v.ID) && len(r.open) == 0 {
				t.Errorf("value %d is unfinished, and none is open", v.ID)
			}
		}
	})
}

// held is how many bytes of values a reader keeps.
func held(r *Reader) (n int64) {
	for _, p := range r.open {
		n += int64(cap(p.body))
	}
	return n
}

// FuzzWriter: what is written arrives, whatever its length, and in order.
func FuzzWriter(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint32(chunk), uint8(3))
	f.Add([]byte{0}, uint32(0), uint8(1))
	f.Fuzz(func(t *testing.T, seed []byte, length uint32, parts uint8) {
		body := bytes.Repeat(append(seed, 1), int(length%(4*chunk))/(len(seed)+1)+1)
		pieces := make([][]byte, 0, int(parts)+1)
		for range parts {
			cut := len(body) / (int(parts) + 1)
			pieces = append(pieces, body[len(pieces)*cut:][:cut])
		}
		pieces = append(pieces, body[len(pieces)*(len(body)/(int(parts)+1)):])
		var stream bytes.Buffer
		w := NewWriter(&stream)
		if err := errors.Join(w.Queue(OpLog, 1, 7, seed), w.Write(OpResult, 2, 7, pieces...)); err != nil {
			t.Fatal(err)
		}
		r := NewReader(&stream, anything)
		for _, want := range []Value{{OpLog, 1, 7, seed}, {OpResult, 2, 7, body}} {
			if got, err := r.Next(); err != nil || got.Op != want.Op || got.Method != want.Method || got.ID != 7 || !bytes.Equal(got.Body, want.Body) {
				t.Errorf("Next = %v %d with %d bytes, %v, want %v with %d bytes", got.Op, got.Method, len(got.Body), err, want.Op, len(want.Body))
			}
		}
	})
}

// codec is a message with its decoder. encode is nil where an encoding says
// less than its value: then decoding alone is tried.
type codec struct {
	name   string
	decode func(method uint16, body []byte) (any, error)
	encode func(m any) (method uint16, body []byte)
}

// codecs are all messages of the wire. Who adds a message adds it here, and
// every property below is tried on it.
func codecs() []codec {
	plain := func(b []byte) (uint16, []byte) { return 0, b }
	return []codec{
		{
			"hello",
			func(_ uint16, b []byte) (any, error) { return DecodeHello(b) },
			func(m any) (uint16, []byte) { return plain(m.(Hello).Append(nil)) },
		},
		{
			"setup",
			func(_ uint16, b []byte) (any, error) { return DecodeSetup(b) },
			func(m any) (uint16, []byte) { return plain(m.(Setup).Append(nil)) },
		},
		{
			"load",
			func(_ uint16, b []byte) (any, error) { return DecodeLoad(b) },
			func(m any) (uint16, []byte) { return plain(append(m.(Load).Append(nil), m.(Load).Module...)) },
		},
		{
			"call",
			func(_ uint16, b []byte) (any, error) { return DecodeCall(b) },
			func(m any) (uint16, []byte) { return plain(append(m.(Call).Append(nil), m.(Call).Input...)) },
		},
		{
			"result",
			func(_ uint16, b []byte) (any, error) { return DecodeResult(b) },
			func(m any) (uint16, []byte) { return plain(append(m.(Result).Append(nil), m.(Result).Output...)) },
		},
		{
			"fault",
			func(method uint16, b []byte) (any, error) { return DecodeFault(method, b) },
			nil, // words about a fault are added on the way
		},
		{
			"hostcall",
			func(method uint16, b []byte) (any, error) { return DecodeHostCall(method, b) },
			func(m any) (uint16, []byte) {
				c := m.(vmhost.HostCall)
				method, body, _ := EncodeHostCall(c)
				return method, append(body, c.Text...)
			},
		},
		{
			"guest error",
			func(_ uint16, b []byte) (any, error) { return DecodeGuestError(b) },
			func(m any) (uint16, []byte) { return plain(AppendGuestError(nil, m.(*vmhost.GuestError))) },
		},
		{
			"log",
			func(method uint16, b []byte) (any, error) { return DecodeLog(method, b) },
			func(m any) (uint16, []byte) { return uint16(m.(vmhost.Log).Level), []byte(m.(vmhost.Log).Text) },
		},
	}
}

// FuzzMessages: of every message, what decodes has one encoding, which is what
// came; what does not decode is an error of the protocol; a message takes not
// much more memory than its bytes.
func FuzzMessages(f *testing.F) {
	limits := vmhost.Limits{Wall: time.Second, Memory: 1 << 20, Input: 2, Output: 3, Logs: 4, HostCalls: 5}
	f.Add(uint16(methodRefused), Hello{Version: 1}.Append(nil))
	f.Add(uint16(methodGuest), Call{Capability: "rank"}.Append(nil))
	f.Add(uint16(0), Load{Limits: limits}.Append(nil))
	f.Add(uint16(0), Setup{Wall: time.Unix(1, 2)}.Append(nil))
	f.Add(uint16(0), Result{Used: Used{VM: math.MinInt64, Fuel: -1, HostCalls: math.MaxInt64}}.Append(nil))
	f.Add(FuncVectors, make([]byte, 12))
	f.Add(uint16(0), AppendGuestError(nil, &vmhost.GuestError{Code: "c", Message: "né"}))
	for _, err := range []error{vmhost.ErrTrapped, &vmhost.RefusedError{Section: "code", Offset: 1}, &vmhost.GuestError{Code: "c"}, ErrHostFailed} {
		method, body := Fault{Err: err}.Encode()
		f.Add(method, body)
	}
	f.Fuzz(func(t *testing.T, method uint16, body []byte) {
		for _, c := range codecs() {
			m, err := c.decode(method, body)
			if err != nil {
				if !errors.Is(err, ErrProtocol) {
					t.Errorf("%s: %v, want ErrProtocol", c.name, err)
				}
				continue
			}
			if c.encode == nil {
				continue
			}
			again, encoded := c.encode(m)
			if !bytes.Equal(encoded, body) || again != 0 && again != method {
				t.Errorf("%s %+v encodes to other bytes", c.name, m)
			}
			if twice, err := c.decode(method, encoded); err != nil || !reflect.DeepEqual(twice, m) {
				t.Errorf("%s %+v comes back as %+v, %v", c.name, m, twice, err)
			}
		}
		checkFault(t, method, body)
	})
}

// checkFault: a fault has an error of one kind, with bounded words, and crosses
// a second time as the same kind.
func checkFault(t *testing.T, method uint16, body []byte) {
	m, err := DecodeFault(method, body)
	if err != nil {
		return
	}
	if m.Err == nil || len(m.Err.Error()) > 2*maxText {
		t.Fatalf("fault of method %d is %.100v", method, m.Err)
	}
	sent, encoded := m.Encode()
	twice, err := DecodeFault(sent, encoded)
	if err != nil || sent != method || twice.Used != m.Used {
		t.Errorf("fault %+v crosses again as method %d, %+v, %v", m, sent, twice, err)
	}
	if len(encoded) > MaxFault {
		t.Errorf("fault of method %d has %d bytes, the most is %d", method, len(encoded), MaxFault)
	}
}
