// Package recordingstest tests what [recordings.Store] promises, and has one in memory.
package recordingstest

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/recordings"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// Run tests a store. It calls open once for each test, which returns an empty store in
// which the tenants alice and bob are, and nobody is not.
func Run(t *testing.T, open func(t *testing.T) recordings.Store) {
	for name, test := range map[string]func(*testing.T, recordings.Store){
		"ComesBack": testComesBack, "OfOthers": testOfOthers, "Expires": testExpires, "OldestGo": testOldestGo, "Refuses": testRefuses,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

const plenty = 1 << 30

// entry is a recording of so many bytes.
func entry(size int) recordings.Entry {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return recordings.Entry{
		Call: ledger.NewID(now), Key: "key_a", Sealed: tenancy.Sealed{KeyID: "k1", Bytes: bytes.Repeat([]byte{7}, size)}, Expires: now.Add(time.Hour),
	}
}

func put(t *testing.T, s recordings.Store, tenant knowledge.TenantID, e recordings.Entry, most int64) {
	t.Helper()
	if err := s.PutRecording(t.Context(), tenant, e, most); err != nil {
		t.Fatalf("PutRecording = %v, want nil", err)
	}
}

func there(t *testing.T, s recordings.Store, tenant knowledge.TenantID, call ledger.ID) bool {
	t.Helper()
	_, err := s.Recording(t.Context(), tenant, call)
	if err != nil && !errors.Is(err, knowledge.ErrNotFound) {
		t.Fatalf("Recording = %v, want ErrNotFound if anything", err)
	}
	return err == nil
}

func testComesBack(t *testing.T, s recordings.Store) {
	e := entry(3 << 20)
	put(t, s, "alice", e, plenty)
	if got, err := s.Recording(t.Context(), "alice", e.Call); err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("Recording = %s of %d bytes until %v, %v, want it as it was put", got.Call, len(got.Sealed.Bytes), got.Expires, err)
	}
	if err := s.DeleteRecording(t.Context(), "alice", e.Call); err != nil || there(t, s, "alice", e.Call) {
		t.Errorf("DeleteRecording = %v, want it gone", err)
	}
	if err := s.DeleteRecording(t.Context(), "alice", e.Call); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("DeleteRecording again = %v, want ErrNotFound", err)
	}
}

func testOfOthers(t *testing.T, s recordings.Store) {
	e := entry(10)
	put(t, s, "alice", e, plenty)
	if there(t, s, "bob", e.Call) {
		t.Error("another tenant sees a recording")
	}
	if err := s.DeleteRecording(t.Context(), "bob", e.Call); !errors.Is(err, knowledge.ErrNotFound) || !there(t, s, "alice", e.Call) {
		t.Errorf("DeleteRecording by another tenant = %v, want ErrNotFound, and nothing deleted", err)
	}
}

func testExpires(t *testing.T, s recordings.Store) {
	old, young := entry(10), entry(10)
	old.Expires = time.Now().Add(-time.Second)
	put(t, s, "alice", old, plenty)
	put(t, s, "bob", young, plenty)
	if there(t, s, "alice", old.Call) {
		t.Error("a recording that has expired is there")
	}
	if n, err := s.SweepRecordings(t.Context()); n != 1 || err != nil {
		t.Errorf("SweepRecordings = %d, %v, want 1", n, err)
	}
	if n, err := s.SweepRecordings(t.Context()); n != 0 || err != nil || !there(t, s, "bob", young.Call) {
		t.Errorf("SweepRecordings again = %d, %v, want 0 and the young one left", n, err)
	}
}

func testOldestGo(t *testing.T, s recordings.Store) {
	var all []recordings.Entry
	put(t, s, "bob", entry(900), plenty)
	for i := range 5 {
		all = append(all, entry(100))
		put(t, s, "alice", all[i], 300)
	}
	for i, e := range all {
		if want := i >= 2; there(t, s, "alice", e.Call) != want {
			t.Errorf("recording %d of five of 100 bytes, in 300, is there: %v, want %v", i, !want, want)
		}
	}
	large := entry(1000)
	put(t, s, "alice", large, 300)
	if !there(t, s, "alice", large.Call) || there(t, s, "alice", all[4].Call) {
		t.Error("a recording larger than the room, want it alone")
	}
}

func testRefuses(t *testing.T, s recordings.Store) {
	e := entry(10)
	put(t, s, "alice", e, plenty)
	if err := s.PutRecording(t.Context(), "alice", e, plenty); !errors.Is(err, knowledge.ErrConflict) {
		t.Errorf("PutRecording of the same call = %v, want ErrConflict", err)
	}
	if err := s.PutRecording(t.Context(), "nobody", e, plenty); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("PutRecording of an unknown tenant = %v, want ErrNotFound", err)
	}
}
