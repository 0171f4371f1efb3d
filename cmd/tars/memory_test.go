package main

import "testing"

func TestMemTotal(t *testing.T) {
	for _, c := range []struct {
		info string
		want int64 // 0: an error
	}{
		{"MemTotal:        8028012 kB\nMemFree:          100 kB\n", 8028012 << 10},
		{"MemFree:          100 kB\nMemTotal:        1 kB\n", 1 << 10},
		{"", 0},
		{"MemTotal: many kB\n", 0},
		{"MemTotal: 12\n", 0},
	} {
		if got, err := memTotal(c.info); got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("memTotal(%q) = %d, %v, want %d", c.info, got, err, c.want)
		}
	}
	if all, err := machineMemory(); err != nil || all < 16<<20 {
		t.Errorf("machineMemory() = %d, %v, want what this machine has", all, err)
	}
}

func TestCgroupLimit(t *testing.T) {
	for text, want := range map[string]int64{"max\n": 100, "40\n": 40, "9223372036854771712\n": 9223372036854771712, "": 100, "-1\n": 100} {
		if got := cgroupLimit(text, 100); got != want {
			t.Errorf("cgroupLimit(%q) = %d, want %d", text, got, want)
		}
	}
}
