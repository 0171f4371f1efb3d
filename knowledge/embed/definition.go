package embed

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// Name names an embedder of a tenant's own. Made only by [ParseName].
type Name string

// ParseName checks s: what [knowledge.ParseCollectionName] takes, but no name that
// an embedder of a node has or may come to have. It returns a
// [knowledge.InvalidError] without a field.
func ParseName(s string) (Name, error) {
	name, err := knowledge.ParseCollectionName(s)
	if err == nil && slices.Contains(reserved(), s) {
		err = knowledge.Invalid("", "is a name that is kept for the node; need another than any of %q", reserved())
	}
	if err != nil {
		return "", err
	}
	return Name(name), nil
}

// reserved are the ids of embedders that a node has or may come to have.
func reserved() []string {
	return []string{"local", "local-fast", ProviderOpenAI, knowledge.NoEmbedder}
}

// ProviderOpenAI is the provider of servers that answer as OpenAI's embeddings do.
const ProviderOpenAI = "openai"

// MaxOwn is how many embedders a tenant may have.
const MaxOwn = 64

// Definition says which model of which server a tenant's embedder is.
type Definition struct {
	Name     Name
	Provider string // [ProviderOpenAI]
	BaseURL  string // of the server, without a secret
	Model    string
	Options  Options

	Space     string // version of the vector space: [knowledge.EmbedderInfo] Version
	Dimension int    // that the server showed, 1 to [knowledge.MaxDimension]

	Key tenancy.Sealed // the credential, sealed under [Definition.SecretName]; zero without one

	Version int64 // of the definition, from 1, raised by each change; set by the store
	Created time.Time
	Updated time.Time
}

// Options are how a server is asked. Zero means the provider's default.
type Options struct {
	Dimensions     int           // length of vectors to ask for
	QueryPrefix    string        // put before questions
	DocumentPrefix string        // put before documents
	BatchSize      int           // most texts in a request
	Parallel       int           // most requests at once
	Timeout        time.Duration // longest wait for an answer, whole milliseconds
}

// Info is the space that the embedder's vectors live in.
func (d Definition) Info() knowledge.EmbedderInfo {
	return knowledge.EmbedderInfo{ID: string(d.Name), Version: d.Space, Dimension: d.Dimension}
}

// SecretName is what the credential is bound to when it is sealed.
func (d Definition) SecretName() string { return "embedder/" + string(d.Name) }

// HasKey reports whether there is a credential.
func (d Definition) HasKey() bool { return d.Key.Bytes != nil }

// Definitions keeps the embedders of tenants. Times are kept to the microsecond, and
// what is listed is in the order of bytes. Implementations are safe for concurrent
// use and pass knowledge/embed/embedtest.
type Definitions interface {
	// PutEmbedder keeps a definition in the place of what had the name. It wraps
	// knowledge.ErrConflict, and names a collection, when one is pinned to the
	// name with another space or dimension; knowledge.ErrLimit when the tenant
	// would have more than [MaxOwn]; knowledge.ErrNotFound when there is no such
	// tenant.
	PutEmbedder(ctx context.Context, tenant knowledge.TenantID, d Definition) (stored Definition, created bool, err error)
	// Embedder wraps knowledge.ErrNotFound when there is none.
	Embedder(ctx context.Context, tenant knowledge.TenantID, name Name) (Definition, error)
	// ListEmbedders returns up to limit definitions by name, those after the given one.
	ListEmbedders(ctx context.Context, tenant knowledge.TenantID, after Name, limit int) ([]Definition, error)
	// DeleteEmbedder wraps knowledge.ErrNotFound when there is none, and
	// knowledge.ErrConflict, naming a collection, when one is pinned to it.
	DeleteEmbedder(ctx context.Context, tenant knowledge.TenantID, name Name) error
}

// SpaceInUse is the error of a change that would leave a collection without the
// space that its vectors live in.
func SpaceInUse(collection knowledge.CollectionName, pinned knowledge.EmbedderInfo) error {
	return knowledge.Conflict("embedder", "collection %q has vectors of version %q with %d dimensions, which this would change; need another name",
		collection, pinned.Version, pinned.Dimension)
}

// InUse is the error of removing what a collection needs.
func InUse(collection knowledge.CollectionName) error {
	return knowledge.Conflict("embedder", "is that of collection %q; delete the collection first", collection)
}

// TooMany is the error of one embedder more than [MaxOwn].
func TooMany() error {
	return knowledge.Limit(fmt.Sprintf("the tenant has %d embedders, which is the most", MaxOwn))
}
