package knowledge

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// TenantID names a tenant. Made only by [ParseTenantID].
type TenantID string

// CollectionName names a collection within its tenant. Made only by
// [ParseCollectionName].
type CollectionName string

// RecordID names a record within its collection; the caller chooses it. Made
// only by [ParseRecordID].
type RecordID string

// MaxRecordID is the longest record id, in bytes.
const MaxRecordID = 512

// ParseTenantID checks s: 1 to 63 of a-z, 0-9 and "-", first and last not "-".
// It returns an [InvalidError] without a field.
func ParseTenantID(s string) (TenantID, error) {
	if err := checkName(s, 63, "-"); err != nil {
		return "", err
	}
	return TenantID(s), nil
}

// ParseCollectionName checks s: 1 to 63 of a-z, 0-9, "-" and "_", first and
// last a letter or a digit. It returns an [InvalidError] without a field.
func ParseCollectionName(s string) (CollectionName, error) {
	if err := checkName(s, 63, "-_"); err != nil {
		return "", err
	}
	return CollectionName(s), nil
}

// ParseRecordID checks s: 1 to [MaxRecordID] bytes of UTF-8 without control
// characters. It returns an [InvalidError] without a field.
func ParseRecordID(s string) (RecordID, error) {
	switch {
	case s == "":
		return "", Invalid("", "is empty; need 1 to %d bytes", MaxRecordID)
	case len(s) > MaxRecordID:
		return "", Invalid("", "has %d bytes; at most %d are allowed", len(s), MaxRecordID)
	case !utf8.ValidString(s):
		return "", Invalid("", "is not valid UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		return "", Invalid("", "has a control character; none is allowed")
	}
	return RecordID(s), nil
}

// checkName is the common form of names that stand in URLs and file names.
func checkName(s string, limit int, punctuation string) error {
	if s == "" {
		return Invalid("", "is empty; need 1 to %d of a-z, 0-9 and %q", limit, punctuation)
	}
	if len(s) > limit {
		return Invalid("", "has %d characters; at most %d are allowed", len(s), limit)
	}
	for i := range len(s) {
		c := s[i]
		alnum := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if alnum || i > 0 && i < len(s)-1 && strings.IndexByte(punctuation, c) >= 0 {
			continue
		}
		return Invalid("", "character %d is not allowed; need a-z, 0-9 and, inside, %q", i+1, punctuation)
	}
	return nil
}
