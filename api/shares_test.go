package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// sharingWorld has two tenants, owner and rival, each with a collection notes, an alias
// and a view public of the records that are public.
func sharingWorld(t *testing.T) (w *world, owner, rival string) {
	w = newWorld(t, nil)
	owner, rival = w.tenant("owner"), w.tenant("rival")
	for _, token := range []string{owner, rival} {
		w.wantStatus("PUT", w.call("PUT", "/v1/collections/notes", token, `{"dimension":2}`), 201)
		w.wantStatus("alias", w.call("PUT", "/v1/aliases/also", token, `{"collection":"notes"}`), 201)
		w.wantStatus("records", w.call("POST", "/v1/collections/notes/records", token,
			`{"records":[{"id":"a","text":"open word","vector":[1,1],"metadata":{"public":true,"author":"x"}},{"id":"b","text":"secret word","vector":[1,0]}]}`), 200)
		w.putPublic(token)
	}
	return w, owner, rival
}

func (w *world) putPublic(token string) {
	w.t.Helper()
	w.wantStatus("view", w.call("PUT", "/v1/views/public", token, `{"collection":"notes","filter":{"field":"public","eq":true},"hidden":["author"]}`), 201)
}

// share shares the view and returns the id.
func (w *world) share(token, body string) string {
	w.t.Helper()
	got := w.call("POST", "/v1/shares", token, body)
	w.wantStatus("POST /v1/shares", got, 201)
	id, _ := got.json["share"].(string)
	return id
}

const sharedQuery = `{"legs":[{"owner":"owner","collection":"public","vector":[1,1]}]}`

// without is an answer without what differs from request to request.
func without(r reply) string {
	return strings.ReplaceAll(r.body, r.header.Get("X-Request-ID"), "")
}

func TestShares(t *testing.T) {
	w, owner, rival := sharingWorld(t)
	unknown := w.call("POST", "/v1/query", rival, `{"legs":[{"collection":"none","vector":[1,1]}]}`)
	w.wantStatus("query of nothing", unknown, 404)
	wantUnknown := func(what, token, body string) {
		t.Helper()
		if got := w.call("POST", "/v1/query", token, body); got.status != 404 || without(got) != without(unknown) {
			t.Errorf("%s = %d %s, want the same as for no collection: %s", what, got.status, got.body, unknown.body)
		}
	}
	wantUnknown("before it is shared", rival, sharedQuery)
	id := w.share(owner, `{"view":"public","grantee":"rival","note":"for the fair","expires_at":"2999-01-01T00:00:00Z"}`)
	if _, err := knowledge.ParseShareID(id); err != nil {
		t.Errorf("share = %q, want an id", id)
	}

	got := w.call("POST", "/v1/query", rival, `{"text":"word","legs":[{"owner":"owner","collection":"public","vector":[1,1]},{"collection":"public","mode":"lexical"}],"explain":true}`)
	w.wantStatus("query", got, 200)
	matches := fmt.Sprint(got.json["matches"])
	if strings.Contains(got.body, "secret") || strings.Contains(got.body, "author") || strings.Count(got.body, `"owner":"owner"`) != 2 || len(got.json["matches"].([]any)) != 2 {
		t.Errorf("query = %s, want the open record of both, with the owner of the one in match and plan", matches)
	}
	batch := w.call("POST", "/v1/query/batch", rival, `{"queries":[`+sharedQuery+`]}`)
	if batch.status != 200 || !strings.Contains(batch.body, `"owner":"owner"`) {
		t.Errorf("batch = %d %s, want the open record", batch.status, batch.body)
	}
	for what, body := range map[string]string{
		"the collection":   `{"legs":[{"owner":"owner","collection":"notes","vector":[1,1]}]}`,
		"an alias":         `{"legs":[{"owner":"owner","collection":"also","vector":[1,1]}]}`,
		"nothing":          `{"legs":[{"owner":"owner","collection":"nothing","vector":[1,1]}]}`,
		"of nobody":        `{"legs":[{"owner":"nobody","collection":"public","vector":[1,1]}]}`,
		"a tenant's own":   `{"legs":[{"owner":"rival","collection":"public","vector":[1,1]}]}`,
		"by words":         `{"text":"word","legs":[{"owner":"owner","collection":"notes","mode":"lexical"}]}`,
		"a wrong vector":   `{"legs":[{"owner":"owner","collection":"notes","vector":[1,1,1]}]}`,
		"beside one's own": `{"legs":[{"collection":"notes","vector":[1,1]},{"owner":"nobody","collection":"notes","vector":[1,1]}]}`,
	} {
		wantUnknown(what, rival, body)
	}
	wantUnknown("the other way round", owner, strings.ReplaceAll(sharedQuery, `"owner":"owner"`, `"owner":"rival"`))
	wantUnknown("for a third tenant", w.tenant("third"), sharedQuery)

	w.wantStatus("DELETE", w.call("DELETE", "/v1/shares/"+id, owner, ""), 204)
	wantUnknown("revoked", rival, sharedQuery)
	w.wantStatus("DELETE again", w.call("DELETE", "/v1/shares/"+id, owner, ""), 204)

	w.share(owner, `{"view":"public","grantee":"rival"}`)
	w.wantStatus("query", w.call("POST", "/v1/query", rival, sharedQuery), 200)
	w.wantStatus("DELETE the view", w.call("DELETE", "/v1/views/public", owner, ""), 204)
	wantUnknown("without the view", rival, sharedQuery)
	w.putPublic(owner)
	wantUnknown("with another view of the name", rival, sharedQuery)
}

