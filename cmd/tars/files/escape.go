package files

import (
	"net/url"
	"strings"
)

// escape makes one element of a path of an id. Those of dots alone would be taken for
// the folder itself and the one above.
func escape(id string) string {
	escaped := url.PathEscape(id)
	if strings.Trim(id, ".") == "" {
		escaped = strings.ReplaceAll(id, ".", "%2E")
	}
	return escaped
}
