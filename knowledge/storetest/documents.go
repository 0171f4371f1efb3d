package storetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// documentOf is the writing of a document that has one passage.
func documentOf(id knowledge.DocumentID, source string) knowledge.DocumentWrite {
	return knowledge.DocumentWrite{
		Document: knowledge.Document{
			ID: id, Title: "About " + string(id), MediaType: "text/plain", Chunker: "c1", Passages: 1,
			Metadata: map[string]any{"lang": "en", "list": []any{1.5, nil, "x"}, "object": map[string]any{"a": true}},
		},
		DocumentContent: knowledge.DocumentContent{Source: []byte(source), Text: []byte("text of " + source)},
	}
}

// putDocument writes a document, or fails the test.
func (s suite) putDocument(t testing.TB, tenant knowledge.TenantID, name knowledge.CollectionName, w knowledge.DocumentWrite) (stored, before knowledge.Document) {
	t.Helper()
	stored, before, err := s.Store.PutDocument(t.Context(), tenant, name, w)
	if err != nil {
		t.Fatalf("PutDocument(%s, %s, %s) = %v, want nil", tenant, name, w.ID, err)
	}
	return stored, before
}

// documents are the ids of the documents of a list.
func (s suite) documents(t testing.TB, tenant knowledge.TenantID, name knowledge.CollectionName, list knowledge.DocumentList) []knowledge.DocumentID {
	t.Helper()
	if list.Limit == 0 {
		list.Limit = 100
	}
	found, err := s.Store.ListDocuments(t.Context(), tenant, name, list)
	if err != nil {
		t.Fatalf("ListDocuments(%s, %s, %+v) = %v, want nil", tenant, name, list, err)
	}
	ids := []knowledge.DocumentID{}
	for _, d := range found {
		ids = append(ids, d.ID)
	}
	return ids
}

func testDocuments(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("c", 2))
	s.alias(t, "a", "c")
	w := documentOf("guide/a b#1.md", "\x00 any\xff bytes")
	first, before := s.putDocument(t, alice, "c", w)
	want := w.Document
	want.Size, want.Hash, want.Version = 12, sha256.Sum256(w.Source), 1
	want.Created, want.Updated = first.Created, first.Updated
	if !reflect.DeepEqual(first, want) || !reflect.DeepEqual(before, knowledge.Document{}) || first.Created.IsZero() || !first.Created.Equal(first.Updated) {
		t.Errorf("PutDocument = %+v after %+v, want %+v after none", first, before, want)
	}
	w.Title, w.Metadata, w.Source, w.Passages = "", nil, nil, 3
	second, before := s.putDocument(t, alice, "a", w)
	if second.Version != 2 || !second.Created.Equal(first.Created) || second.Title != "" || len(second.Metadata) != 0 || second.Passages != 3 || second.Size != 0 {
		t.Errorf("PutDocument again = %+v, want version 2 with what it was given", second)
	}
	if !reflect.DeepEqual(before, first) {
		t.Errorf("PutDocument again says that there was %+v, want %+v", before, first)
	}
	got, err := s.Store.Document(ctx, alice, "a", w.ID)
	if err != nil || !reflect.DeepEqual(got, second) {
		t.Errorf("Document = %+v, %v, want %+v", got, err, second)
	}
	got, content, err := s.Store.DocumentContent(ctx, alice, "c", w.ID)
	if err != nil || !reflect.DeepEqual(got, second) || len(content.Source) != 0 || string(content.Text) != string(w.Text) {
		t.Errorf("DocumentContent = %+v, %q, %v, want %+v with what it was given", got, content, err, second)
	}
	_, err = s.Store.DeleteDocument(ctx, alice, "c", w.ID, 1)
	wantKind(t, "DeleteDocument of another version", err, knowledge.ErrPrecondition)
	if gone, err := s.Store.DeleteDocument(ctx, alice, "a", w.ID, 2); err != nil || !reflect.DeepEqual(gone, second) {
		t.Errorf("DeleteDocument = %+v, %v, want what it was: %+v", gone, err, second)
	}
	_, err = s.Store.Document(ctx, alice, "c", w.ID)
	wantKind(t, "Document after its deletion", err, knowledge.ErrNotFound)
	_, _, err = s.Store.DocumentContent(ctx, alice, "c", w.ID)
	wantKind(t, "DocumentContent after its deletion", err, knowledge.ErrNotFound)
	_, err = s.Store.DeleteDocument(ctx, alice, "c", w.ID, 0)
	wantKind(t, "DeleteDocument again", err, knowledge.ErrNotFound)
	if again, _ := s.putDocument(t, alice, "c", w); again.Version != 1 {
		t.Errorf("PutDocument after the deletion = version %d, want 1", again.Version)
	}
}

