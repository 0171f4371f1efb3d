package main

import (
	"testing"

	"github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild"
	"github.com/tars-project/tars/vmhost/wasm"
)

// TestWithMemory: a module with another memory is valid and says so.
func TestWithMemory(t *testing.T) {
	module := wasmbuild.Plugin{Pages: 2, Handle: wasmbuild.I32(0)}.Encode()
	larger, err := withMemory(module, 16)
	if err != nil {
		t.Fatalf("withMemory: %v", err)
	}
	inspection, err := wasm.Check(larger, wasm.DefaultLimits())
	if err != nil || inspection.Memory.Min != 16 || inspection.Memory.Max != 16 {
		t.Errorf("memory %+v, %v, want 16 pages and no more", inspection, err)
	}
}

// TestQuantile: by the nearest rank, also of few values and of none.
func TestQuantile(t *testing.T) {
	values := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for q, want := range map[float64]int{0: 1, 0.5: 5, 0.95: 10, 0.9: 9, 1: 10} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile(%v) = %d, want %d", q, got, want)
		}
	}
	if got := quantile([]int(nil), 0.5); got != 0 {
		t.Errorf("quantile of nothing = %d, want 0", got)
	}
	if got := round(123456.7); got != 123500 {
		t.Errorf("round = %v, want 123500", got)
	}
}
