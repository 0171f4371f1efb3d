package knowledge

import (
	"context"
	"time"
)

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
	Names
	Records
	Documents
	Imports
}

// Reader is what can be read in one snapshot.
type Reader interface {
	Collection(ctx context.Context, tenant TenantID, name CollectionName) (Collection, error)
	ListCollections(ctx context.Context, tenant TenantID, after CollectionName, limit int) ([]Collection, error)
	ListAliases(ctx context.Context, tenant TenantID, after CollectionName, limit int) ([]Alias, error)
	ListViews(ctx context.Context, tenant TenantID, after CollectionName, limit int) ([]View, error)
	ScrollRecords(ctx context.Context, tenant TenantID, collection CollectionName, scroll Scroll) (Page, error)
	ListDocuments(ctx context.Context, tenant TenantID, collection CollectionName, list DocumentList) ([]Document, error)
	DocumentContent(ctx context.Context, tenant TenantID, collection CollectionName, id DocumentID) (Document, DocumentContent, error)
}

// Transactions does several things as one.
type Transactions interface {
	// Atomically calls do with a session whose changes are all made when do
	// returns nil, and none of them otherwise. do may be called again when
	// the transaction has to be repeated, so it must start afresh. The
	// session ends with do, is not safe for concurrent use, and must not
	// wait for anything but the store.
	Atomically(ctx context.Context, tenant TenantID, do func(Session) error) error
	// Exclusively is Atomically while nobody else writes to the collection, given
	// by its own name: writers wait for its end, and find then where their
	// aliases stand. It returns an error wrapping [ErrNotFound] when it is not
	// there, [ErrConflict] under another name.
	Exclusively(ctx context.Context, tenant TenantID, collection CollectionName, do func(Session) error) error
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
	// ChangeCollection puts what change makes of the definition, as
	// [CheckChange] admits it, in its place, or returns the error of either;
	// change may be called more than once. ifVersion is the version that the
	// change is meant for: an error wrapping [ErrPrecondition] says that there is
	// another; 0: any. A change to what is the same already raises no version.
	// Under an alias or a view it returns an error wrapping [ErrConflict].
	ChangeCollection(ctx context.Context, tenant TenantID, name CollectionName, ifVersion int64, change func(Collection) (Collection, error)) (Collection, error)
	// FillFields goes through the records for the fields that are
	// [FieldFilling] and makes them [FieldReady]. A field of which some record
	// has a value of another type is undeclared instead, with a
	// [FieldTypeError]. It may be ended at any moment and called again: what
	// was done is not done anew. progress, which may be nil, is told how many
	// of about how many records were looked at.
	FillFields(ctx context.Context, tenant TenantID, name CollectionName, progress func(done, total int64)) error
	// Resolve returns what a name of a collection, an alias or a view stands
	// for, without counting the records, or an error wrapping [ErrNotFound].
	// What another node changed may be seen a second late.
	Resolve(ctx context.Context, tenant TenantID, name CollectionName) (Resolved, error)
	// Collection returns the definition, or an error wrapping [ErrNotFound].
	// Under the name of a view it is that of its collection, with the name of
	// the view, its defaults, and without the records and fields that are not
	// to be seen.
	Collection(ctx context.Context, tenant TenantID, name CollectionName) (Collection, error)
	// ListCollections returns up to limit definitions, by name, those after
	// the given name; an empty name means from the first. limit is positive.
	// Where ctx is limited to views, these are what it lists.
	ListCollections(ctx context.Context, tenant TenantID, after CollectionName, limit int) ([]Collection, error)
	// DeleteCollection removes the collection with all its records, or
	// returns an error wrapping [ErrNotFound], or [ErrConflict] while an alias
	// or a view stands on it, which the error names, and under an alias or a
	// view.
	DeleteCollection(ctx context.Context, tenant TenantID, name CollectionName) error
	// DeleteCollectionAndAliases is DeleteCollection that removes its aliases
	// too, in one step. Views still keep it.
	DeleteCollectionAndAliases(ctx context.Context, tenant TenantID, name CollectionName) error
}

