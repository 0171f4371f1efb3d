package storetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
)

func attemptOf(key, body string) knowledge.Attempt {
	return knowledge.Attempt{Key: key, Route: "put c", Principal: "k1", Body: sha256.Sum256([]byte(body))}
}

// onceWriting is a write of record id under an attempt.
func (s suite) onceWriting(t testing.TB, tenant knowledge.TenantID, a knowledge.Attempt, id knowledge.RecordID) (knowledge.Reply, bool, error) {
	t.Helper()
	return s.Store.Once(t.Context(), tenant, a, func(session knowledge.Session) (knowledge.Reply, error) {
		results, err := session.PutRecords(t.Context(), tenant, "c", knowledge.Write{Records: []knowledge.Record{record(id, "")}})
		if err != nil {
			return knowledge.Reply{}, err
		}
		return knowledge.Reply{
			Status: 200, Header: map[string]string{"Content-Type": "application/json"}, Body: fmt.Appendf(nil, `{"version":%d}`, results[0].Version),
		}, nil
	})
}

func testOnce(t *testing.T, s suite) {
	s.put(t, alice, dimension("c", 2))
	s.put(t, bob, dimension("c", 2))
	a := attemptOf("key-1", "body")
	if _, kept, err := s.Store.Replay(t.Context(), alice, a); kept || err != nil {
		t.Errorf("Replay before Once = %v, %v, want nothing", kept, err)
	}
	first, replayed, err := s.onceWriting(t, alice, a, "a")
	if err != nil || replayed || string(first.Body) != `{"version":1}` {
		t.Fatalf("Once = %+v, replayed %v, %v, want version 1", first, replayed, err)
	}
	for range 2 {
		again, replayed, err := s.onceWriting(t, alice, a, "a")
		if err != nil || !replayed || !reflect.DeepEqual(again, first) {
			t.Errorf("Once again = %+v, replayed %v, %v, want the same: %+v", again, replayed, err, first)
		}
	}
	if got, kept, err := s.Store.Replay(t.Context(), alice, a); !kept || err != nil || !reflect.DeepEqual(got, first) {
		t.Errorf("Replay = %+v, %v, %v, want %+v", got, kept, err, first)
	}
	s.wantTexts(t, "three attempts", "c", texts{"a": " v1"})

	for what, other := range map[string]knowledge.Attempt{
		"body":      attemptOf("key-1", "another body"),
		"route":     {Key: "key-1", Route: "delete c", Principal: a.Principal, Body: a.Body},
		"principal": {Key: "key-1", Route: a.Route, Principal: "k2", Body: a.Body},
	} {
		_, _, err := s.onceWriting(t, alice, other, "b")
		wantKind(t, "Once with another "+what, err, knowledge.ErrReused)
		_, _, err = s.Store.Replay(t.Context(), alice, other)
		wantKind(t, "Replay with another "+what, err, knowledge.ErrReused)
	}
	if _, replayed, err := s.onceWriting(t, bob, a, "a"); replayed || err != nil {
		t.Errorf("Once with another tenant's key = replayed %v, %v, want its own effect", replayed, err)
	}

	// What failed was not done, and may be tried again.
	failing := attemptOf("key-2", "body")
	broken := errors.New("broken")
	_, _, err = s.Store.Once(t.Context(), alice, failing, func(session knowledge.Session) (knowledge.Reply, error) {
		if _, err := session.PutRecords(t.Context(), alice, "c", knowledge.Write{Records: []knowledge.Record{record("undone", "")}}); err != nil {
			return knowledge.Reply{}, err
		}
		return knowledge.Reply{}, broken
	})
	wantKind(t, "Once that fails", err, broken)
	s.wantTexts(t, "an attempt that failed", "c", texts{"a": " v1"})
	if _, replayed, err := s.onceWriting(t, alice, failing, "b"); replayed || err != nil {
		t.Errorf("Once after a failure = replayed %v, %v, want its effect", replayed, err)
	}
	if n, err := s.Store.SweepReplies(t.Context(), 100); n != 0 || err != nil {
		t.Errorf("SweepReplies = %d, %v, want none: all are young", n, err)
	}
}

