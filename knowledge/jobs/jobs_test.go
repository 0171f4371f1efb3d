package jobs_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/jobs"
)

func TestIDsSortByTime(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var ids []string
	for i := range 1000 {
		id := jobs.NewID(start.Add(time.Duration(i) * 37 * time.Millisecond))
		if got, err := jobs.ParseID(string(id)); got != id || err != nil {
			t.Fatalf("ParseID(%s) = %s, %v, want itself", id, got, err)
		}
		ids = append(ids, string(id))
	}
	if !slices.IsSorted(ids) {
		t.Error("ids are not in the order of their times")
	}
	if a, b := jobs.NewID(start), jobs.NewID(start); a == b || a[:9] != b[:9] {
		t.Errorf("two ids of one time = %s, %s, want the same beginning and other ends", a, b)
	}
}

func TestParse(t *testing.T) {
	for _, bad := range []string{"", "a", strings.Repeat("w", 26), strings.Repeat("A", 26), strings.Repeat("0", 27), strings.Repeat("0", 25) + "\x00", strings.Repeat("é", 13)} {
		if _, err := jobs.ParseID(bad); !errors.Is(err, knowledge.ErrInvalid) {
			t.Errorf("ParseID(%q) = %v, want an InvalidError", bad, err)
		}
	}
	for _, bad := range []string{"", "A", "1a", "a-b", "a\x00", strings.Repeat("a", 64), "é"} {
		if _, err := jobs.ParseKind(bad); !errors.Is(err, knowledge.ErrInvalid) {
			t.Errorf("ParseKind(%q) = %v, want an InvalidError", bad, err)
		}
	}
	if kind, err := jobs.ParseKind("build_index2"); kind != "build_index2" || err != nil {
		t.Errorf("ParseKind = %q, %v", kind, err)
	}
	if _, err := jobs.ParseState("done"); !errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("ParseState(done) = %v, want an InvalidError", err)
	}
	for _, s := range jobs.States() {
		if got, err := jobs.ParseState(string(s)); got != s || err != nil {
			t.Errorf("ParseState(%s) = %s, %v, want itself", s, got, err)
		}
	}
}