func testDocumentRefusals(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("c", 2))
	s.putDocument(t, alice, "c", documentOf("there", "x"))
	for field, change := range map[string]func(*knowledge.DocumentWrite){
		"id": func(w *knowledge.DocumentWrite) {
			w.ID = knowledge.DocumentID(strings.Repeat("x", knowledge.MaxDocumentID+1))
		},
		"title":            func(w *knowledge.DocumentWrite) { w.Title = strings.Repeat("x", knowledge.MaxTitle+1) },
		"media_type":       func(w *knowledge.DocumentWrite) { w.MediaType = "a\x00" },
		"chunker":          func(w *knowledge.DocumentWrite) { w.Chunker = "\xff" },
		"passages":         func(w *knowledge.DocumentWrite) { w.Passages = knowledge.MaxPassages + 1 },
		"metadata.start":   func(w *knowledge.DocumentWrite) { w.Metadata = map[string]any{"start": 1.0} },
		"metadata.heading": func(w *knowledge.DocumentWrite) { w.Metadata = map[string]any{"heading": "\x00"} },
		"source":           func(w *knowledge.DocumentWrite) { w.Source = make([]byte, knowledge.MaxSource+1) },
		"text":             func(w *knowledge.DocumentWrite) { w.Text = make([]byte, knowledge.MaxDocumentText+1) },
		"mode":             func(w *knowledge.DocumentWrite) { w.Mode = "other" },
		"version":          func(w *knowledge.DocumentWrite) { w.Mode = knowledge.Restore },
	} {
		w := documentOf("bad", "x")
		change(&w)
		_, _, err := s.Store.PutDocument(ctx, alice, "c", w)
		wantInvalid(t, "PutDocument with a bad "+field, err, field)
	}
	for what, c := range map[string]struct {
		id        knowledge.DocumentID
		mode      knowledge.WriteMode
		ifVersion int64
		kind      error
	}{
		"insert_only over one":    {"there", knowledge.InsertOnly, 0, knowledge.ErrConflict},
		"update_only of none":     {"none", knowledge.UpdateOnly, 0, knowledge.ErrConflict},
		"another version":         {"there", knowledge.Upsert, 2, knowledge.ErrPrecondition},
		"a version where none is": {"none", knowledge.Upsert, 1, knowledge.ErrPrecondition},
	} {
		w := documentOf(c.id, "y")
		w.Mode, w.IfVersion = c.mode, c.ifVersion
		_, _, err := s.Store.PutDocument(ctx, alice, "c", w)
		wantKind(t, "PutDocument, "+what, err, c.kind)
	}
	for _, list := range []knowledge.DocumentList{{}, {Limit: knowledge.MaxDocumentsPage + 1}, {Limit: 1, Prefix: "\x00"}} {
		_, err := s.Store.ListDocuments(ctx, alice, "c", list)
		wantKind(t, fmt.Sprintf("ListDocuments(%+v)", list), err, knowledge.ErrInvalid)
	}
	if got := s.documents(t, alice, "c", knowledge.DocumentList{}); !slices.Equal(got, []knowledge.DocumentID{"there"}) {
		t.Errorf("documents after the refusals = %q, want the one that was there", got)
	}
}

func testListDocuments(t *testing.T, s suite) {
	s.put(t, alice, dimension("c", 2))
	s.put(t, alice, dimension("other", 2))
	all := []knowledge.DocumentID{"Z", "a", "a/", "a/1", "a/2", "a/\U0010ffff\U0010ffff", "a0", "ä"}
	for _, id := range all {
		s.putDocument(t, alice, "c", documentOf(id, "x"))
	}
	s.putDocument(t, alice, "other", documentOf("a/other", "x"))
	for _, c := range []struct {
		list knowledge.DocumentList
		want []knowledge.DocumentID
	}{
		{knowledge.DocumentList{}, all},
		{knowledge.DocumentList{Limit: 3}, all[:3]},
		{knowledge.DocumentList{Limit: 3, After: all[2]}, all[3:6]},
		{knowledge.DocumentList{Prefix: "a/"}, all[2:6]},
		{knowledge.DocumentList{Prefix: "a/", After: "a/1"}, all[4:6]},
		{knowledge.DocumentList{Prefix: "a/", After: "a/1", Limit: 1}, all[4:5]},
		{knowledge.DocumentList{Prefix: "b"}, nil},
		{knowledge.DocumentList{After: "ä"}, nil},
	} {
		if got := s.documents(t, alice, "c", c.list); !slices.Equal(got, c.want) {
			t.Errorf("ListDocuments(%+v) = %q, want %q", c.list, got, c.want)
		}
	}
}

