package cell

import (
	"sync"
	"sync/atomic"
)

// Stats are a driver's figures. Those of cells are of now, the others since the
// driver was made.
type Stats struct {
	Cells         int // of programs
	Blanks        int // ready to become one
	Quarantined   int // programs
	Adoptions     int64
	ColdStarts    int64           // of cells for which no blank one was ready
	BlankFailures int64           // blank cells that could not be started, or died
	Deaths        map[Death]int64 // an entry for each of [Deaths]
}

// counts are the figures that only grow. Safe for concurrent use.
type counts struct {
	adoptions, coldStarts, blankFailures atomic.Int64

	mu     sync.Mutex
	deaths map[Death]int64
}

func (c *counts) died(d Death) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deaths == nil {
		c.deaths = make(map[Death]int64)
	}
	c.deaths[d]++
}

// Stats returns the driver's figures.
func (d *Driver) Stats() Stats {
	d.mu.Lock()
	cells := 0
	for s := range d.sessions {
		if s.program() != nil {
			cells++
		}
	}
	d.mu.Unlock()
	st := Stats{
		Cells: cells, Blanks: d.blanks.count(), Quarantined: len(d.quarantine.list()),
		Adoptions: d.counts.adoptions.Load(), ColdStarts: d.counts.coldStarts.Load(),
		BlankFailures: d.counts.blankFailures.Load(), Deaths: make(map[Death]int64),
	}
	d.counts.mu.Lock()
	defer d.counts.mu.Unlock()
	for _, death := range Deaths() {
		st.Deaths[death] = d.counts.deaths[death]
	}
	return st
}

// Cells returns how many cells of programs there are.
func (d *Driver) Cells() int { return d.Stats().Cells }
