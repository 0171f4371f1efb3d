package wire

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
)

// gate is a stream whose writes wait for the test, one after the other.
type gate struct {
	begun chan []byte // what a write is about to send
	pass  chan error  // how it ends
}

func newGate() *gate { return &gate{begun: make(chan []byte), pass: make(chan error)} }

func (g *gate) Write(p []byte) (int, error) {
	g.begun <- bytes.Clone(p)
	if err := <-g.pass; err != nil {
		return 0, err
	}
	return len(p), nil
}

// values reads what was written.
func values(t *testing.T, b []byte) []Value {
	t.Helper()
	var all []Value
	for r := NewReader(bytes.NewReader(b), anything); ; {
		v, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		all = append(all, v)
	}
}

// TestWriterBatches: what comes while a write is under way, and what was queued,
// goes out in one write.
func TestWriterBatches(t *testing.T) {
	g := newGate()
	w := NewWriter(g)
	first := make(chan error, 1)
	go func() { first <- w.Write(OpCall, 0, 1) }()
	<-g.begun
	if err := w.Queue(OpLog, 0, 2, []byte("l")); err != nil {
		t.Errorf("Queue: %v", err)
	}
	for id := range uint32(3) {
		if err := w.Write(OpCall, 0, 2+id, []byte("x")); err != nil { // does not wait
			t.Errorf("Write: %v", err)
		}
	}
	g.pass <- nil
	if got := values(t, <-g.begun); len(got) != 4 || got[0].Op != OpLog || got[3].ID != 4 {
		t.Errorf("the second write is %v, want a log and three calls", got)
	}
	g.pass <- nil
	if err := <-first; err != nil {
		t.Errorf("the first Write: %v", err)
	}
}

// TestWriterFair: a long value holds up a short one by no more than the frame
// that is being written and one that waits.
func TestWriterFair(t *testing.T) {
	g := newGate()
	w := NewWriter(g)
	const long = 64 * chunk
	var writers sync.WaitGroup
	for id := range uint32(2) { // two long ones, so that one of them waits
		writers.Go(func() {
			if err := w.Write(OpCall, 0, id, make([]byte, long)); err != nil {
				t.Errorf("Write: %v", err)
			}
		})
	}
	var stream []byte
	next := func() {
		stream = append(stream, <-g.begun...)
		g.pass <- nil
	}
	next()
	stream = append(stream, <-g.begun...)
	before := len(stream)
	if err := w.Write(OpCancel, 0, 9); err != nil {
		t.Errorf("Write: %v", err)
	}
	g.pass <- nil
	for len(stream) < 2*long {
		next()
	}
	writers.Wait()
	r := bytes.NewReader(stream)
	reader := NewReader(r, anything)
	v, err := reader.Next()
	if err != nil || v.Op != OpCancel {
		t.Fatalf("the first whole value is %v of call %d, %v, want the cancel", v.Op, v.ID, err)
	}
	if at := len(stream) - r.Len(); at > before+maxQueue+readBuffer {
		t.Errorf("the short value ends at byte %d, want it at most %d behind byte %d, where the stream was", at, maxQueue, before)
	}
}

// TestWriterFails: who waits for a write that fails hears of it, and so does
// whoever comes later.
func TestWriterFails(t *testing.T) {
	g := newGate()
	w := NewWriter(g)
	broken := errors.New("broken pipe")
	errs := make(chan error)
	for id := range uint32(4) { // one writes, three have no room
		go func() { errs <- w.Write(OpCall, 0, id, make([]byte, 8*chunk)) }()
	}
	<-g.begun
	g.pass <- broken
	for range 4 {
		if err := <-errs; !errors.Is(err, broken) {
			t.Errorf("Write = %v, want %v", err, broken)
		}
	}
	if err := w.Write(OpPing, 0, 0); !errors.Is(err, broken) {
		t.Errorf("Write afterwards = %v, want %v", err, broken)
	}
}

// TestWriterLosesNothing: many writers of values short and long, over a stream
// that takes its time.
func TestWriterLosesNothing(t *testing.T) {
	const writers, each = 16, 200
	from, to := io.Pipe()
	w := NewWriter(to)
	var group sync.WaitGroup
	for i := range uint32(writers) {
		group.Go(func() {
			for n := range uint32(each) {
				length := int(n % 7)
				if n%50 == i {
					length = 3*chunk + 1
				}
				put := w.Write
				if n%5 == 0 && n < each-1 {
					put = w.Queue
				}
				if err := put(OpResult, uint16(n), i, bytes.Repeat([]byte{byte(n)}, length)); err != nil {
					t.Errorf("Write: %v", err)
				}
			}
		})
	}
	go func() {
		group.Wait()
		_ = to.Close()
	}()
	var next [writers]uint16
	for r := NewReader(from, anything); ; {
		v, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		if v.Method != next[v.ID] || len(v.Body) > 0 && v.Body[len(v.Body)-1] != byte(v.Method) {
			t.Errorf("value %d of writer %d came, want %d", v.Method, v.ID, next[v.ID])
		}
		next[v.ID]++
	}
	for i, n := range next {
		if n != each {
			t.Errorf("%d values of writer %d came, want %d", n, i, each)
		}
	}
}
