package embed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/recent"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// Client is an embedder that holds connections.
type Client interface {
	Measured
	// Close lets go of what is idle; calls that run are not disturbed, and later
	// ones only cost more.
	Close()
}

// Opener makes the client of a definition; id is the embedder's, key its credential,
// empty without one. With a Dimension of 0 it asks the server for it, which ctx
// bounds, and returns an [knowledge.InvalidError] or an error wrapping
// [knowledge.ErrUnavailable], with no word of the server's, when that fails. Otherwise
// it asks nothing, and the client refuses vectors of another length.
type Opener func(ctx context.Context, d Definition, key string) (Client, error)

// ring seals credentials; a [tenancy.Ring] does.
type ring interface {
	Seal(tenant knowledge.TenantID, name string, secret []byte) tenancy.Sealed
	Open(tenant knowledge.TenantID, name string, s tenancy.Sealed) ([]byte, error)
}

// Parts are what a [Registry] is made of. Every field but Cache and Ledger must be set.
type Parts struct {
	Node   *Set
	Store  Definitions
	Ring   ring
	Open   Opener
	Cache  *QueryCache // nil for none
	Ledger notes       // nil: nothing is noted
}

// Registry finds the embedders that a tenant may name: those of the node, which are
// the same for all, and the tenant's own. What was changed through another node is
// seen within [recent.Stale]. Make it with [NewRegistry] and end it with Close; safe
// for concurrent use.
type Registry struct {
	Parts
	known   recent.Answers[own, Definition]
	clients *clients
	meters  *meters
}

// own names a tenant's embedder.
type own struct {
	tenant knowledge.TenantID
	name   Name
}

// NewRegistry returns a registry of these parts.
func NewRegistry(p Parts) *Registry {
	return &Registry{Parts: p, known: recent.New[own, Definition](), clients: newClients(maxClients), meters: newMeters()}
}

// Close ends what forgets in the background, and lets go of connections.
func (r *Registry) Close() {
	r.known.Close()
	r.clients.closeAll()
}

// Get returns the embedder that this id stands for, the node's first, or an error
// wrapping [knowledge.ErrNotFound]. It asks no server.
func (r *Registry) Get(ctx context.Context, tenant knowledge.TenantID, id string) (knowledge.Embedder, error) {
	e, _, err := r.find(ctx, tenant, id)
	return e, err
}

// For is [Set.For] for the embedders of the node and of the tenant. Equal questions are
// answered from the cache: from the asker's own, where another tenant than that of the
// collection asks by a share.
func (r *Registry) For(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection) (knowledge.Embedder, error) {
	var edition string
	e, err := pinned(ctx, tenant, c, func(ctx context.Context, tenant knowledge.TenantID, id string) (e knowledge.Embedder, err error) {
		e, edition, err = r.find(ctx, tenant, id)
		return e, err
	})
	if err != nil || r.Cache == nil {
		return e, err
	}
	if guest, ok := knowledge.GuestOf(ctx); ok {
		return r.Cache.of(e, guest, fmt.Sprintf("%s of %s", edition, tenant)), nil
	}
	return r.Cache.of(e, tenant, edition), nil
}

// find returns an embedder, and what tells editions of the same space apart: another
// server may have been put under a name, and none may answer for another.
func (r *Registry) find(ctx context.Context, tenant knowledge.TenantID, id string) (knowledge.Embedder, string, error) {
	e, err := r.Node.Get(ctx, tenant, id)
	if err == nil {
		if guest, ok := knowledge.GuestOf(ctx); ok {
			tenant = guest // who asks; what an embedder of the tenant's own does is the tenant's
		}
		return r.metered(tenant, e, meter{id, "node"}), "", nil
	}
	name, err := ParseName(id)
	if err != nil {
		return nil, "", knowledge.NotFound("embedder", id)
	}
	d, err := r.known.Get(ctx, own{tenant, name}, func(ctx context.Context) (Definition, error) { return r.Store.Embedder(ctx, tenant, name) })
	if err != nil {
		return nil, "", err
	}
	edition := fmt.Sprintf("%d %d", d.Version, d.Created.UnixMicro())
	client, err := r.clients.get(own{tenant, name}, edition, func() (Client, error) {
		key, err := r.credential(tenant, d)
		if err != nil {
			return nil, err
		}
		return r.Open(ctx, d, key)
	})
	var invalid *knowledge.InvalidError
	switch {
	case errors.As(err, &invalid): // was good when it was put, and is no fault of this request
		return nil, "", knowledge.Unavailable(fmt.Sprintf("embedder %q cannot be used as it is defined any more: %s", name, invalid))
	case err != nil:
		return nil, "", fmt.Errorf("embedder %q: %w", name, err)
	}
	return r.metered(tenant, client, meter{d.Provider, "tenant"}), edition, nil
}

