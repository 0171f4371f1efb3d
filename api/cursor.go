package api

import (
	"encoding/base64"
	"strings"

	"github.com/tars-project/tars/knowledge"
)

const defaultPage = 50

// page gets one page of a list. list is the name of the list, so that a cursor of
// another is refused. parse reads the key after which the page begins; fetch gets
// up to so many items after it; keyOf is the key of an item.
//
// A cursor holds a key that its list gave out. It is not secret and gives no
// right: whatever is in it, fetch stays within the caller's tenant.
func page[K ~string, T any](list string, cursor *string, limit *int, parse func(string) (K, error), fetch func(after K, limit int) ([]T, error), keyOf func(T) string) ([]T, *string, error) {
	var after K
	if cursor != nil {
		key, ok := parseCursor(list, *cursor)
		var err error
		if after, err = parse(key); err != nil || !ok {
			return nil, nil, knowledge.Invalid("cursor", "is not one that this list gave")
		}
	}
	most := defaultPage
	if limit != nil {
		most = *limit
	}
	items, err := fetch(after, most+1) // one more tells whether there is a next page
	if err != nil {
		return nil, nil, err
	}
	if len(items) <= most {
		return items, nil, nil
	}
	items = items[:most]
	next := newCursor(list, keyOf(items[most-1]))
	return items, &next, nil
}

func newCursor(list, key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(list + ":" + key))
}

func parseCursor(list, cursor string) (key string, ok bool) {
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(string(text), list+":")
}
