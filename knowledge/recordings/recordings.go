// Package recordings keeps recordings of plugin calls, sealed, for a while. What is in
// one is for package plugins.
package recordings

import (
	"context"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// Entry is one recording.
type Entry struct {
	Call    ledger.ID
	Key     string // id of the key that called; empty for work in the background
	Sealed  tenancy.Sealed
	Expires time.Time // to the microsecond
}

// Store keeps recordings. What another tenant has, and what has expired, is not there.
// Implementations are safe for concurrent use and pass recordingstest.
type Store interface {
	// PutRecording keeps a recording. When the tenant's are together over most bytes
	// then, the oldest go until they are not; the new one stays. Once it returned, the
	// recording survives a crash. It wraps [knowledge.ErrConflict] when the call has
	// one, and [knowledge.ErrNotFound] when there is no such tenant.
	PutRecording(ctx context.Context, tenant knowledge.TenantID, e Entry, most int64) error
	// Recording wraps [knowledge.ErrNotFound] when there is none.
	Recording(ctx context.Context, tenant knowledge.TenantID, call ledger.ID) (Entry, error)
	// DeleteRecording wraps [knowledge.ErrNotFound] when there is none.
	DeleteRecording(ctx context.Context, tenant knowledge.TenantID, call ledger.ID) error
	// SweepRecordings removes what has expired, of all tenants, and returns how many
	// that were.
	SweepRecordings(ctx context.Context) (int64, error)
}
