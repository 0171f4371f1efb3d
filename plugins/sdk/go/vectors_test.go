package tars

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
)

// foundBy makes a passage of pairs of leg and row; a row of -1 is none.
func foundBy(pairs ...int) Passage {
	var p Passage
	for i := 0; i < len(pairs); i += 2 {
		found := FoundBy{Leg: pairs[i]}
		if row := pairs[i+1]; row >= 0 {
			found.Row = &row
		}
		p.Legs = append(p.Legs, found)
	}
	return p
}

// TestVectorsOf: each passage gets the row that is its own, each leg is asked once
// and only for what is missing.
func TestVectorsOf(t *testing.T) {
	var asked []string
	width := map[uint32]int{0: 2, 1: 3}
	// A row's components are ten times the leg, and the row.
	host := func(leg, first, count uint32) ([]float32, error) {
		asked = append(asked, fmt.Sprint(leg, first, count))
		var all []float32
		for row := first; row < first+count; row++ {
			for range width[leg] {
				all = append(all, float32(leg)*100+float32(row))
			}
		}
		return all, nil
	}
	got, err := vectorsOf([]Passage{
		foundBy(0, 4), foundBy(0, 2), foundBy(), foundBy(0, -1), foundBy(0, -1, 1, 0), foundBy(0, 3, 1, 9), foundBy(2, -1), foundBy(1, 1),
	}, host)
	want := [][]float32{{4, 4}, {2, 2}, nil, nil, {100, 100, 100}, {3, 3}, nil, {101, 101, 101}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("vectorsOf = %v, %v; want %v", got, err, want)
	}
	if want := []string{"0 2 3", "1 0 2"}; !reflect.DeepEqual(asked, want) {
		t.Errorf("the host was asked for leg, first, count %q, want %q", asked, want)
	}
}

func TestVectorsOfNothing(t *testing.T) {
	host := func(uint32, uint32, uint32) ([]float32, error) {
		t.Error("the host was asked, want no call")
		return nil, nil
	}
	if got, err := vectorsOf([]Passage{foundBy(), foundBy(0, -1)}, host); err != nil || len(got) != 2 || got[0] != nil || got[1] != nil {
		t.Errorf("vectorsOf = %v, %v; want two of nil", got, err)
	}
}

// TestVectorsOfFails: the host's error is the plugin's, code and all.
func TestVectorsOfFails(t *testing.T) {
	refused := &Error{Code: "over-budget", Message: "no more"}
	_, err := vectorsOf([]Passage{foundBy(0, 0)}, func(uint32, uint32, uint32) ([]float32, error) { return nil, refused })
	var e *Error
	if !errors.As(err, &e) || e != refused {
		t.Errorf("vectorsOf error = %v, want %v", err, refused)
	}
}