// testDocumentsKeptApart: documents are of their tenant and of their collection, and
// go with it; no view shows any.
func testDocumentsKeptApart(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("c", 2))
	s.put(t, bob, dimension("c", 2))
	s.putDocument(t, alice, "c", documentOf("d", "hers"))
	s.putDocument(t, bob, "c", documentOf("d", "his"))
	s.putDocument(t, bob, "c", documentOf("e", "his"))
	if _, content, err := s.Store.DocumentContent(ctx, alice, "c", "d"); err != nil || string(content.Source) != "hers" {
		t.Errorf("DocumentContent(alice) = %q, %v, want hers", content.Source, err)
	}
	if got := s.documents(t, alice, "c", knowledge.DocumentList{}); len(got) != 1 {
		t.Errorf("ListDocuments(alice) = %q, want hers alone", got)
	}
	_, err := s.Store.DeleteDocument(ctx, alice, "c", "e", 0)
	wantKind(t, "DeleteDocument of another tenant's", err, knowledge.ErrNotFound)

	s.view(t, knowledge.View{Name: "v", Collection: "c", Filter: everything})
	_, err = s.Store.Document(ctx, alice, "v", "d")
	wantKind(t, "Document through a view", err, knowledge.ErrNotFound)
	_, _, err = s.Store.DocumentContent(ctx, alice, "v", "d")
	wantKind(t, "DocumentContent through a view", err, knowledge.ErrNotFound)
	if got := s.documents(t, alice, "v", knowledge.DocumentList{}); len(got) != 0 {
		t.Errorf("ListDocuments through a view = %q, want none", got)
	}
	limited := knowledge.LimitToViews(ctx, []knowledge.CollectionName{"v"})
	_, err = s.Store.Document(limited, alice, "v", "d")
	wantKind(t, "Document for who is limited to the view", err, knowledge.ErrNotFound)
	if got, err := s.Store.ListDocuments(limited, alice, "v", knowledge.DocumentList{Limit: 9}); err != nil || len(got) != 0 {
		t.Errorf("ListDocuments for who is limited to the view = %v, %v, want none", got, err)
	}
	for what, ctx := range map[string]error{
		"PutDocument":    second(s.Store.PutDocument(limited, alice, "v", documentOf("d", "x"))),
		"DeleteDocument": third(s.Store.DeleteDocument(limited, alice, "v", "d", 0)),
	} {
		wantKind(t, what+" for who is limited to the view", ctx, knowledge.ErrForbidden)
	}
	if err := s.Store.DeleteView(ctx, alice, "v"); err != nil {
		t.Fatal(err)
	}
	if err := s.Store.DeleteCollection(ctx, alice, "c"); err != nil {
		t.Fatalf("DeleteCollection = %v, want nil", err)
	}
	s.put(t, alice, dimension("c", 2))
	if got := s.documents(t, alice, "c", knowledge.DocumentList{}); len(got) != 0 {
		t.Errorf("documents of a new collection = %q, want none", got)
	}
	if got := s.documents(t, bob, "c", knowledge.DocumentList{}); len(got) != 2 {
		t.Errorf("ListDocuments(bob) = %q, want both of his", got)
	}
}

func second(_, _ knowledge.Document, err error) error { return err }

func third(_ knowledge.Document, err error) error { return err }

