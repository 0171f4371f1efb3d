package knowledge

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

func itoa(i int) string { return strconv.Itoa(i) }

// CheckMetadata refuses metadata that cannot be kept and given back as it is:
// keys and strings that are not UTF-8 or hold NUL, numbers that are not
// finite, nesting over [MaxMetadataDepth], size over [MaxMetadataBytes], where a
// value counts 8 bytes and a string and a key their length. It returns an
// [InvalidError] that names the place.
func CheckMetadata(m map[string]any) error {
	size := 0
	return checkObject(m, 1, &size)
}

func checkObject(m map[string]any, depth int, size *int) error {
	if depth > MaxMetadataDepth {
		return Invalid("", "is nested deeper than %d levels", MaxMetadataDepth)
	}
	for key, value := range m {
		if err := checkString(key, size); err != nil {
			return At("(a key)", err)
		}
		if err := checkValue(value, depth, size); err != nil {
			return At(key, err)
		}
	}
	return nil
}

func checkValue(value any, depth int, size *int) error {
	if *size += 8; *size > MaxMetadataBytes {
		return Invalid("", "metadata is over %d bytes", MaxMetadataBytes)
	}
	switch v := value.(type) {
	case nil, bool:
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return Invalid("", "is not a finite number")
		}
	case string:
		return checkString(v, size)
	case []any:
		if depth >= MaxMetadataDepth {
			return Invalid("", "is nested deeper than %d levels", MaxMetadataDepth)
		}
		for i, item := range v {
			if err := checkValue(item, depth+1, size); err != nil {
				return At("["+itoa(i)+"]", err)
			}
		}
	case map[string]any:
		return checkObject(v, depth+1, size)
	default:
		return Invalid("", "is not a JSON value")
	}
	return nil
}

func checkString(s string, size *int) error {
	*size += len(s)
	switch {
	case *size > MaxMetadataBytes:
		return Invalid("", "metadata is over %d bytes", MaxMetadataBytes)
	case !utf8.ValidString(s):
		return Invalid("", "is not valid UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		return Invalid("", "has a NUL character, which cannot be kept")
	}
	return nil
}