// testOnceAtATime sends one request many times at once: one has its effect, and
// none waits for another.
func testOnceAtATime(t *testing.T, s suite) {
	s.put(t, alice, dimension("c", 2))
	a := attemptOf("key", "")
	started, finish := make(chan struct{}), make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		_, replayed, err := s.Store.Once(t.Context(), alice, a, func(session knowledge.Session) (knowledge.Reply, error) {
			close(started)
			<-finish
			_, err := session.PutRecords(t.Context(), alice, "c", knowledge.Write{Records: []knowledge.Record{record("a", "")}})
			return knowledge.Reply{Status: 204}, err
		})
		if replayed || err != nil {
			t.Errorf("the first Once = replayed %v, %v, want its effect", replayed, err)
		}
	})
	<-started
	_, _, err := s.onceWriting(t, alice, a, "b")
	wantKind(t, "Once while it runs", err, knowledge.ErrRunning)
	close(finish)
	done.Wait()

	var effects, replays atomic.Int64
	for i := range 8 {
		done.Go(func() {
			_, replayed, err := s.onceWriting(t, alice, attemptOf("many", ""), "many")
			switch {
			case err == nil && replayed:
				replays.Add(1)
			case err == nil:
				effects.Add(1)
			case !errors.Is(err, knowledge.ErrRunning):
				t.Errorf("Once %d = %v, want its effect, a replay or running", i, err)
			}
		})
	}
	done.Wait()
	if effects.Load() != 1 {
		t.Errorf("of 8 attempts %d had their effect and %d were replayed, want one effect", effects.Load(), replays.Load())
	}
	s.wantTexts(t, "attempts at once", "c", texts{"a": " v1", "many": " v1"})
}

func testAtomically(t *testing.T, s suite) {
	ctx := t.Context()
	broken := errors.New("broken")
	twice := func(fail bool) error {
		return s.Store.Atomically(ctx, alice, func(session knowledge.Session) error {
			if _, _, err := session.PutCollection(ctx, alice, valid(t, dimension("new", 2))); err != nil {
				return err
			}
			for _, id := range []knowledge.RecordID{"a", "b"} {
				if _, err := session.PutRecords(ctx, alice, "new", knowledge.Write{Records: []knowledge.Record{record(id, "")}}); err != nil {
					return err
				}
			}
			if got, err := session.Record(ctx, alice, "new", "b"); err != nil || got.Version != 1 {
				t.Errorf("Record in the transaction = %+v, %v, want what it wrote", got, err)
			}
			if fail {
				return broken
			}
			return nil
		})
	}
	wantKind(t, "Atomically that fails", twice(true), broken)
	_, err := s.Store.Collection(ctx, alice, "new")
	wantKind(t, "Collection after a failed transaction", err, knowledge.ErrNotFound)
	if err := twice(false); err != nil {
		t.Fatalf("Atomically = %v, want nil", err)
	}
	s.wantTexts(t, "a transaction", "new", texts{"a": " v1", "b": " v1"})
}

// testExclusively: a writer by an alias that moves in an exclusive transaction waits,
// and then writes to where it stands.
func testExclusively(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("old", 2))
	s.put(t, alice, dimension("next", 2))
	point := func(session knowledge.Session, at knowledge.CollectionName) error {
		_, err := session.ChangeAliases(ctx, alice, []knowledge.AliasAction{{Alias: "docs", Collection: at}})
		return err
	}
	if err := point(s.Store, "old"); err != nil {
		t.Fatalf("ChangeAliases = %v, want nil", err)
	}
	var writers sync.WaitGroup
	err := s.Store.Exclusively(ctx, alice, "old", func(session knowledge.Session) error {
		for i := range 4 {
			writers.Go(func() {
				s.write(t, alice, "docs", record(knowledge.RecordID(fmt.Sprint(i)), ""))
			})
		}
		time.Sleep(100 * time.Millisecond) // for the writers to come this far; without it the test is only weaker
		if got, err := session.CountRecords(ctx, alice, "old", knowledge.Filter{}, true); got.Records != 0 || err != nil {
			t.Errorf("in the exclusive transaction there are %d records, %v, want none", got.Records, err)
		}
		return point(session, "next")
	})
	writers.Wait()
	if err != nil {
		t.Fatalf("Exclusively = %v, want nil", err)
	}
	s.wantTexts(t, "where the alias stood", "old", texts{})
	s.wantTexts(t, "where it stands", "next", texts{"0": " v1", "1": " v1", "2": " v1", "3": " v1"})
	broken := errors.New("broken")
	wantKind(t, "Exclusively that fails", s.Store.Exclusively(ctx, alice, "next", func(session knowledge.Session) error {
		if err := point(session, "old"); err != nil {
			return err
		}
		return broken
	}), broken)
	if a, err := s.Store.Alias(ctx, alice, "docs"); err != nil || a.Collection != "next" {
		t.Errorf("after a failure the alias stands for %q, %v, want next", a.Collection, err)
	}
	wantKind(t, "Exclusively by an alias", s.Store.Exclusively(ctx, alice, "docs", func(knowledge.Session) error { return nil }), knowledge.ErrConflict)
}

