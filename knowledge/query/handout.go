package query

import (
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"slices"
	"sync"

	"github.com/tars-project/tars/knowledge"
)

// Handout is what the plugins of one step are given. All of them share it, and
// none may change it.
type Handout struct {
	Text       string // of the query
	Limit      int    // matches that are wanted
	Legs       []HandedLeg
	Lists      []HandedList // what each retrieval found; of a merge alone
	Candidates []Candidate  // best first
	// Embed makes the vector of a text by the embedder of the query's
	// collections, or returns an [knowledge.InvalidError].
	Embed func(ctx context.Context, text string) ([]float32, error)

	rows [][]LegRow // of each candidate
	once sync.Once
	json []byte
	err  error
}

// HandedLeg is one leg of the query.
type HandedLeg struct {
	Leg        int // index in Query.Legs
	Collection knowledge.CollectionName
	Owner      knowledge.TenantID
	Mode       Mode
	Filter     knowledge.Filter
	Dimension  int   // of its rows; 0 without any
	rows       []int // candidates whose vectors may be had, in the order in which the leg found them
}

// Rows is how many vectors the leg has.
func (l HandedLeg) Rows() int { return len(l.rows) }

// HandedList is what one retrieval found, best first.
type HandedList struct {
	Leg     int
	Mode    Mode // Vector or Lexical
	Weight  float64
	Entries []Scored // of the candidates; without reasons
}

// LegRow says where a leg has a candidate.
type LegRow struct {
	Leg int
	Row int // of its vector; -1: there is none to be had
}

// handout prepares what a step is given.
func (r *run) handout(candidates []Candidate) *Handout {
	h := &Handout{Text: r.q.Text, Limit: r.q.Limit, Candidates: candidates, Embed: r.embedder, rows: make([][]LegRow, len(candidates))}
	at := make(map[int]int, len(r.q.Legs)) // of each leg in h.Legs
	for i, leg := range r.q.Legs {
		if !r.dropped[i] {
			at[i] = len(h.Legs)
			h.Legs = append(h.Legs, HandedLeg{Leg: i, Collection: leg.Collection, Owner: leg.Owner, Mode: leg.Mode, Filter: leg.Filter})
		}
	}
	type found struct{ index, list, rank int }
	finds := make([][]found, len(h.Legs))
	for i, c := range candidates {
		for _, l := range c.Legs {
			f := found{i, 0, l.Rank}
			if l.Mode == Lexical {
				f.list = 1
			}
			finds[at[l.Leg]] = append(finds[at[l.Leg]], f)
		}
	}
	for j := range h.Legs {
		leg := &h.Legs[j]
		slices.SortFunc(finds[j], func(a, b found) int { return cmp.Or(cmp.Compare(a.list, b.list), cmp.Compare(a.rank, b.rank)) })
		for _, f := range finds[j] {
			if rows := h.rows[f.index]; len(rows) > 0 && rows[len(rows)-1].Leg == leg.Leg {
				continue // the other list of a hybrid has it too
			}
			row := LegRow{Leg: leg.Leg, Row: -1}
			if v := candidates[f.index].Vector; len(v) > 0 && (leg.Dimension == 0 || len(v) == leg.Dimension) {
				leg.Dimension = len(v)
				row.Row = len(leg.rows)
				leg.rows = append(leg.rows, f.index)
			}
			h.rows[f.index] = append(h.rows[f.index], row)
		}
	}
	return h
}

// Rows says where legs have a candidate; none for a handout that no query made.
func (h *Handout) Rows(candidate int) []LegRow {
	if candidate >= len(h.rows) {
		return nil
	}
	return h.rows[candidate]
}

// Vectors returns rows first to first+count-1 of a leg, one after the other, as
// little-endian float32s, or an [knowledge.InvalidError]. The numbers come from a
// guest.
func (h *Handout) Vectors(leg, first, count uint32) ([]byte, error) {
	i := slices.IndexFunc(h.Legs, func(l HandedLeg) bool { return uint64(l.Leg) == uint64(leg) })
	if i < 0 {
		return nil, knowledge.Invalid("leg", "is none of the query's")
	}
	rows := h.Legs[i].rows
	if uint64(first)+uint64(count) > uint64(len(rows)) {
		return nil, knowledge.Invalid("count", "ends behind row %d, the number of rows of the leg", len(rows))
	}
	out := make([]byte, 0, 4*int(count)*h.Legs[i].Dimension)
	for _, index := range rows[first:][:count] {
		for _, x := range h.Candidates[index].Vector {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
		}
	}
	return out, nil
}

// Document returns what encode made of the candidates, which is called once for
// all plugins of the step. What it returns must not be changed.
func (h *Handout) Document(encode func(*Handout) ([]byte, error)) ([]byte, error) {
	h.once.Do(func() { h.json, h.err = encode(h) })
	return h.json, h.err
}
