package vmhost

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Quarantine is a program that is not run any more because it kept killing its
// machine, until the operator releases it. It is known to this process alone.
type Quarantine struct {
	Account Account
	Digest  Digest
	Reason  string    // what its last machine died of; made by the host, so that it may be shown
	Since   time.Time // when it was put in
	Deaths  int       // of its machines, one after the other
}

// QuarantinedError says why a program is not run. Its text is made for the
// program's owner.
type QuarantinedError struct{ Quarantine }

func (e *QuarantinedError) Error() string {
	return fmt.Sprintf("%v since %s: its machine died, %d in a row, the last: %s",
		ErrQuarantined, e.Since.UTC().Format(time.RFC3339), e.Deaths, e.Reason)
}

// Is reports that a QuarantinedError is of the kind [ErrQuarantined].
func (e *QuarantinedError) Is(target error) bool { return target == ErrQuarantined }

// quarantiner is a [Driver] that puts programs into quarantine. Release reports
// whether the program was in it.
type quarantiner interface {
	Quarantined() []Quarantine
	Release(account Account, digest Digest) bool
}

// Quarantined returns the programs in quarantine on this node, by account and
// digest.
func (h *Host) Quarantined() []Quarantine {
	q, ok := h.driver.(quarantiner)
	if !ok {
		return nil
	}
	list := q.Quarantined()
	slices.SortFunc(list, func(a, b Quarantine) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), slices.Compare(a.Digest[:], b.Digest[:]))
	})
	return list
}

// Release takes a program out of quarantine, so that its next call is made, and
// reports whether it was in it.
func (h *Host) Release(account Account, digest Digest) bool {
	q, ok := h.driver.(quarantiner)
	if !ok || !q.Release(account, digest) {
		return false
	}
	h.opts.Logger.Warn("quarantine lifted", slog.String("account", string(account)), slog.String("digest", digest.String()))
	return true
}