// testOtherEmbedder: vectors of another space than the collection's are refused, in a
// way that says that the same request may succeed later.
func testOtherEmbedder(t *testing.T, s suite) {
	c := dimension("c", 2)
	c.Embedder = knowledge.EmbedderInfo{ID: "local", Version: "2", Dimension: 2}
	s.put(t, alice, c)
	w := knowledge.Write{Records: []knowledge.Record{record("a", "")}, Embedder: &knowledge.EmbedderInfo{ID: "local", Version: "1", Dimension: 2}}
	_, err := s.Store.PutRecords(t.Context(), alice, "c", w)
	wantKind(t, "PutRecords with vectors of another version", err, knowledge.ErrUnavailable)
	s.wantTexts(t, "after it", "c", texts{})
	w.Embedder = &c.Embedder
	if _, err := s.Store.PutRecords(t.Context(), alice, "c", w); err != nil {
		t.Errorf("PutRecords with vectors of the same embedder = %v, want nil", err)
	}
}

func testSnapshot(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("c", 2))
	s.put(t, alice, dimension("gone", 2))
	s.put(t, bob, dimension("other", 2))
	s.write(t, alice, "c", numbered(50)...)
	s.write(t, alice, "gone", numbered(5)...)
	err := s.Store.Snapshot(ctx, alice, func(reader knowledge.Reader) error {
		first := s.scrolled(t, reader, "c", knowledge.Scroll{Limit: 7, Metadata: true})
		s.write(t, alice, "c", record("new", ""), record("00007", "changed"))
		if _, err := s.Store.DeleteRecords(ctx, alice, "c", knowledge.Selection{Filter: eq("even", true)}, 1000); err != nil {
			t.Errorf("DeleteRecords during a snapshot = %v, want nil", err)
		}
		if err := s.Store.DeleteCollection(ctx, alice, "gone"); err != nil {
			t.Errorf("DeleteCollection during a snapshot = %v, want nil", err)
		}
		if second := s.scrolled(t, reader, "c", knowledge.Scroll{Limit: 11, Metadata: true}); !reflect.DeepEqual(first, second) {
			t.Errorf("the snapshot changed from %d records to %d", len(first), len(second))
		}
		if left := s.scrolled(t, reader, "gone", knowledge.Scroll{Limit: 10}); len(left) != 5 {
			t.Errorf("a deleted collection has %d records in the snapshot, want 5", len(left))
		}
		list, err := reader.ListCollections(ctx, alice, "", 10)
		if err != nil || len(list) != 2 || list[0].Name != "c" || list[1].Name != "gone" {
			t.Errorf("ListCollections in the snapshot = %v, %v, want c and gone", list, err)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Snapshot = %v, want nil", err)
	}
	if now := s.texts(t, "c"); len(now) != 26 {
		t.Errorf("after the snapshot there are %d records, want 26", len(now))
	}
	broken := errors.New("broken")
	wantKind(t, "Snapshot that fails", s.Store.Snapshot(ctx, alice, func(knowledge.Reader) error { return broken }), broken)
}

func testImports(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("c", 2))
	asked := knowledge.Import{Collection: "c", Mode: knowledge.Upsert, OnError: knowledge.Skip}
	x, err := s.Store.StartImport(ctx, alice, asked)
	if err != nil || x.ID == "" || x.State != knowledge.ImportRunning || x.Attempt != 1 || x.Digest != sha256.Sum256(nil) {
		t.Fatalf("StartImport = %+v, %v, want a running import", x, err)
	}
	x.Lines, x.Bytes, x.Digest, x.Written, x.Failed = 10, 1000, sha256.Sum256([]byte("x")), 9, 1
	x.Faults, x.State = []knowledge.LineFault{{Line: 3, Field: "vector", Detail: "is bad", Code: "invalid"}}, knowledge.ImportInterrupted
	if err := s.Store.PutImport(ctx, alice, x); err != nil {
		t.Fatalf("PutImport = %v, want nil", err)
	}
	got, err := s.Store.Import(ctx, alice, x.ID)
	if want := x; err != nil || !reflect.DeepEqual(forgetTimes(got), forgetTimes(want)) {
		t.Errorf("Import = %+v, %v, want %+v", got, err, want)
	}
	second, err := s.Store.ResumeImport(ctx, alice, x.ID)
	if err != nil || second.Attempt != 2 || second.State != knowledge.ImportRunning || second.Bytes != 1000 || second.Digest != x.Digest {
		t.Errorf("ResumeImport = %+v, %v, want the checkpoint and attempt 2", second, err)
	}
	// The first attempt has lost the import: neither its checkpoint nor what
	// was written with it stays.
	err = s.Store.Atomically(ctx, alice, func(session knowledge.Session) error {
		if _, err := session.PutRecords(ctx, alice, "c", knowledge.Write{Records: []knowledge.Record{record("late", "")}}); err != nil {
			return err
		}
		return session.PutImport(ctx, alice, x)
	})
	wantKind(t, "PutImport of the attempt before", err, knowledge.ErrConflict)
	s.wantTexts(t, "a write of the attempt before", "c", texts{})
	second.State = knowledge.ImportFinished
	if err := s.Store.PutImport(ctx, alice, second); err != nil {
		t.Errorf("PutImport = %v, want nil", err)
	}
	_, err = s.Store.ResumeImport(ctx, alice, x.ID)
	wantConflict(t, "ResumeImport of a finished one", err, "resume")
	_, err = s.Store.ResumeImport(ctx, bob, x.ID)
	wantKind(t, "ResumeImport of another's", err, knowledge.ErrNotFound)
	_, err = s.Store.Import(ctx, bob, x.ID)
	wantKind(t, "Import of another's", err, knowledge.ErrNotFound)

	asked.Key, asked.Principal = "key", "k1"
	keyed, err := s.Store.StartImport(ctx, alice, asked)
	if err != nil || keyed.Key != "key" {
		t.Fatalf("StartImport with a key = %+v, %v, want it running", keyed, err)
	}
	_, err = s.Store.StartImport(ctx, alice, asked)
	wantKind(t, "StartImport with the key of one that runs", err, knowledge.ErrRunning)
	another := asked
	another.Principal = "k2"
	_, err = s.Store.StartImport(ctx, alice, another)
	wantKind(t, "StartImport by another with the key", err, knowledge.ErrReused)
	keyed.State, keyed.Lines = knowledge.ImportInterrupted, 5
	if err := s.Store.PutImport(ctx, alice, keyed); err != nil {
		t.Errorf("PutImport = %v, want nil", err)
	}
	again, err := s.Store.StartImport(ctx, alice, asked)
	if err != nil || again.ID != keyed.ID || again.Attempt != 2 || again.Lines != 5 {
		t.Errorf("StartImport with the key of an interrupted one = %+v, %v, want it resumed", again, err)
	}
	again.State = knowledge.ImportFinished
	if err := s.Store.PutImport(ctx, alice, again); err != nil {
		t.Errorf("PutImport = %v, want nil", err)
	}
	if done, err := s.Store.StartImport(ctx, alice, asked); err != nil || done.ID != keyed.ID || done.State != knowledge.ImportFinished {
		t.Errorf("StartImport with the key of a finished one = %+v, %v, want it as it is", done, err)
	}
	asked.Collection, asked.Key = "none", ""
	_, err = s.Store.StartImport(ctx, alice, asked)
	wantKind(t, "StartImport into an unknown collection", err, knowledge.ErrNotFound)
}

func forgetTimes(x knowledge.Import) knowledge.Import {
	x.Updated = x.Created
	return x
}