// credential opens the key of a definition.
func (r *Registry) credential(tenant knowledge.TenantID, d Definition) (string, error) {
	if !d.HasKey() {
		return "", nil
	}
	key, err := r.Ring.Open(tenant, d.SecretName(), d.Key)
	return string(key), err
}

// Put keeps a definition and its credential, once the server has shown with one short
// text that both are good and how long its vectors are: Space, Dimension and Key of d
// are set by that. Errors are those of [Opener] and [Definitions.PutEmbedder], and a
// [knowledge.InvalidError] about a name that an embedder of the node has.
func (r *Registry) Put(ctx context.Context, tenant knowledge.TenantID, d Definition, key string) (stored Definition, created bool, err error) {
	if _, taken := r.Node.byID[string(d.Name)]; taken {
		return stored, false, knowledge.Invalid("name", "is that of an embedder of the node")
	}
	d.Dimension = 0
	client, err := r.Open(ctx, d, key)
	if err != nil {
		return stored, false, err
	}
	client.Close()
	d.Space, d.Dimension, d.Key = client.Info().Version, client.Info().Dimension, tenancy.Sealed{}
	if key != "" {
		d.Key = r.Ring.Seal(tenant, d.SecretName(), []byte(key))
	}
	stored, created, err = r.Store.PutEmbedder(ctx, tenant, d)
	r.forget(tenant, d.Name) // whatever err says: it may have been done
	return stored, created, err
}

// Delete removes a tenant's embedder. Errors are those of [Definitions.DeleteEmbedder].
func (r *Registry) Delete(ctx context.Context, tenant knowledge.TenantID, name Name) error {
	err := r.Store.DeleteEmbedder(ctx, tenant, name)
	r.forget(tenant, name)
	return err
}

func (r *Registry) forget(tenant knowledge.TenantID, name Name) {
	it := own{tenant, name}
	r.known.Forget(func(o own, _ Definition) bool { return o == it })
	r.clients.drop(it)
}

// Entry is an embedder in a list.
type Entry struct {
	Info knowledge.EmbedderInfo
	Own  *Definition // nil: the node's
}

// Entry returns one embedder, or an error wrapping [knowledge.ErrNotFound].
func (r *Registry) Entry(ctx context.Context, tenant knowledge.TenantID, id string) (Entry, error) {
	if e, ok := r.Node.byID[id]; ok {
		return Entry{Info: e.Info()}, nil
	}
	name, err := ParseName(id)
	if err != nil {
		return Entry{}, knowledge.NotFound("embedder", id)
	}
	d, err := r.Store.Embedder(ctx, tenant, name)
	if err != nil {
		return Entry{}, err
	}
	return Entry{d.Info(), &d}, nil
}

// List returns up to limit embedders by id, those after the given one.
func (r *Registry) List(ctx context.Context, tenant knowledge.TenantID, after string, limit int) ([]Entry, error) {
	stored, err := r.Store.ListEmbedders(ctx, tenant, Name(after), limit)
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, id := range r.Node.IDs() {
		if id > after {
			all = append(all, Entry{Info: r.Node.byID[id].Info()})
		}
	}
	for _, d := range stored {
		if _, hidden := r.Node.byID[string(d.Name)]; !hidden {
			all = append(all, Entry{d.Info(), &d})
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Info.ID, b.Info.ID) })
	return all[:min(limit, len(all))], nil
}