// TestShareLists: both sides see a share and how much it was read, and nothing of
// others'.
func TestShareLists(t *testing.T) {
	w, owner, rival := sharingWorld(t)
	id := w.share(owner, `{"view":"public","grantee":"rival","note":"n"}`)
	for i := range 4 {
		w.share(owner, fmt.Sprintf(`{"view":"public","grantee":"nobody-%d"}`, i))
	}
	w.wantStatus("query", w.call("POST", "/v1/query", rival, sharedQuery), 200)
	if err := w.shares.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	const usage = `"usage":{"today":{"queries":1,"rows":1},"total":{"queries":1,"rows":1}}`
	received := w.call("GET", "/v1/shares/received", rival, "")
	w.wantStatus("received", received, 200)
	if list := received.json["shares"].([]any); len(list) != 1 || !strings.Contains(received.body, id) || !strings.Contains(received.body, usage) ||
		!strings.Contains(received.body, `"owner":"owner"`) || !strings.Contains(received.body, `"state":"active"`) || strings.Contains(received.body, "key_") {
		t.Errorf("received = %s, want the one, read once, and not who made it", received.body)
	}
	seen := map[any]string{}
	for path := "/v1/shares?limit=2"; path != ""; {
		given := w.call("GET", path, owner, "")
		w.wantStatus("given", given, 200)
		for _, s := range given.json["shares"].([]any) {
			seen[s.(map[string]any)["grantee"]] = fmt.Sprint(s)
		}
		next, more := given.json["next_cursor"].(string)
		if path = ""; more {
			path = "/v1/shares?limit=2&cursor=" + next
		}
	}
	if len(seen) != 5 || !strings.Contains(seen["rival"], "key_") || !strings.Contains(seen["rival"], "total:map[queries:1 rows:1]") {
		t.Errorf("given = %v, want all five, by whom, and the one that was read", seen)
	}
	for _, path := range []string{"/v1/shares", "/v1/shares/received"} {
		if got := w.call("GET", path, w.tenant("third"), ""); got.status != 200 || len(got.json["shares"].([]any)) != 0 {
			t.Errorf("GET %s of a third tenant = %d %s, want none", path, got.status, got.body)
		}
	}
	w.wantStatus("DELETE", w.call("DELETE", "/v1/shares/"+id, owner, ""), 204)
	if got := w.call("GET", "/v1/shares/received", rival, ""); !strings.Contains(got.body, `"state":"revoked"`) || !strings.Contains(got.body, `"revoked_at"`) {
		t.Errorf("received after it was revoked = %s, want it to say so", got.body)
	}
	short := time.Now().Add(300 * time.Millisecond)
	w.share(owner, fmt.Sprintf(`{"view":"public","grantee":"rival","expires_at":%q}`, short.Format(time.RFC3339Nano)))
	time.Sleep(time.Until(short))
	if got := w.call("GET", "/v1/shares/received", rival, ""); !strings.Contains(got.body, `"state":"expired"`) {
		t.Errorf("received after its time = %s, want it to say so", got.body)
	}
}

