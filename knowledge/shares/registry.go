package shares

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/recent"
)

// Registry is what the engine and the API use of a [Store]. It remembers who may read
// what for up to a second ([recent.Stale]): a share that another node revoked is of use
// for so long at most, one that was revoked through this registry not at all. It counts
// what is read and writes it to the store about once a second. Make it with
// [NewRegistry] and end it with Close; safe for concurrent use.
type Registry struct {
	store Store
	log   *slog.Logger
	known recent.Answers[way, knowledge.Share]
	meter *meter

	mu    sync.Mutex
	ended map[knowledge.ShareID]time.Time // through this registry, and when
}

// way is who wants to read what of whom.
type way struct {
	grantee, owner knowledge.TenantID
	view           knowledge.CollectionName
}

// forgetting is how long it is noted that a share has ended: longer than a look-up
// takes that may have seen it before, and than its answer is remembered.
const forgetting = time.Minute

// NewRegistry returns a registry, which writes to store until it is closed. A nil log
// means slog.Default().
func NewRegistry(store Store, log *slog.Logger) *Registry {
	if log == nil {
		log = slog.Default()
	}
	return &Registry{
		store: store, log: log, known: recent.New[way, knowledge.Share](), meter: newMeter(store, rand.Text(), log),
		ended: map[knowledge.ShareID]time.Time{},
	}
}

// Close writes what was counted, as far as ctx and the store allow, and ends what works
// in the background. What is counted from then on is lost.
func (r *Registry) Close(ctx context.Context) error {
	r.known.Close()
	return r.meter.close(ctx)
}

// Flush writes what was counted before.
func (r *Registry) Flush(ctx context.Context) error { return r.meter.flush(ctx) }

// Grant makes a share; s has what is asked for. Errors are those of [Store.Grant], and
// one wrapping [knowledge.ErrForbidden] where ctx is limited to views.
func (r *Registry) Grant(ctx context.Context, owner knowledge.TenantID, s knowledge.Share) (knowledge.Share, error) {
	if err := knowledge.Unlimited(ctx); err != nil {
		return knowledge.Share{}, err
	}
	s.ID = NewID()
	made, err := r.store.Grant(ctx, owner, s)
	r.forget(way{s.Grantee, owner, s.View}) // one of an earlier view of that name may be remembered
	if err != nil {
		return knowledge.Share{}, err
	}
	r.note(ctx, "share granted", made, s.CreatedBy)
	return made, nil
}

// Revoke ends a share for whoever uses it through this registry at once, and for all
// within a second. by is the id of the key that asks. Errors are those of
// [Store.Revoke], and one wrapping [knowledge.ErrForbidden] where ctx is limited to
// views.
func (r *Registry) Revoke(ctx context.Context, owner knowledge.TenantID, id knowledge.ShareID, by string) error {
	if err := knowledge.Unlimited(ctx); err != nil {
		return err
	}
	ended, err := r.store.Revoke(ctx, owner, id)
	if errors.Is(err, knowledge.ErrNotFound) {
		return err // it may be another's
	}
	r.end(id) // whatever else err says: it may have been done
	if err != nil {
		return err
	}
	r.note(ctx, "share revoked", ended, by)
	return nil
}

// end notes that a share has ended.
func (r *Registry) end(id knowledge.ShareID) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for old, at := range r.ended {
		if now.Sub(at) > forgetting {
			delete(r.ended, old)
		}
	}
	r.ended[id] = now
}

// good reports that a share that was looked up has not ended.
func (r *Registry) good(s knowledge.Share) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ended := r.ended[s.ID]
	return !ended && s.Standing(time.Now())
}

func (r *Registry) forget(w way) {
	r.known.Forget(func(at way, _ knowledge.Share) bool { return at == w })
}

// note writes a line about a share to the log.
func (r *Registry) note(ctx context.Context, what string, s knowledge.Share, by string) {
	r.log.LogAttrs(ctx, slog.LevelInfo, what,
		slog.String("share", string(s.ID)), slog.String("tenant", string(s.Owner)), slog.String("view", string(s.View)),
		slog.String("grantee", string(s.Grantee)), slog.String("key", by))
}

// Given is [Store.Given], with an error wrapping [knowledge.ErrForbidden] where ctx is
// limited to views.
func (r *Registry) Given(ctx context.Context, owner knowledge.TenantID, after knowledge.ShareID, limit int) ([]Used, error) {
	if err := knowledge.Unlimited(ctx); err != nil {
		return nil, err
	}
	return r.store.Given(ctx, owner, after, limit)
}

// Received is [Store.Received], likewise.
func (r *Registry) Received(ctx context.Context, grantee knowledge.TenantID, after knowledge.ShareID, limit int) ([]Used, error) {
	if err := knowledge.Unlimited(ctx); err != nil {
		return nil, err
	}
	return r.store.Received(ctx, grantee, after, limit)
}

// Shared is [Store.Shared]. Where ctx is limited to views nothing is shared: such a key
// has its views and no more. A refusal is logged.
func (r *Registry) Shared(ctx context.Context, grantee, owner knowledge.TenantID, view knowledge.CollectionName) (knowledge.Share, error) {
	s, err := r.find(ctx, way{grantee, owner, view})
	if errors.Is(err, knowledge.ErrNotFound) {
		r.log.LogAttrs(ctx, slog.LevelWarn, "shared view refused",
			slog.String("tenant", string(grantee)), slog.String("owner", string(owner)), slog.String("view", string(view)), slog.String("key", knowledge.AskerOf(ctx)))
		err = knowledge.NotShared(view) // the same, whatever it was
	}
	if err != nil {
		return knowledge.Share{}, err
	}
	return s, nil
}

func (r *Registry) find(ctx context.Context, w way) (knowledge.Share, error) {
	if _, limited := knowledge.ViewsOf(ctx); limited {
		return knowledge.Share{}, knowledge.NotShared(w.view)
	}
	s, err := r.known.Get(ctx, w, func(ctx context.Context) (knowledge.Share, error) {
		return r.store.Shared(ctx, w.grantee, w.owner, w.view)
	})
	if err == nil && !r.good(s) { // since it was looked up, or while it was
		r.forget(w)
		s, err = r.store.Shared(ctx, w.grantee, w.owner, w.view) // it may be shared anew
	}
	if err == nil && !r.good(s) {
		err = knowledge.NotShared(w.view)
	}
	return s, err
}

// Read counts a query that read by a share, and what its legs of the share found.
func (r *Registry) Read(s knowledge.Share, rows int) { r.meter.add(s, rows) }
