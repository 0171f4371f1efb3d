package ledger

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// ID names a call within its tenant: "call_" and 16 characters. IDs sort by the time
// that the call began, in milliseconds; 32 of their bits are random. Made only by
// [NewID] and [ParseID].
type ID string

const (
	idStart    = "call_"
	idLength   = 16
	idAlphabet = "0123456789abcdefghijklmnopqrstuv" // in the order of bytes, so that text sorts like the bits
)

var idEncoding = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)

// NewID makes the id of a call that began then, after 1970 and before the year 10000.
func NewID(at time.Time) ID {
	var b [10]byte
	rand.Read(b[6:]) // never fails: crypto/rand ends the program instead
	return idOf(at, b)
}

// FirstID is the least id that a call may have which began in the millisecond of at.
func FirstID(at time.Time) ID { return idOf(at, [10]byte{}) }

// idOf puts a time before the random bits of b.
func idOf(at time.Time, b [10]byte) ID {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(min(max(at.UnixMilli(), 0), 1<<48-1)))
	copy(b[:6], ms[2:])
	return ID(idStart + idEncoding.EncodeToString(b[:]))
}

// ParseID checks s. It returns an [knowledge.InvalidError] without a field.
func ParseID(s string) (ID, error) {
	rest, ok := strings.CutPrefix(s, idStart)
	if !ok || len(rest) != idLength || strings.Trim(rest, idAlphabet) != "" {
		return "", knowledge.Invalid("", "is no id of a call; need %s and %d of 0-9 and a-v", idStart, idLength)
	}
	return ID(s), nil
}

// Day is a day in UTC, as YYYY-MM-DD. Days sort like text. Made only by [DayOf] and
// [ParseDay].
type Day string

// DayOf returns the day of a moment between the years 0 and 9999.
func DayOf(at time.Time) Day { return Day(at.UTC().Format(time.DateOnly)) }

// ParseDay checks s. It returns an [knowledge.InvalidError] without a field.
func ParseDay(s string) (Day, error) {
	if at, err := time.Parse(time.DateOnly, s); err != nil || at.Year() < 1970 {
		return "", knowledge.Invalid("", "is no day from 1970 on; need YYYY-MM-DD")
	}
	return Day(s), nil
}

// Time is when the day begins.
func (d Day) Time() time.Time {
	at, _ := time.Parse(time.DateOnly, string(d)) // whoever made it has checked it
	return at
}
