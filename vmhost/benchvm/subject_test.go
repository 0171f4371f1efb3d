package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSubjects: each way of running a plugin gives the same output, call after
// call, also at once. It needs the shipped binary and the plugin in C, which
// `make check-bench` builds first.
func TestSubjects(t *testing.T) {
	executable, err := filepath.Abs("../../bin/tars")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(executable); err != nil {
		t.Fatalf("the shipped binary: %v; run make build", err)
	}
	j, err := readJob("../../bin/guests/languages", langC, executable)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range subjects {
		r, err := open(t.Context(), subject, j)
		if err != nil {
			t.Errorf("open(%s): %v", subject, err)
			continue
		}
		b := obey(t.Context(), r, order{Callers: 3, Lasts: 20 * time.Millisecond}, []byte(ranked))
		if b.Errors != 0 || len(b.Outer) == 0 {
			t.Errorf("%s: %d calls, %d errors (%s), want calls and no error", subject, len(b.Outer), b.Errors, b.First)
		}
		if err := r.close(); err != nil {
			t.Errorf("%s: close: %v", subject, err)
		}
	}
}
