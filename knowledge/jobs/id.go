package jobs

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// ID names a job within its tenant. IDs sort by the time of creation, in
// milliseconds; 80 of their bits are random. Made only by [NewID] and [ParseID].
type ID string

const (
	idLength   = 26
	idAlphabet = "0123456789abcdefghijklmnopqrstuv" // in the order of bytes, so that text sorts like the bits
)

var idEncoding = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)

// NewID makes an id of that time, which must be after 1970 and before the year 10000.
func NewID(at time.Time) ID {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(at.UnixMilli())<<16)
	rand.Read(b[6:]) // never fails: crypto/rand ends the program instead
	return ID(idEncoding.EncodeToString(b[:]))
}

// ParseID checks s: 26 of 0-9 and a-v. It returns an [knowledge.InvalidError] without
// a field.
func ParseID(s string) (ID, error) {
	if len(s) != idLength || strings.Trim(s, idAlphabet) != "" {
		return "", knowledge.Invalid("", "is no id of a job; need %d of 0-9 and a-v", idLength)
	}
	return ID(s), nil
}
