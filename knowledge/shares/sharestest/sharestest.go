// Package sharestest holds the tests that every [shares.Store] passes, and the plainest
// one, [Memory].
package sharestest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/shares"
)

const (
	alice = knowledge.TenantID("alice")
	bob   = knowledge.TenantID("bob")
	carol = knowledge.TenantID("carol")
	view  = knowledge.CollectionName("public")
)

// Harness is a store with what it stands on.
type Harness struct {
	Store     shares.Store
	Knowledge knowledge.Store // whose views are shared
	AddTenant func(t testing.TB, tenant knowledge.TenantID)
}

// Run tests the stores that open makes, an empty one for each subtest.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"Grant", testGrant},
		{"GrantRefused", testGrantRefused},
		{"Foreign", testForeign},
		{"Revoke", testRevoke},
		{"Expire", testExpire},
		{"ViewDeleted", testViewDeleted},
		{"ViewDeletedWhileGranted", testViewDeletedWhileGranted},
		{"GrantedAtOnce", testGrantedAtOnce},
		{"Lists", testLists},
		{"MaxShares", testMaxShares},
		{"Reads", testReads},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := open(t)
			for _, tenant := range []knowledge.TenantID{alice, bob, carol} {
				h.AddTenant(t, tenant)
			}
			h.putView(t, alice, view)
			test.run(t, h)
		})
	}
}

// putView makes a view of the tenant's collection, which it makes as well.
func (h Harness) putView(t *testing.T, tenant knowledge.TenantID, name knowledge.CollectionName) {
	t.Helper()
	c := knowledge.Collection{Name: "docs", Metric: knowledge.Cosine, Embedder: knowledge.EmbedderInfo{ID: knowledge.NoEmbedder, Dimension: 2}}
	_, _, err := h.Knowledge.PutCollection(t.Context(), tenant, c)
	must(t, "PutCollection", err)
	v := knowledge.View{Name: name, Collection: "docs", Filter: knowledge.Filter{Op: knowledge.OpAnd}}
	_, _, err = h.Knowledge.PutView(t.Context(), tenant, v)
	must(t, "PutView", err)
}

// grant shares alice's view with a tenant.
func (h Harness) grant(t *testing.T, grantee knowledge.TenantID) knowledge.Share {
	t.Helper()
	s, err := h.Store.Grant(t.Context(), alice, knowledge.Share{ID: shares.NewID(), View: view, Grantee: grantee, CreatedBy: "key_1"})
	must(t, "Grant", err)
	return s
}

// wantShared checks whether a tenant may read alice's view, and by which share.
func (h Harness) wantShared(t *testing.T, when string, grantee knowledge.TenantID, want knowledge.ShareID) {
	t.Helper()
	h.wantSharedBy(t, when, grantee, alice, view, want)
}

func (h Harness) wantSharedBy(t *testing.T, when string, grantee, owner knowledge.TenantID, view knowledge.CollectionName, want knowledge.ShareID) {
	t.Helper()
	got, err := h.Store.Shared(t.Context(), grantee, owner, view)
	if want != "" {
		if err != nil || got.ID != want || got.Owner != owner || got.View != view || got.Grantee != grantee || got.CreatedBy != "" {
			t.Errorf("%s: Shared(%s, %s, %s) = %+v, %v, want %s, without who made it", when, grantee, owner, view, got, err, want)
		}
		return
	}
	var unknown, collection *knowledge.NotFoundError
	if !errors.As(err, &unknown) || !errors.As(knowledge.NotFound("collection", view), &collection) || *unknown != *collection {
		t.Errorf("%s: Shared(%s, %s, %s) = %+v, %v, want the error of an unknown collection", when, grantee, owner, view, got, err)
	}
}

func wantKind(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s = %v, want nil", what, err)
	}
}

