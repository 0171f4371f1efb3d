package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/tars-project/tars/knowledge"
)

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// String is the hash in hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads what [Hash.String] gives, and nothing else.
func ParseHash(s string) (h Hash, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) || hex.EncodeToString(b) != s {
		return h, errors.New("is no hash; need 64 of 0-9 and a-f")
	}
	copy(h[:], b)
	return h, nil
}

// canonical is the one encoding of an entry of a log that is hashed: the words
// "tars-audit-1" and the fields, each as a netstring (its length in bytes, a colon, its
// bytes, a comma), numbers in decimal, the time in microseconds since 1970. docs/audit.md
// has the same for others to check.
func canonical(owner knowledge.TenantID, seq int64, e Event) []byte {
	b := make([]byte, 0, 512)
	add := func(field string) {
		b = strconv.AppendInt(b, int64(len(field)), 10)
		b = append(b, ':')
		b = append(b, field...)
		b = append(b, ',')
	}
	number := func(n int64) { add(strconv.FormatInt(n, 10)) }
	add("tars-audit-1")
	add(string(owner))
	number(seq)
	add(e.ID)
	number(e.At.UnixMicro())
	add(e.Actor)
	add(e.Remote)
	add(e.Operation)
	add(e.Kind)
	add(e.Name)
	number(int64(e.Status))
	add(e.Outcome)
	add(e.RequestID)
	number(int64(len(e.Details)))
	for _, d := range e.Details {
		add(d)
	}
	return b
}

// Next returns the entry of an event, which must be normal, after the mark.
func (m Mark) Next(owner knowledge.TenantID, e Event) Entry {
	next := Entry{Event: e, Seq: m.Seq + 1, Previous: m.Hash}
	next.Hash = next.sum(owner)
	return next
}

// Mark is the place after the entry.
func (e Entry) Mark() Mark { return Mark{e.Seq, e.Hash} }

// sum is what the entry's hash must be.
func (e Entry) sum(owner knowledge.TenantID) Hash {
	h := sha256.New()
	h.Write(e.Previous[:])
	h.Write(canonical(owner, e.Seq, e.Event))
	return Hash(h.Sum(nil))
}

// BrokenError says where a chain is broken.
type BrokenError struct {
	Seq    int64 // of the first entry that does not fit; one more than the last when it is missing
	Reason string
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("the chain is broken at event %d: %s", e.Seq, e.Reason)
}

// Verifier goes along a chain and finds the first entry that does not fit. It must not be
// used any more after an error.
type Verifier struct {
	owner knowledge.TenantID
	at    Mark
}

// NewVerifier returns one for the entries of a log after a mark.
func NewVerifier(owner knowledge.TenantID, after Mark) *Verifier { return &Verifier{owner, after} }

// At is the place that the verifier has come to.
func (v *Verifier) At() Mark { return v.at }

// Next goes on by an entry. It returns a *[BrokenError] unless it is the next, unchanged.
func (v *Verifier) Next(e Entry) error {
	want := v.at.Seq + 1
	switch {
	case e.Seq > want:
		return &BrokenError{want, fmt.Sprintf("it is missing; event %d follows", e.Seq)}
	case e.Seq < want:
		return &BrokenError{want, fmt.Sprintf("event %d is in its place", e.Seq)}
	case e.Previous != v.at.Hash:
		return &BrokenError{want, "the event before it is another than it was, or its own link to it is"}
	case e.Hash != e.sum(v.owner):
		return &BrokenError{want, "it is not as it was written"}
	}
	v.at = e.Mark()
	return nil
}

// End returns a *[BrokenError] unless the chain has come to the mark, its end.
func (v *Verifier) End(want Mark) error {
	switch {
	case v.at.Seq < want.Seq:
		return &BrokenError{v.at.Seq + 1, fmt.Sprintf("it is missing, and all after it, up to %d", want.Seq)}
	case v.at != want:
		return &BrokenError{v.at.Seq, fmt.Sprintf("the chain is to end with event %d, of another hash", want.Seq)}
	}
	return nil
}

// Verify checks all that a reader has of a log, and returns where it ends.
func Verify(walk func(begin func(first, last Mark) error, each func(Entry) error) error, owner knowledge.TenantID) (Mark, error) {
	var v *Verifier
	var end Mark
	err := walk(func(first, last Mark) error {
		v, end = NewVerifier(owner, first), last
		return nil
	}, func(e Entry) error { return v.Next(e) })
	if err != nil {
		return Mark{}, err
	}
	return end, v.End(end)
}
