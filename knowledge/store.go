package knowledge

import "context"

// Store keeps collections and records of tenants. Implementations are safe for
// concurrent use and pass knowledge/storetest. Nothing of a tenant is ever
// visible to another: to them it is [ErrNotFound].
type Store interface {
	Collections
	Records
}

// Collections keeps definitions of collections.
type Collections interface {
	// PutCollection creates c, which Validate returned, or confirms it. It
	// returns the stored definition and whether it was created by this
	// call, and an error wrapping [ErrConflict] when the name is taken by
	// another definition, [ErrLimit] when the tenant has its most.
	PutCollection(ctx context.Context, tenant TenantID, c Collection) (stored Collection, created bool, err error)
	// Collection returns the definition, or an error wrapping [ErrNotFound].
	Collection(ctx context.Context, tenant TenantID, name CollectionName) (Collection, error)
	// Definition is like Collection, but does not count the records.
	Definition(ctx context.Context, tenant TenantID, name CollectionName) (Collection, error)
	// ListCollections returns up to limit definitions, by name, those after
	// the given name; an empty name means from the first. limit is positive.
	ListCollections(ctx context.Context, tenant TenantID, after CollectionName, limit int) ([]Collection, error)
	// DeleteCollection removes the collection with all its records, or
	// returns an error wrapping [ErrNotFound].
	DeleteCollection(ctx context.Context, tenant TenantID, name CollectionName) error
}

// Records keeps records, and finds them.
type Records interface {
	// PutRecords writes all records or none: those with a known id replace
	// the old one. 1 to [MaxBatch] records, each valid, no id twice; else an
	// [InvalidError] that names records[i]. Once it returned, the records
	// survive a crash. It returns the new version of each, in order.
	PutRecords(ctx context.Context, tenant TenantID, collection CollectionName, records []Record) ([]int64, error)
	// Record returns one record with its vector, or an error wrapping
	// [ErrNotFound], also when it has expired.
	Record(ctx context.Context, tenant TenantID, collection CollectionName, id RecordID) (Record, error)
	// DeleteRecord removes one record, or returns an error wrapping
	// [ErrNotFound].
	DeleteRecord(ctx context.Context, tenant TenantID, collection CollectionName, id RecordID) error
	// Search finds the nearest records that pass the filter and have not
	// expired. The search must be valid for the collection; else it returns
	// an [InvalidError]. No records give no matches.
	Search(ctx context.Context, tenant TenantID, search Search) (Found, error)
	// SearchText finds the records whose texts have the words of the search,
	// pass the filter and have not expired; see [TextSearch]. A search that is
	// not valid gives an [InvalidError].
	SearchText(ctx context.Context, tenant TenantID, search TextSearch) (Found, error)
	// Facets counts values of metadata fields over the records that pass the
	// filter and have not expired. A request that is not valid gives an
	// [InvalidError].
	Facets(ctx context.Context, tenant TenantID, request FacetSearch) ([]FacetCounts, error)
}
