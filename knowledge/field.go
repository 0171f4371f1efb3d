package knowledge

import (
	"strings"
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
)

// Field is a metadata field that a collection declares: its values are checked
// when records are written, and indexed once the collection is large.
type Field struct {
	Name string // top-level key of the metadata, 1 to [MaxFilterField] bytes
	Type FieldType
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
