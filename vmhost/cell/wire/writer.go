package wire

import (
	"encoding/binary"
	"io"
	"slices"
	"sync"
)

const (
	// chunk is the body of a frame whose value continues: short enough for
	// frames of other calls to get between, long enough for few writes. A
	// rest of up to slack more goes with the last one.
	chunk = 64 << 10
	slack = 4 << 10
	// maxQueue is how many bytes may wait for a write under way. Frames
	// that find no room wait for the next.
	maxQueue = 2 * chunk
	// maxRounds is how many writes a goroutine makes for others before who
	// comes next has to take over.
	maxRounds = 8
	// keptBuffer is the longest buffer that is kept when nothing waits.
	keptBuffer = 80 << 10
)

// Writer puts values on a stream. Safe for concurrent use: values of several
// goroutines are interleaved frame by frame, so that a long one holds up a
// short one by a frame or two. What comes while a write is under way goes out
// together with the next. Two values of the same operation and id must not be
// written at once.
type Writer struct {
	w io.Writer

	mu      sync.Mutex
	queue   []byte     // whole frames to be written, in order
	spare   []byte     // the buffer of the last write, empty
	busy    bool       // a goroutine is writing, and will write the queue too or hand it to one that waits
	rounds  int        // writes that it has made
	waiting int        // goroutines in room.Wait; each flushes afterwards
	room    *sync.Cond // broadcast when the queue was taken, and when busy ends
	err     error      // the first failure: what follows half a frame means nothing
}

// NewWriter returns a writer to w.
func NewWriter(w io.Writer) *Writer {
	wr := &Writer{w: w}
	wr.room = sync.NewCond(&wr.mu)
	return wr
}

// Write sends one value whose body is the parts one after the other, which are
// not kept. It may return while frames of the value wait for a write of another
// goroutine; then the error of that write is the other's, and of all later
// ones. It blocks while the other side does not read and much waits already;
// closing the stream ends that.
func (w *Writer) Write(op Op, method uint16, id uint32, parts ...[]byte) error {
	return w.put(true, op, method, id, parts)
}

// Queue is Write for a value behind which another comes at once: unless it is
// long, it stays here until that is written.
func (w *Writer) Queue(op Op, method uint16, id uint32, parts ...[]byte) error {
	return w.put(false, op, method, id, parts)
}

func (w *Writer) put(flush bool, op Op, method uint16, id uint32, parts [][]byte) error {
	left := 0
	for _, p := range parts {
		left += len(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		n := left
		if n > chunk+slack {
			n = chunk
		}
		left -= n
		flush = w.makeRoom(n) || flush || left > 0 // a frame of a long value each time: others get between
		if w.err != nil {
			return w.err
		}
		w.queue = slices.Grow(w.queue, headerLen+n)
		w.queue = appendHeader(w.queue, n, op, left > 0, method, id)
		w.queue, parts = appendParts(w.queue, n, parts)
		if flush && !w.busy {
			w.flush()
		}
		if left == 0 || w.err != nil {
			return w.err
		}
	}
}

// makeRoom waits until a body of n bytes may be queued, and reports whether the
// caller must see to it that the queue is flushed. The caller holds mu.
func (w *Writer) makeRoom(n int) (mustFlush bool) {
	for w.err == nil {
		full := len(w.queue) > 0 && len(w.queue)+headerLen+n > maxQueue
		switch {
		case w.busy && (full || w.rounds >= maxRounds):
			w.waiting++
			w.room.Wait()
			w.waiting--
			mustFlush = true
		case full:
			w.flush()
		default:
			return mustFlush
		}
	}
	return mustFlush
}

// flush writes the queue, and what is added to it meanwhile unless somebody
// waits who can do that. The caller holds mu and has seen that nobody is busy.
func (w *Writer) flush() {
	w.busy, w.rounds = true, 0
	for len(w.queue) > 0 && w.err == nil && (w.rounds == 0 || w.waiting == 0) {
		b := w.queue
		w.queue, w.spare = w.spare[:0], nil
		w.rounds++
		if w.waiting > 0 && w.rounds < maxRounds {
			w.room.Broadcast()
		}
		w.mu.Unlock()
		_, err := w.w.Write(b)
		w.mu.Lock()
		if err != nil {
			w.err = err
		}
		if w.spare = b[:0]; cap(b) > keptBuffer {
			w.spare = nil
		}
	}
	w.busy = false
	if w.waiting > 0 {
		w.room.Broadcast() // one of them flushes, or all see err
	}
}

func appendHeader(b []byte, length int, op Op, more bool, method uint16, id uint32) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(length))
	flags := byte(0)
	if more {
		flags = flagMore
	}
	b = append(b, byte(op), flags)
	b = binary.LittleEndian.AppendUint16(b, method)
	return binary.LittleEndian.AppendUint32(b, id)
}

// appendParts appends the next n bytes of parts, and returns what is left of
// them.
func appendParts(b []byte, n int, parts [][]byte) (longer []byte, rest [][]byte) {
	for n > 0 {
		p := parts[0]
		m := min(n, len(p))
		b = append(b, p[:m]...)
		n -= m
		if m == len(p) {
			parts = parts[1:]
		} else {
			parts[0] = p[m:]
		}
	}
	return b, parts
}