func TestSharesRefused(t *testing.T) {
	w, owner, rival := sharingWorld(t)
	id := w.share(owner, `{"view":"public","grantee":"rival"}`)
	_, limited, err := w.keys.IssueKey(t.Context(), "owner", "limited", nil, noTime, "public")
	if err != nil {
		t.Fatal(err)
	}
	reader := w.tenant("owner", "read")
	for what, c := range map[string]struct {
		method, path, token, body string
		want                      int
	}{
		"again":              {"POST", "/v1/shares", owner, `{"view":"public","grantee":"rival"}`, 409},
		"with itself":        {"POST", "/v1/shares", owner, `{"view":"public","grantee":"owner"}`, 400},
		"in the past":        {"POST", "/v1/shares", owner, `{"view":"public","grantee":"third","expires_at":"2020-01-01T00:00:00Z"}`, 400},
		"a collection":       {"POST", "/v1/shares", owner, `{"view":"notes","grantee":"third"}`, 404},
		"no view":            {"POST", "/v1/shares", owner, `{"view":"none","grantee":"third"}`, 404},
		"with a key to read": {"POST", "/v1/shares", reader, `{"view":"public","grantee":"third"}`, 403},
		"of limited keys":    {"POST", "/v1/shares", limited, `{"view":"public","grantee":"third"}`, 403},
		"to nobody":          {"POST", "/v1/shares", owner, `{"view":"public","grantee":"third"}`, 201},
		"list, limited":      {"GET", "/v1/shares", limited, "", 403},
		"received, limited":  {"GET", "/v1/shares/received", limited, "", 403},
		"revoke, limited":    {"DELETE", "/v1/shares/" + id, limited, "", 403},
		"revoke, to read":    {"DELETE", "/v1/shares/" + id, reader, "", 403},
		"revoke another's":   {"DELETE", "/v1/shares/" + id, rival, "", 404},
		"no id":              {"DELETE", "/v1/shares/share_1", owner, "", 400},
		"another's cursor":   {"GET", "/v1/shares?cursor=" + newCursor("views", "a"), owner, "", 400},
	} {
		w.wantStatus(what, w.call(c.method, c.path, c.token, c.body), c.want)
	}
	foreign, none := w.call("DELETE", "/v1/shares/"+id, rival, ""), w.call("DELETE", "/v1/shares/share_aaaaaaaaaaaaaaaa", rival, "")
	if none.status != 404 || without(foreign) != without(none) {
		t.Errorf("DELETE of another's share = %s, want the same as of none: %s", foreign.body, none.body)
	}
	// A key of the grantee that is limited to its views has nothing of others.
	if _, limited, err = w.keys.IssueKey(t.Context(), "rival", "limited", nil, noTime, "public"); err != nil {
		t.Fatal(err)
	}
	got, unknown := w.call("POST", "/v1/query", limited, sharedQuery), w.call("POST", "/v1/query", limited, `{"legs":[{"collection":"none","vector":[1,1]}]}`)
	if got.status != 404 || without(got) != without(unknown) {
		t.Errorf("query of a limited key = %d %s, want the same as for no collection: %s", got.status, got.body, unknown.body)
	}
	w.wantStatus("query", w.call("POST", "/v1/query", rival, sharedQuery), 200)
}