func testGrant(t *testing.T, h Harness) {
	h.wantShared(t, "before it is granted", bob, "")
	before := time.Now()
	asked := knowledge.Share{ID: shares.NewID(), View: view, Grantee: bob, Note: "for the Älteren '; --", CreatedBy: "key_1", Expires: before.Add(time.Hour)}
	made, err := h.Store.Grant(t.Context(), alice, asked)
	must(t, "Grant", err)
	want := asked
	want.Owner, want.Created, want.Expires = alice, made.Created, asked.Expires.UTC().Truncate(time.Microsecond)
	if !reflect.DeepEqual(made, want) || made.Created.Before(before.Add(-time.Minute)) || made.Created.After(before.Add(time.Minute)) {
		t.Errorf("Grant = %+v, want %+v, of now", made, want)
	}
	h.wantShared(t, "granted", bob, made.ID)
	given, err := h.Store.Given(t.Context(), alice, "", 10)
	if err != nil || len(given) != 1 || !reflect.DeepEqual(given[0], shares.Used{Share: made}) {
		t.Errorf("Given = %+v, %v, want %+v", given, err, made)
	}
	received, err := h.Store.Received(t.Context(), bob, "", 10)
	if want.CreatedBy = ""; err != nil || len(received) != 1 || !reflect.DeepEqual(received[0], shares.Used{Share: want}) {
		t.Errorf("Received = %+v, %v, want %+v", received, err, want)
	}
}

func testGrantRefused(t *testing.T, h Harness) {
	first := h.grant(t, bob)
	grant := func(s knowledge.Share) error {
		s.ID = shares.NewID()
		_, err := h.Store.Grant(t.Context(), alice, s)
		return err
	}
	_, err := h.Knowledge.ChangeAliases(t.Context(), alice, []knowledge.AliasAction{{Alias: "other", Collection: "docs"}})
	must(t, "ChangeAliases", err)
	for what, test := range map[string]struct {
		share knowledge.Share
		want  error
	}{
		"again":        {knowledge.Share{View: view, Grantee: bob}, knowledge.ErrConflict},
		"with itself":  {knowledge.Share{View: view, Grantee: alice}, knowledge.ErrInvalid},
		"in the past":  {knowledge.Share{View: view, Grantee: carol, Expires: time.Now().Add(-time.Second)}, knowledge.ErrInvalid},
		"a long note":  {knowledge.Share{View: view, Grantee: carol, Note: strings.Repeat("x", knowledge.MaxShareNote+1)}, knowledge.ErrInvalid},
		"a NUL":        {knowledge.Share{View: view, Grantee: carol, Note: "\x00"}, knowledge.ErrInvalid},
		"no view":      {knowledge.Share{View: "nothing", Grantee: carol}, knowledge.ErrNotFound},
		"a collection": {knowledge.Share{View: "docs", Grantee: carol}, knowledge.ErrNotFound},
		"an alias":     {knowledge.Share{View: "other", Grantee: carol}, knowledge.ErrNotFound},
	} {
		wantKind(t, "Grant of "+what, grant(test.share), test.want)
	}
	if err := grant(knowledge.Share{View: view, Grantee: bob}); !strings.Contains(fmt.Sprint(err), string(first.ID)) {
		t.Errorf("Grant again = %v, want an error that names %s", err, first.ID)
	}
	given, err := h.Store.Given(t.Context(), alice, "", 10)
	if err != nil || len(given) != 1 {
		t.Errorf("Given after what was refused = %+v, %v, want the first alone", given, err)
	}
	// Whether the grantee is there is not told.
	if err := grant(knowledge.Share{View: view, Grantee: "nobody"}); err != nil {
		t.Errorf("Grant to nobody = %v, want nil", err)
	}
}

func testForeign(t *testing.T, h Harness) {
	h.putView(t, carol, view)
	share := h.grant(t, bob)
	h.wantShared(t, "to another", carol, "")
	h.wantShared(t, "to its owner", alice, "")
	h.wantSharedBy(t, "the same view of another", bob, carol, view, "")
	h.wantSharedBy(t, "another view", bob, alice, "private", "")
	h.wantSharedBy(t, "of nobody", bob, "nobody", view, "")
	for _, other := range []knowledge.TenantID{bob, carol} {
		_, err := h.Store.Revoke(t.Context(), other, share.ID)
		wantKind(t, "Revoke by "+string(other), err, knowledge.ErrNotFound)
		if given, err := h.Store.Given(t.Context(), other, "", 10); err != nil || len(given) != 0 {
			t.Errorf("Given of %s = %+v, %v, want none", other, given, err)
		}
	}
	for _, other := range []knowledge.TenantID{alice, carol} {
		if received, err := h.Store.Received(t.Context(), other, "", 10); err != nil || len(received) != 0 {
			t.Errorf("Received of %s = %+v, %v, want none", other, received, err)
		}
	}
	h.wantShared(t, "after what was refused", bob, share.ID)
}

