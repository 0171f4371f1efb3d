package knowledge

import (
	"context"
	"time"
)

// ImportID names an import within its tenant. The store makes it.
type ImportID string

// ImportState is where an import is.
type ImportState string

// The states. Only a finished import cannot be resumed.
const (
	ImportRunning     ImportState = "running"     // or its server died
	ImportInterrupted ImportState = "interrupted" // its body broke off
	ImportFailed      ImportState = "failed"      // at a line that it could not pass
	ImportFinished    ImportState = "finished"
)

// ImportPatience is how long an import may not come forward before its key resumes
// it: its server may be dead.
const ImportPatience = 15 * time.Second

// ImportLife is how long an import is kept that does not come forward.
const ImportLife = 30 * 24 * time.Hour

// MaxLineFaults is how many bad lines an import reports; the others it counts.
const MaxLineFaults = 100

// LineFault says what is wrong with a line of an import.
type LineFault struct {
	Line   int64 // the first is 1
	Field  string
	Detail string
	Code   string // "invalid" or "conflict"
}

// Import is a body of many lines that is written piece by piece, and how far it
// has come. All but Attempt and State is its checkpoint, which is kept in the
// transaction of the piece that it counts.
type Import struct {
	ID         ImportID
	Collection CollectionName // empty: of a whole tenant
	Mode       WriteMode
	OnError    OnError
	Key        string // an idempotency key, of one tenant; may be empty
	Principal  string // id of the credential that began it
	State      ImportState
	Attempt    int // raised by each resumption: an attempt whose number is not the present one cannot write any more

	Lines, Bytes    int64          // of the body, done
	Digest          [32]byte       // SHA-256 of these bytes
	Into            CollectionName // of a whole tenant: where records go
	Written, Failed int64          // records, lines
	Faults          []LineFault    // of the first [MaxLineFaults] bad lines

	Created, Updated time.Time
}

// Imports keeps how far imports have come.
type Imports interface {
	// StartImport makes a running import of what is asked: its Collection,
	// Mode, OnError, Key and Principal. If there is one of the same Key, it
	// is returned when it has finished, and resumed when it has not, unless
	// it came forward within [ImportPatience]: then the error wraps
	// [ErrRunning]. It wraps [ErrReused] when anything else was asked then.
	StartImport(ctx context.Context, tenant TenantID, asked Import) (Import, error)
	// ResumeImport makes an import that has not finished run again, as the
	// next attempt, or returns an error wrapping [ErrNotFound] or
	// [ErrConflict]. An attempt that still runs cannot write any more.
	ResumeImport(ctx context.Context, tenant TenantID, id ImportID) (Import, error)
	// PutImport stores state and checkpoint of an import. It returns an error
	// wrapping [ErrConflict] when x is not the present attempt.
	PutImport(ctx context.Context, tenant TenantID, x Import) error
	// Import returns an import, or an error wrapping [ErrNotFound].
	Import(ctx context.Context, tenant TenantID, id ImportID) (Import, error)
}