// Names keeps other names of collections. Where ctx is limited to views there are
// none to be seen, and none can be made.
type Names interface {
	// ChangeAliases carries out all actions in one step, or none, and returns
	// the alias of each, zero for one that was removed. Whoever sees one of
	// them sees all. It returns an error of [CheckAliasActions]; one wrapping
	// [ErrNotFound] for a collection, or an alias to remove, that is not
	// there; [ErrConflict] for an alias whose name is that of a collection or
	// a view, one that is to name an alias or a view, and one to remove that a
	// view stands on; [ErrLimit] when the tenant has its most names.
	ChangeAliases(ctx context.Context, tenant TenantID, actions []AliasAction) ([]Alias, error)
	// Alias returns an alias, or an error wrapping [ErrNotFound].
	Alias(ctx context.Context, tenant TenantID, name CollectionName) (Alias, error)
	// ListAliases returns up to limit aliases by name, those after the given one.
	ListAliases(ctx context.Context, tenant TenantID, after CollectionName, limit int) ([]Alias, error)
	// PutView makes a view or changes it, and returns whether it was made. It
	// returns an [InvalidError], or an error wrapping [ErrNotFound] when there
	// is no such collection or alias, [ErrConflict] when the name is that of a
	// collection or an alias or the collection is a view, [ErrLimit].
	PutView(ctx context.Context, tenant TenantID, v View) (stored View, created bool, err error)
	// View returns a view, or an error wrapping [ErrNotFound].
	View(ctx context.Context, tenant TenantID, name CollectionName) (View, error)
	// ListViews returns up to limit views by name, those after the given one.
	ListViews(ctx context.Context, tenant TenantID, after CollectionName, limit int) ([]View, error)
	// DeleteView removes a view, or returns an error wrapping [ErrNotFound].
	DeleteView(ctx context.Context, tenant TenantID, name CollectionName) error
}

// Records keeps records, and finds them. Reading takes the name of a collection, of
// an alias or of a view: what the view does not show is not found, and a filter that
// names a field which it hides is an [InvalidError]. Writing takes the name of a
// collection or of an alias; under a view it returns an error wrapping
// [ErrForbidden].
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
	// SearchText finds the records whose texts have the words of the search,
	// pass the filter and have not expired; see [TextSearch]. A search that is
	// not valid gives an [InvalidError].
	SearchText(ctx context.Context, tenant TenantID, search TextSearch) (Found, error)
	// WriteVersions returns a number for each collection, by any of its names, that
	// every transaction raises which writes records of it; no number comes twice for
	// a collection's name. It is 0 for one that keeps no answers, and one that is not
	// there. What is read after it holds at least what was written up to it.
	WriteVersions(ctx context.Context, tenant TenantID, names []CollectionName) ([]int64, error)
	// EarliestExpiry returns when the first of these records expires, the zero time
	// if none does.
	EarliestExpiry(ctx context.Context, tenant TenantID, collection CollectionName, ids []RecordID) (time.Time, error)
	// Facets counts values of metadata fields over the records that pass the
	// filter and have not expired. A request that is not valid gives an
	// [InvalidError].
	Facets(ctx context.Context, tenant TenantID, request FacetSearch) ([]FacetCounts, error)
}

// Documents keeps documents. The passages of a document are records, which whoever
// calls writes and deletes with it in one transaction; see knowledge/ingest. A
// collection's documents go with it. Methods take the name of a collection or of an
// alias. Through a view no document is to be seen, and none where ctx is limited to
// views; writing under a view returns an error wrapping [ErrForbidden].
type Documents interface {
	// PutDocument writes a document, and returns it as it is stored and the one
	// that was there before, zero if there was none. It returns the errors of
	// [DocumentWrite.Check] and [DocumentWrite.Admit]. A document without an
	// expiry gets the collection's TTL, except with [Restore]. Until the
	// transaction ends no other writes or deletes this document.
	PutDocument(ctx context.Context, tenant TenantID, collection CollectionName, w DocumentWrite) (stored, before Document, err error)
	// Document returns a document, or an error wrapping [ErrNotFound], also when
	// it has expired.
	Document(ctx context.Context, tenant TenantID, collection CollectionName, id DocumentID) (Document, error)
	// DocumentContent returns a document with its content; errors are those of
	// Document.
	DocumentContent(ctx context.Context, tenant TenantID, collection CollectionName, id DocumentID) (Document, DocumentContent, error)
	// ListDocuments returns documents that have not expired, or an
	// [InvalidError] for a list that is not valid.
	ListDocuments(ctx context.Context, tenant TenantID, collection CollectionName, list DocumentList) ([]Document, error)
	// DeleteDocument removes a document, not its passages, and returns what it
	// was, or an error wrapping [ErrNotFound], or [ErrPrecondition] when
	// ifVersion is not 0 and not its version.
	DeleteDocument(ctx context.Context, tenant TenantID, collection CollectionName, id DocumentID, ifVersion int64) (Document, error)
}