func testRevoke(t *testing.T, h Harness) {
	first := h.grant(t, bob)
	others := h.grant(t, carol)
	ended, err := h.Store.Revoke(t.Context(), alice, first.ID)
	if err != nil || ended.Revoked.Before(first.Created) || ended.ID != first.ID || ended.Grantee != bob {
		t.Errorf("Revoke = %+v, %v, want the share, ended", ended, err)
	}
	h.wantShared(t, "revoked", bob, "")
	h.wantShared(t, "another's", carol, others.ID)
	again, err := h.Store.Revoke(t.Context(), alice, first.ID)
	if err != nil || !again.Revoked.Equal(ended.Revoked) {
		t.Errorf("Revoke again = %+v, %v, want when it ended first, %v", again, err, ended.Revoked)
	}
	_, err = h.Store.Revoke(t.Context(), alice, shares.NewID())
	wantKind(t, "Revoke of nothing", err, knowledge.ErrNotFound)
	second := h.grant(t, bob)
	h.wantShared(t, "shared anew", bob, second.ID)
	received, err := h.Store.Received(t.Context(), bob, "", 10)
	if err != nil || len(received) != 2 {
		t.Errorf("Received = %+v, %v, want what was revoked too", received, err)
	}
}

func testExpire(t *testing.T, h Harness) {
	short := knowledge.Share{ID: shares.NewID(), View: view, Grantee: bob, Expires: time.Now().Add(200 * time.Millisecond)}
	_, err := h.Store.Grant(t.Context(), alice, short)
	must(t, "Grant", err)
	h.wantShared(t, "before its time is over", bob, short.ID)
	time.Sleep(time.Until(short.Expires) + 20*time.Millisecond)
	h.wantShared(t, "expired", bob, "")
	second := h.grant(t, bob) // what has expired is not in its way
	h.wantShared(t, "shared anew", bob, second.ID)
}

func testViewDeleted(t *testing.T, h Harness) {
	h.putView(t, alice, "kept")
	share := h.grant(t, bob)
	kept, err := h.Store.Grant(t.Context(), alice, knowledge.Share{ID: shares.NewID(), View: "kept", Grantee: bob})
	must(t, "Grant", err)
	must(t, "DeleteView", h.Knowledge.DeleteView(t.Context(), alice, view))
	h.wantShared(t, "without its view", bob, "")
	h.wantSharedBy(t, "of another view", bob, alice, "kept", kept.ID)
	h.putView(t, alice, view)
	h.wantShared(t, "with another view of that name", bob, "")
	given, err := h.Store.Given(t.Context(), alice, "", 10)
	must(t, "Given", err)
	for _, s := range given {
		if s.ID == share.ID && s.Revoked.Before(share.Created) || s.ID == kept.ID && !s.Revoked.IsZero() {
			t.Errorf("Given = %+v, want that of the view ended, and the other not", s)
		}
	}
	second := h.grant(t, bob)
	h.wantShared(t, "shared anew", bob, second.ID)
}

// testViewDeletedWhileGranted: whichever comes first, no share is left without a view.
func testViewDeletedWhileGranted(t *testing.T, h Harness) {
	for range 20 {
		h.putView(t, alice, view)
		var both sync.WaitGroup
		both.Go(func() {
			_, err := h.Store.Grant(t.Context(), alice, knowledge.Share{ID: shares.NewID(), View: view, Grantee: bob})
			if err != nil && !errors.Is(err, knowledge.ErrNotFound) {
				t.Errorf("Grant beside DeleteView = %v, want nil or ErrNotFound", err)
			}
		})
		both.Go(func() {
			if err := h.Knowledge.DeleteView(t.Context(), alice, view); err != nil {
				t.Errorf("DeleteView beside Grant = %v, want nil", err)
			}
		})
		both.Wait()
		h.wantShared(t, "without its view", bob, "")
	}
}

func testGrantedAtOnce(t *testing.T, h Harness) {
	var all sync.WaitGroup
	made := make([]knowledge.ShareID, 8)
	for i := range made {
		all.Go(func() {
			s, err := h.Store.Grant(t.Context(), alice, knowledge.Share{ID: shares.NewID(), View: view, Grantee: bob})
			if err != nil && !errors.Is(err, knowledge.ErrConflict) {
				t.Errorf("Grant beside others = %v, want nil or ErrConflict", err)
			}
			made[i] = s.ID
		})
	}
	all.Wait()
	made = slices.DeleteFunc(made, func(id knowledge.ShareID) bool { return id == "" })
	if len(made) != 1 {
		t.Fatalf("made at once = %q, want one", made)
	}
	h.wantShared(t, "granted", bob, made[0])
}

