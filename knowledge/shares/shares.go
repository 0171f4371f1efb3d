// Package shares lets tenants search each other's views. A [Store] keeps who shares
// what with whom; [Registry], which the engine and the API use, remembers that for a
// moment, counts what is read, and logs what is granted, revoked and refused.
//
// What it leaves to others: reading. The engine runs the search of a share under the
// owner's name in a context that has nothing but the view ([knowledge.ThroughShare]),
// so that the store's own rules about views hold.
package shares

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// Store keeps shares. Implementations are safe for concurrent use and pass
// knowledge/shares/sharestest. The owner of a share sees and ends it, the grantee sees
// it; to any other tenant it is not there.
type Store interface {
	// Grant makes a share of a view of the owner's, with the ID, View, Grantee,
	// Note, CreatedBy and Expires of s, and returns it. Whether the grantee is a
	// tenant does not matter. It returns an [knowledge.InvalidError], or an error
	// wrapping [knowledge.ErrNotFound] when the owner has no such view,
	// [knowledge.ErrConflict] when a share of it with the grantee has not ended,
	// [knowledge.ErrLimit] at [knowledge.MaxShares]. Of those that have ended the
	// last [knowledge.MaxShares] are kept.
	Grant(ctx context.Context, owner knowledge.TenantID, s knowledge.Share) (knowledge.Share, error)
	// Revoke ends a share of the owner's and returns it, also one that has ended, or
	// an error wrapping [knowledge.ErrNotFound].
	Revoke(ctx context.Context, owner knowledge.TenantID, id knowledge.ShareID) (knowledge.Share, error)
	// Given returns up to limit shares of the owner's by id, those after the given
	// one, with how much they were read. Ended ones are among them.
	Given(ctx context.Context, owner knowledge.TenantID, after knowledge.ShareID, limit int) ([]Used, error)
	// Received is Given for those that are given to the grantee, without who made
	// them.
	Received(ctx context.Context, grantee knowledge.TenantID, after knowledge.ShareID, limit int) ([]Used, error)
	// Shared returns the share by which the grantee may read a view of the owner's
	// now, or the error of [knowledge.NotShared].
	Shared(ctx context.Context, grantee, owner knowledge.TenantID, view knowledge.CollectionName) (knowledge.Share, error)
	// WriteReads writes how much shares were read, as one writer counted it: sums of
	// a day since the writer began, which take the place of its earlier ones. Those
	// of shares that are not kept any more are left out.
	WriteReads(ctx context.Context, writer string, reads []DayReads) error
}

// Reads is how much a share was read.
type Reads struct {
	Queries int64 // that had at least one leg of it
	Rows    int64 // that these legs found
}

// Used is a share with how much it was read, up to a second ago.
type Used struct {
	knowledge.Share
	Today, Total Reads // of this day, in UTC, and of all
}

// DayReads is how much a share was read on a day.
type DayReads struct {
	Owner, Grantee knowledge.TenantID
	Share          knowledge.ShareID
	Day            time.Time // its beginning, in UTC
	Reads
}

// NewID returns a fresh id.
func NewID() knowledge.ShareID {
	b := make([]byte, 10)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	return knowledge.ShareID(knowledge.ShareIDStart + base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").EncodeToString(b))
}

// dayOf is the day of a time.
func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }
