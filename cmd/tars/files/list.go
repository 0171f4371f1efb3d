package files

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/tars-project/tars/cmd/tars/rest"
)

// stored is what the server says of a document.
type stored struct {
	ID        string         `json:"id"`
	MediaType string         `json:"media_type"`
	SHA256    string         `json:"sha256"`
	Metadata  map[string]any `json:"metadata"`
	Passages  int            `json:"passages"`
}

// list gives the documents of a collection in order of their ids, one page of them in
// memory.
type list struct {
	client *rest.Client
	path   string
	prefix string

	page   []stored
	cursor string
	ended  bool
}

// peek returns the next document, or nil after the last.
func (l *list) peek(ctx context.Context) (*stored, error) {
	for len(l.page) == 0 && !l.ended {
		query := url.Values{"limit": {"200"}}
		if l.prefix != "" {
			query.Set("prefix", l.prefix)
		}
		if l.cursor != "" {
			query.Set("cursor", l.cursor)
		}
		var page struct {
			Documents  []stored `json:"documents"`
			NextCursor string   `json:"next_cursor"`
		}
		err := patiently(ctx, func() error {
			_, err := l.client.Do(ctx, http.MethodGet, l.path+"?"+query.Encode(), nil, &page)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list documents: %w", err)
		}
		l.page, l.cursor, l.ended = page.Documents, page.NextCursor, page.NextCursor == ""
	}
	if len(l.page) == 0 {
		return nil, nil
	}
	return &l.page[0], nil
}

func (l *list) next() { l.page = l.page[1:] }
