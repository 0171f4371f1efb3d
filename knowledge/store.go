package knowledge

import "context"

// Store keeps collections and records of tenants. Implementations are safe for
// concurrent use and pass knowledge/storetest. Nothing of a tenant is ever
// visible to another: to them it is [ErrNotFound].
type Store interface {
	Session
	Transactions
}

// Session is what can be done with the data of a tenant, each call for itself or
// all of them together in one transaction.
type Session interface {
	Collections
	Records
	Imports
}

// Reader is what can be read in one snapshot.
type Reader interface {
	Definition(ctx context.Context, tenant TenantID, name CollectionName) (Collection, error)
	ListCollections(ctx context.Context, tenant TenantID, after CollectionName, limit int) ([]Collection, error)
	ScrollRecords(ctx context.Context, tenant TenantID, collection CollectionName, scroll Scroll) (Page, error)
}

// Transactions does several things as one.
type Transactions interface {
	// Atomically calls do with a session whose changes are all made when do
	// returns nil, and none of them otherwise. do may be called again when
	// the transaction has to be repeated, so it must start afresh. The
	// session ends with do, is not safe for concurrent use, and must not
	// wait for anything but the store.
	Atomically(ctx context.Context, tenant TenantID, do func(Session) error) error
	// Once is Atomically for a request that may be sent several times: the
	// reply that do returns is kept in the same transaction, for
	// [IdempotencyLife], and given to every later attempt with the same key
	// instead of calling do again. An error of do is returned and nothing is
	// kept. It returns an error wrapping [ErrRunning] at once while another
	// attempt with the key is under way, and [ErrReused] when the key was
	// used with another route, principal or body.
	Once(ctx context.Context, tenant TenantID, attempt Attempt, do func(Session) (Reply, error)) (reply Reply, replayed bool, err error)
	// Replay returns the kept reply to an attempt, if there is one; errors
	// are those of Once. It is for saving work before Once, which decides.
	Replay(ctx context.Context, tenant TenantID, attempt Attempt) (reply Reply, kept bool, err error)
	// SweepReplies removes up to most replies, and up to most imports, of any
	// tenant that are past their life, and returns how many.
	SweepReplies(ctx context.Context, most int) (int64, error)
	// Snapshot calls do with a reader to which the tenant's data stay as they
	// are now. It ends with do and is not safe for concurrent use. It holds
	// resources of the store: the caller bounds how many there are at once,
	// and how long.
	Snapshot(ctx context.Context, tenant TenantID, do func(Reader) error) error
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
	// PutRecords writes a batch and returns what became of each record, in
	// order. With [Fail] all are written or none; the error is then an
	// [InvalidError] or a [ConflictError] that names records[i]. With [Skip]
	// the results have these errors. Once it returned, what was written
	// survives a crash. A record without an expiry gets the collection's TTL,
	// except with [Restore].
	PutRecords(ctx context.Context, tenant TenantID, collection CollectionName, w Write) ([]WriteResult, error)
	// PatchRecord changes one record in part and returns its new version. It
	// returns an error wrapping [ErrNotFound] when it is not there, else
	// those of [Patch.Validate] and [Patch.Apply].
	PatchRecord(ctx context.Context, tenant TenantID, collection CollectionName, p Patch) (int64, error)
	// Record returns one record with its vector, or an error wrapping
	// [ErrNotFound], also when it has expired.
	Record(ctx context.Context, tenant TenantID, collection CollectionName, id RecordID) (Record, error)
	// DeleteRecord removes one record, or returns an error wrapping
	// [ErrNotFound].
	DeleteRecord(ctx context.Context, tenant TenantID, collection CollectionName, id RecordID) error
	// DeleteRecords removes the records that are selected, in transactions of
	// bounded size, until it has deleted most of them or ctx's deadline is
	// near: then it returns what it did, with More. most is positive.
	// In a transaction it is one with that. An invalid selection is an
	// [InvalidError].
	DeleteRecords(ctx context.Context, tenant TenantID, collection CollectionName, which Selection, most int64) (Deleted, error)
	// CountRecords counts the records that pass the filter and have not
	// expired; if exact is false it may estimate, within milliseconds.
	CountRecords(ctx context.Context, tenant TenantID, collection CollectionName, filter Filter, exact bool) (Count, error)
	// ScrollRecords returns a page of the records that pass the filter and
	// have not expired. Pages that follow each other give each record that
	// is there throughout once, whatever is written meanwhile.
	ScrollRecords(ctx context.Context, tenant TenantID, collection CollectionName, scroll Scroll) (Page, error)
	// Search finds the nearest records that pass the filter and have not
	// expired. The search must be valid for the collection; else it returns
	// an [InvalidError]. No records give no matches.
	Search(ctx context.Context, tenant TenantID, search Search) (Found, error)
}
