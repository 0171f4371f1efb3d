package query

import (
	"context"
	"fmt"
	"sync"

	"github.com/tars-project/tars/knowledge"
)

// shares says who may read whose views; the registry of knowledge/shares does.
type shares interface {
	// Shared returns the share by which the grantee may read the owner's view, or
	// the error of [knowledge.NotShared], whatever the reason is.
	Shared(ctx context.Context, grantee, owner knowledge.TenantID, view knowledge.CollectionName) (knowledge.Share, error)
	// Read counts a query that read by a share, and the rows that it got.
	Read(share knowledge.Share, rows int)
}

// source is where a leg reads.
type source struct {
	tenant knowledge.TenantID // whose collection it is
	share  *knowledge.Share   // by which another tenant reads it; nil: its own tenant does
	named  knowledge.Resolved // what the leg's name stands for there
}

// in returns ctx for reading there: by a share, of one who has nothing but the view.
func (s source) in(ctx context.Context) context.Context {
	if s.share == nil {
		return ctx
	}
	return knowledge.ThroughShare(ctx, *s.share)
}

// sourceOf finds where a leg of the tenant's query reads. A view that is not shared,
// and what is no view, is a collection that is not there.
func (e *Engine) sourceOf(ctx context.Context, tenant knowledge.TenantID, leg Leg) (from source, err error) {
	if from.tenant = tenant; leg.Owner != "" {
		from, err = e.sharedSource(ctx, tenant, leg)
	}
	if err == nil {
		from.named, err = e.Store.Resolve(from.in(ctx), from.tenant, leg.Collection)
	}
	// A view that was made since is another one, though it has the name.
	if err == nil && from.share != nil && (from.named.View == nil || from.share.Created.Before(from.named.View.Created)) {
		err = knowledge.NotShared(leg.Collection)
	}
	if err != nil {
		return source{}, fmt.Errorf("collection %q: %w", leg.Collection, err)
	}
	return from, nil
}

func (e *Engine) sharedSource(ctx context.Context, tenant knowledge.TenantID, leg Leg) (source, error) {
	if e.Shares == nil {
		return source{}, knowledge.NotShared(leg.Collection)
	}
	share, err := e.Shares.Shared(ctx, tenant, leg.Owner, leg.Collection)
	return source{tenant: leg.Owner, share: &share}, err
}

// sourcesOf finds the source of each leg of a query once. It is safe for concurrent use.
type sourcesOf struct {
	engine *Engine
	tenant knowledge.TenantID
	// within is what looking up is done in, for all legs; nil: the context of the
	// first that needs it, which may have less time than others.
	within context.Context //nolint:containedctx // of the one query that the value is for

	mu    sync.Mutex
	known map[sourceKey]func() (source, error)
}

type sourceKey struct {
	owner      knowledge.TenantID
	collection knowledge.CollectionName
}

func (s *sourcesOf) get(ctx context.Context, leg Leg) (source, error) {
	key := sourceKey{leg.Owner, leg.Collection}
	s.mu.Lock()
	find, ok := s.known[key]
	if !ok {
		if s.known == nil {
			s.known = map[sourceKey]func() (source, error){}
		}
		if s.within != nil {
			ctx = s.within
		}
		find = sync.OnceValues(func() (source, error) { return s.engine.sourceOf(ctx, s.tenant, leg) })
		s.known[key] = find
	}
	s.mu.Unlock()
	return find()
}

// of is get for a leg of another tenant's, or where it has to be known what the leg's
// name stands for. Otherwise it asks nothing.
func (s *sourcesOf) of(ctx context.Context, leg Leg, named bool) (source, error) {
	if leg.Owner == "" && !named {
		return source{tenant: s.tenant}, nil
	}
	return s.get(ctx, leg)
}

// checkBoost refuses a boost by fields that the leg's collection has otherwise.
func (s *sourcesOf) checkBoost(ctx context.Context, leg Leg, boost *Boosting) error {
	if boost == nil {
		return nil
	}
	from, err := s.get(ctx, leg)
	if err != nil {
		return err
	}
	return knowledge.At("boost", boost.checkFields(from.named.Seen().Fields))
}

// countReads counts what was read by shares: one query for each share, and what its
// legs found.
func (s *sourcesOf) countReads(ctx context.Context, r retrieved, legs []Leg) error {
	rows := map[knowledge.ShareID]int{}
	read := map[knowledge.ShareID]knowledge.Share{}
	for _, list := range r.lists {
		leg := legs[list.Leg]
		if leg.Owner == "" {
			continue
		}
		from, err := s.get(ctx, leg) // known already
		if err != nil {
			return err
		}
		read[from.share.ID] = *from.share
		rows[from.share.ID] += len(list.Matches)
	}
	for id, share := range read {
		s.engine.Shares.Read(share, rows[id])
	}
	return nil
}
