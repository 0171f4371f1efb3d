package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tars-project/tars/cmd/tars/rest"
)

// TestKilledSweep kills the server and PostgreSQL while expired records are swept, some
// of which are gone and some not yet. What has not expired is there as it was written,
// what has expired is not seen, and the sweep comes to its end.
func TestKilledSweep(t *testing.T) {
	t.Parallel()
	const batches, batch, stay = 6, 3990, 200 // the last transaction of the sweep has room for more
	pg := startDurable(t)
	d := pg.database(t)
	s := start(t, d)
	client := s.tenant(t, "acme")
	do(t, client, http.MethodPut, "/v1/collections/c", map[string]any{"dimension": 2}, nil)
	id := func(kind string, i int) string { return fmt.Sprintf("%s-%05d", kind, i) }
	soon := time.Now().Add(time.Hour)
	for b := range batches {
		var all []any
		for i := range batch {
			all = append(all, map[string]any{"id": id("goes", b*batch+i), "vector": []float32{1, 2}, "expires_at": soon})
		}
		do(t, client, http.MethodPost, "/v1/collections/c/records", records(all...), nil)
	}
	var all []any
	for i := range stay { // some of them expire, later
		r := map[string]any{"id": id("stays", i), "text": id("text", i), "vector": []float32{1, 2}}
		if i%2 == 0 {
			r["expires_at"] = soon.Add(time.Hour)
		}
		all = append(all, r)
	}
	do(t, client, http.MethodPost, "/v1/collections/c/records", records(all...), nil)
	s.kill()
	owner := d.OwnerPool(t)
	if _, err := owner.Exec(t.Context(), "UPDATE tars.records SET expires_at = now() - interval '1 s' WHERE id LIKE 'goes-%'"); err != nil {
		t.Fatal(err)
	}

	left := batches * batch
	for _, database := range []bool{false, true, false, true} {
		forgetTurns(t, owner)
		s = start(t, d)
		swept := waitForSweep(t, owner, left-1)
		if database {
			pg.kill(t)
		}
		s.kill()
		if database {
			pg.restart(t)
			d.OwnerURL = pg.server.URL
			owner = d.OwnerPool(t)
		}
		before := left
		if left = expired(t, owner); left == 0 || left > swept || left == before {
			t.Fatalf("%d expired records are left of %d, want the sweep killed in its midst", left, before)
		}
		t.Logf("killed (the database too: %v) with %d of %d expired records left", database, left, before)
	}
	forgetTurns(t, owner)
	s = start(t, d)
	client = rest.New(s.url, client.Token)
	seeTheRest(t, client, stay, id) // whether they are swept yet or not
	waitForSweep(t, owner, 0)
	seeTheRest(t, client, stay, id)
}

// forgetTurns has the next server begin the sweep at once: a turn that was cut short
// counts as running until 6 minutes are over.
func forgetTurns(t *testing.T, owner *pgxpool.Pool) {
	t.Helper()
	if _, err := owner.Exec(t.Context(), "DELETE FROM tars_river.river_job"); err != nil {
		t.Fatal(err)
	}
}

func expired(t *testing.T, owner *pgxpool.Pool) (n int) {
	t.Helper()
	if err := owner.QueryRow(t.Context(), "SELECT count(*) FROM tars.records WHERE expires_at <= now()").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// waitForSweep waits until at most so many expired records are left, and returns how
// many they are.
func waitForSweep(t *testing.T, owner *pgxpool.Pool, most int) int {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if n := expired(t, owner); n <= most {
			return n
		}
	}
	t.Fatalf("more than %d expired records are left after %s", most, patience)
	return 0
}

// seeTheRest reads all records: those that have not expired, as they were written.
func seeTheRest(t *testing.T, client *rest.Client, stay int, id func(kind string, i int) string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var page struct {
		Records []struct {
			ID, Text string
			Version  int
			Vector   []float32
		}
	}
	in := map[string]any{"limit": 1000, "include": []string{"text", "vector"}}
	if _, err := client.Do(ctx, http.MethodPost, "/v1/collections/c/records/scroll", in, &page); err != nil {
		t.Fatal(err)
	}
	for i, r := range page.Records {
		if r.ID != id("stays", i) || r.Text != id("text", i) || r.Version != 1 || !slices.Equal(r.Vector, []float32{1, 2}) {
			t.Fatalf("record %d is %+v, want %s as it was written", i, r, id("stays", i))
		}
	}
	if len(page.Records) != stay {
		t.Errorf("%d records are seen, want the %d that have not expired", len(page.Records), stay)
	}
}
