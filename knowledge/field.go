package knowledge

import (
	"strings"
	"time"
	"unicode/utf8"
)

// FieldType is the type of a declared metadata field.
type FieldType string

// The types. A record may lack a declared field or have it null; what it has
// must be of the type.
const (
	Keyword  FieldType = "keyword"  // a string, compared as a whole, by code point
	Keywords FieldType = "keywords" // a list of strings; a comparison is true when it is for one of them
	Number   FieldType = "number"
	Boolean  FieldType = "boolean"
	Datetime FieldType = "datetime" // an RFC 3339 string, compared as an instant to the microsecond
)

// Bounds of the declared fields of one collection.
const (
	MaxKeywordFields  = 8
	MaxKeywordsFields = 4
	MaxNumberFields   = 8 // numbers, booleans and datetimes together

	// MaxKeyword is the longest value of a [Keyword], and of one of [Keywords],
	// in bytes: an index holds no more than some 2,700 of one entry.
	MaxKeyword = 1024
)

// Field is a metadata field that a collection declares: its values are checked
// when records are written, and indexed once the collection is large.
type Field struct {
	Name  string // top-level key of the metadata, 1 to [MaxFilterField] bytes
	Type  FieldType
	State FieldState // set by the store
}

// validateFields checks a list of declared fields.
func validateFields(fields []Field) error {
	most := map[string]int{"keyword": MaxKeywordFields, "keywords": MaxKeywordsFields, "number, boolean and datetime": MaxNumberFields}
	have, seen := map[string]int{}, map[string]bool{}
	for i, f := range fields {
		at := "[" + itoa(i) + "]"
		switch {
		case f.Name == "" || len(f.Name) > MaxFilterField:
			return Invalid(at+".name", "has %d bytes; need 1 to %d", len(f.Name), MaxFilterField)
		case !utf8.ValidString(f.Name) || strings.IndexByte(f.Name, 0) >= 0:
			return Invalid(at+".name", "is not UTF-8 text without NUL")
		case seen[f.Name]:
			return Invalid(at+".name", "is declared twice")
		}
		kind := string(f.Type)
		switch f.Type {
		case Keyword, Keywords:
		case Number, Boolean, Datetime:
			kind = "number, boolean and datetime"
		default:
			return Invalid(at+".type", "is not a type; need one of keyword, keywords, number, boolean, datetime")
		}
		seen[f.Name] = true
		if have[kind]++; have[kind] > most[kind] {
			return Invalid("", "has more than %d fields of type %s", most[kind], kind)
		}
	}
	return nil
}

// CheckFields refuses metadata whose declared fields are of another type than
// declared. Absent and null are of every type. It returns an [InvalidError] that
// names the field and the need.
func CheckFields(metadata map[string]any, fields []Field) error {
	for _, f := range fields {
		value := metadata[f.Name]
		if value == nil {
			continue
		}
		if err := f.check(value); err != nil {
			return At(f.Name, err)
		}
	}
	return nil
}

func (f Field) check(value any) error {
	ok := false
	switch f.Type {
	case Keyword:
		var text string
		if text, ok = value.(string); ok {
			return checkKeyword(text)
		}
	case Keywords:
		return checkKeywords(value)
	case Number:
		_, ok = value.(float64)
	case Boolean:
		_, ok = value.(bool)
	case Datetime:
		var text string
		if text, ok = value.(string); ok {
			_, err := ParseDatetime(text)
			return err
		}
	}
	if !ok {
		return Invalid("", "is not a %s, as the collection declares it", f.Type)
	}
	return nil
}

func checkKeyword(text string) error {
	if len(text) > MaxKeyword {
		return Invalid("", "has %d bytes; at most %d are allowed in a keyword", len(text), MaxKeyword)
	}
	return nil
}

func checkKeywords(value any) error {
	list, ok := value.([]any)
	if !ok {
		return Invalid("", "is not a list of strings, as the collection declares it")
	}
	for i, item := range list {
		text, ok := item.(string)
		if !ok {
			return Invalid("["+itoa(i)+"]", "is not a string, as the collection declares it")
		}
		if err := checkKeyword(text); err != nil {
			return At("["+itoa(i)+"]", err)
		}
	}
	return nil
}

// maxOffset is the largest distance from UTC that PostgreSQL reads.
const maxOffset = 15*time.Hour + 59*time.Minute

// ParseDatetime reads an instant as a [Datetime] field has it: RFC 3339 with the
// years 1 to 9999, rounded to the microsecond. It returns an [InvalidError].
func ParseDatetime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, Invalid("", "is not a date and time; need RFC 3339, such as 2026-11-25T08:00:00Z")
	}
	_, offset := t.Zone()
	if year := t.UTC().Year(); year < 1 || year > 9999 || t.Year() < 1 || (time.Duration(offset)*time.Second).Abs() > maxOffset {
		return time.Time{}, Invalid("", "is out of range; need the years 1 to 9999 and at most 15:59 from UTC")
	}
	return t.UTC().Round(time.Microsecond), nil
}
