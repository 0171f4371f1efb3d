package sharestest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/shares"
)

// views are those of tenants; a [knowledge.Store] has them.
type views interface {
	View(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (knowledge.View, error)
}

// Memory keeps shares in memory, in the plainest way. It is the reference of the suite,
// and serves tests of who uses shares. That a view is gone, or is another one, it
// notices when it looks. Make it with [NewMemory]. Safe for concurrent use.
type Memory struct {
	views views

	mu     sync.Mutex
	shares map[knowledge.ShareID]knowledge.Share
	reads  map[readKey]shares.Reads
}

type readKey struct {
	writer string
	share  knowledge.ShareID
	day    time.Time
}

var _ shares.Store = (*Memory)(nil)

// NewMemory returns a store without shares, of views of a store.
func NewMemory(v views) *Memory {
	return &Memory{views: v, shares: map[knowledge.ShareID]knowledge.Share{}, reads: map[readKey]shares.Reads{}}
}

// now is the present at the resolution that PostgreSQL keeps.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// settle ends the shares whose time is over where that is noted, and those whose view
// is gone. The caller holds mu.
func (m *Memory) settle(ctx context.Context) error {
	for id, s := range m.shares {
		if !s.Revoked.IsZero() {
			continue
		}
		view, err := m.views.View(context.WithoutCancel(ctx), s.Owner, s.View)
		switch {
		case err != nil && !errors.Is(err, knowledge.ErrNotFound):
			return err
		case err != nil || s.Created.Before(view.Created):
			s.Revoked = now()
			m.shares[id] = s
		}
	}
	return nil
}

// Grant implements [shares.Store].
func (m *Memory) Grant(ctx context.Context, owner knowledge.TenantID, s knowledge.Share) (knowledge.Share, error) {
	s.Owner, s.Created, s.Revoked = owner, now(), time.Time{}
	if err := s.Check(s.Created); err != nil {
		return knowledge.Share{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.settle(ctx); err != nil {
		return knowledge.Share{}, err
	}
	if _, err := m.views.View(ctx, owner, s.View); err != nil {
		return knowledge.Share{}, err
	}
	standing, ended := 0, []knowledge.Share{}
	for id, old := range m.shares {
		if old.Owner != owner {
			continue
		}
		if old.Revoked.IsZero() && !old.Standing(s.Created) {
			old.Revoked = old.Expires
			m.shares[id] = old
		}
		switch {
		case !old.Revoked.IsZero():
			ended = append(ended, old)
		case old.View == s.View && old.Grantee == s.Grantee:
			return knowledge.Share{}, knowledge.AlreadyShared(old.ID)
		default:
			standing++
		}
	}
	if standing >= knowledge.MaxShares {
		return knowledge.Share{}, knowledge.TooManyShares()
	}
	slices.SortFunc(ended, func(a, b knowledge.Share) int { return cmp.Or(b.Revoked.Compare(a.Revoked), cmp.Compare(a.ID, b.ID)) })
	for _, old := range ended[min(len(ended), knowledge.MaxShares):] {
		delete(m.shares, old.ID)
	}
	s.Expires = s.Expires.UTC().Truncate(time.Microsecond)
	m.shares[s.ID] = s
	return s, nil
}

// Revoke implements [shares.Store].
func (m *Memory) Revoke(ctx context.Context, owner knowledge.TenantID, id knowledge.ShareID) (knowledge.Share, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.settle(ctx); err != nil {
		return knowledge.Share{}, err
	}
	s, ok := m.shares[id]
	if !ok || s.Owner != owner {
		return knowledge.Share{}, knowledge.NotFound("share", id)
	}
	if s.Revoked.IsZero() {
		s.Revoked = now()
		m.shares[id] = s
	}
	return s, nil
}

// Given implements [shares.Store].
func (m *Memory) Given(ctx context.Context, owner knowledge.TenantID, after knowledge.ShareID, limit int) ([]shares.Used, error) {
	return m.list(ctx, after, limit, func(s knowledge.Share) bool { return s.Owner == owner })
}

// Received implements [shares.Store].
func (m *Memory) Received(ctx context.Context, grantee knowledge.TenantID, after knowledge.ShareID, limit int) ([]shares.Used, error) {
	found, err := m.list(ctx, after, limit, func(s knowledge.Share) bool { return s.Grantee == grantee })
	for i := range found {
		found[i].CreatedBy = ""
	}
	return found, err
}

func (m *Memory) list(ctx context.Context, after knowledge.ShareID, limit int, match func(knowledge.Share) bool) ([]shares.Used, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.settle(ctx); err != nil {
		return nil, err
	}
	found := []shares.Used{}
	for _, s := range m.shares {
		if match(s) && s.ID > after {
			found = append(found, m.used(s))
		}
	}
	slices.SortFunc(found, func(a, b shares.Used) int { return cmp.Compare(a.ID, b.ID) })
	return found[:min(len(found), limit)], nil
}

// used is a share with its reads. The caller holds mu.
func (m *Memory) used(s knowledge.Share) shares.Used {
	u := shares.Used{Share: s}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for key, n := range m.reads {
		if key.share != s.ID {
			continue
		}
		u.Total.Queries, u.Total.Rows = u.Total.Queries+n.Queries, u.Total.Rows+n.Rows
		if key.day.Equal(today) {
			u.Today.Queries, u.Today.Rows = u.Today.Queries+n.Queries, u.Today.Rows+n.Rows
		}
	}
	return u
}

// Shared implements [shares.Store].
func (m *Memory) Shared(ctx context.Context, grantee, owner knowledge.TenantID, view knowledge.CollectionName) (knowledge.Share, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.settle(ctx); err != nil {
		return knowledge.Share{}, err
	}
	for _, s := range m.shares {
		if s.Owner == owner && s.Grantee == grantee && s.View == view && s.Standing(time.Now()) {
			s.CreatedBy = ""
			return s, nil
		}
	}
	return knowledge.Share{}, knowledge.NotShared(view)
}

// WriteReads implements [shares.Store].
func (m *Memory) WriteReads(_ context.Context, writer string, reads []shares.DayReads) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range reads {
		if s, ok := m.shares[r.Share]; ok && s.Owner == r.Owner {
			m.reads[readKey{writer, r.Share, r.Day}] = r.Reads
		}
	}
	return nil
}
