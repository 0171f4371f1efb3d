package vmhost

import "time"

// line is what is known of an account: its calls that wait, in the order in
// which they came, what it has running, and how much service it has had.
type line struct {
	account Account
	most    int     // running calls, as the account's latest call had it
	weight  float64 // as its latest call had it
	memory  accountMemory
	running int

	first, last *waiter
	waiting     int

	// served is the account's virtual time: the slot time that its calls took,
	// or are expected to take, divided by its weight.
	served float64
	turn   uint64 // among lines that were served as much: the lowest is next
	place  int    // in slots.ready; -1 when it is not there
	hungry bool   // in slots.hungry
}

// waiter is a call that waits. done is closed when it has its slot or err.
type waiter struct {
	memory   int64         // as in need
	expect   time.Duration // too
	since    time.Time
	deadline time.Time
	done     chan struct{}
	slot     slot
	err      error

	line       *line // nil when it no longer waits
	prev, next *waiter
}

// late is the error of a call that could wait no longer.
func (w *waiter) late() *BudgetError {
	may := w.deadline.Sub(w.since).Microseconds()
	return &BudgetError{Budget: BudgetQueueTime, Used: may, Allowed: may}
}

// push puts a call behind the others.
func (l *line) push(w *waiter) {
	w.line, w.prev = l, l.last
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.waiting++
}

// remove takes a call out, wherever it is.
func (l *line) remove(w *waiter) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.line, w.prev, w.next = nil, nil, nil
	l.waiting--
}

// idle reports that nothing of the account waits or runs.
func (l *line) idle() bool { return l.running == 0 && l.first == nil }

// able reports whether the account itself would let one more call run.
func (l *line) able(memory int64) bool { return l.running < l.most && l.memory.fits(memory) }

// lineHeap has the lines whose first call the account would let run, the one
// that was served least on top. It implements [container/heap.Interface].
type lineHeap []*line

func (h lineHeap) Len() int { return len(h) }

func (h lineHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	return a.served < b.served || a.served == b.served && a.turn < b.turn
}

func (h lineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *lineHeap) Push(x any) {
	l := x.(*line)
	l.place = len(*h)
	*h = append(*h, l)
}

func (h *lineHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.place = -1
	return l
}