func testDocumentExpiry(t *testing.T, s suite) {
	ctx := t.Context()
	c := dimension("c", 2)
	c.TTL = time.Hour
	s.put(t, alice, c)
	w := documentOf("d", "x")
	if d, _ := s.putDocument(t, alice, "c", w); d.Expires.Sub(d.Updated) != time.Hour {
		t.Errorf("PutDocument where records live for an hour = %+v, want it to expire after that", d)
	}
	w.Expires = time.Date(2999, 1, 2, 3, 4, 5, 678901000, time.UTC)
	if d, _ := s.putDocument(t, alice, "c", w); !d.Expires.Equal(w.Expires) || d.Version != 2 {
		t.Errorf("PutDocument with an expiry = %+v, want that of its own, version 2", d)
	}
	w.Expires = time.Now().Add(-time.Minute)
	s.putDocument(t, alice, "c", w)
	_, err := s.Store.Document(ctx, alice, "c", "d")
	wantKind(t, "Document after it expired", err, knowledge.ErrNotFound)
	_, err = s.Store.DeleteDocument(ctx, alice, "c", "d", 0)
	wantKind(t, "DeleteDocument after it expired", err, knowledge.ErrNotFound)
	if got := s.documents(t, alice, "c", knowledge.DocumentList{}); len(got) != 0 {
		t.Errorf("ListDocuments = %q, want none that has expired", got)
	}
	w.Expires = time.Time{}
	if d, before := s.putDocument(t, alice, "c", w); d.Version != 1 || before.Version != 0 {
		t.Errorf("PutDocument over an expired one = %+v after %+v, want version 1 after none", d, before)
	}
}

func testRestoreDocument(t *testing.T, s suite) {
	c := dimension("c", 2)
	c.TTL = time.Hour
	s.put(t, alice, c)
	w := documentOf("d", "x")
	w.Mode, w.Version = knowledge.Restore, 7
	w.Created = time.Date(2020, 1, 2, 3, 4, 5, 678901000, time.UTC)
	w.Updated = w.Created.Add(time.Microsecond)
	stored, _ := s.putDocument(t, alice, "c", w)
	if stored.Version != 7 || !stored.Created.Equal(w.Created) || !stored.Updated.Equal(w.Updated) || !stored.Expires.IsZero() {
		t.Errorf("PutDocument that restores = %+v, want version and times as they were given", stored)
	}
	_, _, err := s.Store.PutDocument(t.Context(), alice, "c", w)
	wantKind(t, "PutDocument that restores one that is there", err, knowledge.ErrConflict)
}

// testDocumentsAtOnce: writers of one document have their turn one after the other,
// and a transaction that ends badly leaves it as it was.
func testDocumentsAtOnce(t *testing.T, s suite) {
	ctx := t.Context()
	s.put(t, alice, dimension("c", 2))
	const writers, each = 4, 5
	versions := make([][]int64, writers)
	var done sync.WaitGroup
	for i := range writers {
		done.Go(func() {
			for n := range each {
				stored, before, err := s.Store.PutDocument(ctx, alice, "c", documentOf("d", fmt.Sprint(i, n)))
				if err != nil || stored.Version != before.Version+1 {
					t.Errorf("PutDocument = %+v after %+v, %v, want one version more", stored, before, err)
					return
				}
				versions[i] = append(versions[i], stored.Version)
			}
		})
	}
	done.Wait()
	all := slices.Sorted(slices.Values(slices.Concat(versions...)))
	for i, version := range all {
		if version != int64(i+1) {
			t.Fatalf("versions of %d writers = %v, want each once", writers, all)
		}
	}
	broken := errors.New("broken")
	err := s.Store.Atomically(ctx, alice, func(session knowledge.Session) error {
		if _, _, err := session.PutDocument(ctx, alice, "c", documentOf("d", "half")); err != nil {
			return err
		}
		if _, _, err := session.PutDocument(ctx, alice, "c", documentOf("e", "half")); err != nil {
			return err
		}
		if _, err := session.Document(ctx, alice, "c", "e"); err != nil {
			t.Errorf("Document in the transaction that wrote it = %v, want nil", err)
		}
		return broken
	})
	wantKind(t, "Atomically", err, broken)
	if d, err := s.Store.Document(ctx, alice, "c", "d"); err != nil || d.Version != writers*each {
		t.Errorf("Document = %+v, %v, want version %d", d, err, writers*each)
	}
	if got := s.documents(t, alice, "c", knowledge.DocumentList{}); len(got) != 1 {
		t.Errorf("documents = %q, want d alone", got)
	}
	err = s.Store.Snapshot(ctx, alice, func(reader knowledge.Reader) error {
		s.putDocument(t, alice, "c", documentOf("new", "x"))
		list, err := reader.ListDocuments(ctx, alice, "c", knowledge.DocumentList{Limit: 10})
		if err == nil && len(list) != 1 {
			t.Errorf("ListDocuments in a snapshot = %v, want what was there", list)
		}
		_, _, err = reader.DocumentContent(ctx, alice, "c", "new")
		wantKind(t, "DocumentContent of what came after the snapshot", err, knowledge.ErrNotFound)
		return nil
	})
	if err != nil {
		t.Errorf("Snapshot = %v, want nil", err)
	}
}
