package knowledge

import (
	"strings"
	"time"
)

// Bounds of shares.
const (
	MaxShares    = 1000 // of one tenant that have not ended; so many that have are kept
	MaxShareNote = 500  // bytes
)

// ShareID names a share. Made only by [ParseShareID] and knowledge/shares.
type ShareID string

// The form of a [ShareID]: it is 80 random bits, in base32.
const (
	ShareIDStart   = "share_"
	shareIDLength  = len(ShareIDStart) + 16
	shareIDLetters = "abcdefghijklmnopqrstuvwxyz234567"
)

// ParseShareID checks s. It returns an [InvalidError] without a field.
func ParseShareID(s string) (ShareID, error) {
	rest, ok := strings.CutPrefix(s, ShareIDStart)
	if !ok || len(s) != shareIDLength || strings.Trim(rest, shareIDLetters) != "" {
		return "", Invalid("", "is not the id of a share")
	}
	return ShareID(s), nil
}

// Share lets another tenant search what a view shows: what it gives is the view's, as
// that is at the time, and nothing else of the owner's. It ends when it is revoked,
// when its time is over, and with its view; it does not come back with another view of
// that name.
type Share struct {
	ID        ShareID
	Owner     TenantID
	View      CollectionName // of the owner's; of no collection or alias
	Grantee   TenantID       // need not be there
	Note      string         // for people of both tenants; up to [MaxShareNote] bytes
	CreatedBy string         // id of the key; the grantee does not see it
	Created   time.Time      // set by the store
	Expires   time.Time      // zero: never
	Revoked   time.Time      // when it ended before its time; zero: it has not
}

// Check checks a share that is to be granted now, or returns an [InvalidError].
func (s Share) Check(now time.Time) error {
	switch {
	case s.Grantee == s.Owner:
		return Invalid("grantee", "is the tenant itself; need another one")
	case len(s.Note) > MaxShareNote:
		return Invalid("note", "has %d bytes; at most %d are allowed", len(s.Note), MaxShareNote)
	case !s.Expires.IsZero() && !s.Expires.After(now):
		return Invalid("expires_at", "is in the past")
	}
	return At("note", CheckText(s.Note))
}

// Standing reports that the share has not ended.
func (s Share) Standing(now time.Time) bool {
	return s.Revoked.IsZero() && (s.Expires.IsZero() || now.Before(s.Expires))
}

// NotShared is the error for a view that is not shared: that of a collection which is
// not there, whatever the reason.
func NotShared(view CollectionName) error { return NotFound("collection", view) }

// AlreadyShared is the error for a view that is shared with the grantee by a share
// that has not ended.
func AlreadyShared(by ShareID) error {
	return Conflict("grantee", "has this view by %s already; revoke that first", by)
}

// TooManyShares is the error at [MaxShares].
func TooManyShares() error { return Limit("the tenant shares as much as it may") }