func testLists(t *testing.T, h Harness) {
	h.putView(t, carol, view)
	var given, received []knowledge.ShareID
	for i := range 5 {
		s := h.grant(t, knowledge.TenantID(fmt.Sprint("tenant-", i)))
		given = append(given, s.ID)
	}
	s := h.grant(t, bob)
	given, received = append(given, s.ID), append(received, s.ID)
	s, err := h.Store.Grant(t.Context(), carol, knowledge.Share{ID: shares.NewID(), View: view, Grantee: bob})
	must(t, "Grant", err)
	received = append(received, s.ID)
	slices.Sort(given)
	slices.Sort(received)
	for what, test := range map[string]struct {
		list func(after knowledge.ShareID, limit int) ([]shares.Used, error)
		want []knowledge.ShareID
	}{
		"Given": {func(after knowledge.ShareID, limit int) ([]shares.Used, error) {
			return h.Store.Given(t.Context(), alice, after, limit)
		}, given},
		"Received": {func(after knowledge.ShareID, limit int) ([]shares.Used, error) {
			return h.Store.Received(t.Context(), bob, after, limit)
		}, received},
	} {
		var got []knowledge.ShareID
		for after := knowledge.ShareID(""); ; after = got[len(got)-1] {
			page, err := test.list(after, 2)
			must(t, what, err)
			for _, u := range page {
				got = append(got, u.ID)
			}
			if len(page) < 2 {
				break
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s by pages of 2 = %q, want %q", what, got, test.want)
		}
	}
}

func testMaxShares(t *testing.T, h Harness) {
	var last knowledge.Share
	for i := range knowledge.MaxShares {
		last = h.grant(t, knowledge.TenantID(fmt.Sprint("tenant-", i)))
	}
	_, err := h.Store.Grant(t.Context(), alice, knowledge.Share{ID: shares.NewID(), View: view, Grantee: bob})
	wantKind(t, "Grant of one more", err, knowledge.ErrLimit)
	_, err = h.Store.Revoke(t.Context(), alice, last.ID)
	must(t, "Revoke", err)
	h.grant(t, bob)
	given, err := h.Store.Given(t.Context(), alice, "", 2*knowledge.MaxShares)
	if err != nil || len(given) != knowledge.MaxShares+1 {
		t.Errorf("Given = %d shares, %v, want %d and the one that was revoked", len(given), err, knowledge.MaxShares)
	}
}

func testReads(t *testing.T, h Harness) {
	share := h.grant(t, bob)
	other := h.grant(t, carol)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	read := func(s knowledge.Share, day time.Time, queries, rows int64) shares.DayReads {
		return shares.DayReads{Owner: alice, Grantee: s.Grantee, Share: s.ID, Day: day, Reads: shares.Reads{Queries: queries, Rows: rows}}
	}
	forgotten := read(share, today, 1000, 1000)
	forgotten.Share = shares.NewID()
	for _, batch := range []struct {
		writer string
		reads  []shares.DayReads
	}{
		{"one", []shares.DayReads{read(share, today, 2, 20), read(share, today.AddDate(0, 0, -1), 5, 0), forgotten}},
		{"one", []shares.DayReads{read(share, today, 3, 30), read(other, today, 7, 7)}},
		{"one", []shares.DayReads{read(share, today, 3, 30), read(other, today, 7, 7)}}, // the same again
		{"two", []shares.DayReads{read(share, today, 10, 100)}},
	} {
		must(t, "WriteReads", h.Store.WriteReads(t.Context(), batch.writer, batch.reads))
	}
	for who, list := range map[string]func() ([]shares.Used, error){
		"owner":   func() ([]shares.Used, error) { return h.Store.Given(t.Context(), alice, "", 10) },
		"grantee": func() ([]shares.Used, error) { return h.Store.Received(t.Context(), bob, "", 10) },
	} {
		all, err := list()
		must(t, "list of the "+who, err)
		i := slices.IndexFunc(all, func(u shares.Used) bool { return u.ID == share.ID })
		if i < 0 || all[i].Today != (shares.Reads{Queries: 13, Rows: 130}) || all[i].Total != (shares.Reads{Queries: 18, Rows: 130}) {
			t.Errorf("the %s sees %+v, want 13 queries of 130 rows today and 5 of none before", who, all)
		}
	}
}
