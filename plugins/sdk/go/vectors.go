package tars

import (
	"fmt"
	"maps"
	"slices"
)

// VectorsOf fetches the stored vectors of passages, with one call of the host for
// each leg that adds some. They come by the position of the passage, and are nil
// where none may be had: the passage was found by words alone, or a guard
// redacted it. Passages of several collections may have vectors of several
// lengths. The error is the host's *Error. A plugin that calls it needs the grant
// "vectors".
func VectorsOf(passages []Passage) ([][]float32, error) { return vectorsOf(passages, Vectors) }

// vectorsOf is VectorsOf over any host.
func vectorsOf(passages []Passage, fetch func(leg, first, count uint32) ([]float32, error)) ([][]float32, error) {
	rows := map[int]map[int]int{} // by leg: the row of the passage at a position
	for position, p := range passages {
		for _, found := range p.Legs {
			if found.Row == nil {
				continue
			}
			if rows[found.Leg] == nil {
				rows[found.Leg] = map[int]int{}
			}
			rows[found.Leg][position] = *found.Row
		}
	}
	all := make([][]float32, len(passages))
	for _, leg := range slices.Sorted(maps.Keys(rows)) {
		wanted := rows[leg]
		maps.DeleteFunc(wanted, func(position, _ int) bool { return all[position] != nil })
		if len(wanted) == 0 {
			continue
		}
		sorted := slices.Sorted(maps.Values(wanted))
		first, count := sorted[0], sorted[len(sorted)-1]-sorted[0]+1
		vectors, err := fetch(uint32(leg), uint32(first), uint32(count))
		if err != nil {
			return nil, fmt.Errorf("vectors of leg %d: %w", leg, err)
		}
		width := len(vectors) / count
		for position, row := range wanted {
			at := (row - first) * width
			all[position] = vectors[at : at+width : at+width]
		}
	}
	return all, nil
}
