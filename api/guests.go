package api

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

// searcher is what a plugin's searches go to.
type searcher interface {
	Search(ctx context.Context, tenant knowledge.TenantID, s query.SearchText) (query.Results, error)
}

// Guests has what the documents of plugins have in common with the bodies of this
// API, for package plugins. Safe for concurrent use.
type Guests struct{ Engine searcher }

// Filter is a filter as JSON.
func (Guests) Filter(f knowledge.Filter) []byte {
	text, err := json.Marshal(filterOut(f))
	if err != nil {
		panic("api: a filter of texts and numbers did not encode: " + err.Error()) // unreachable: NaN is refused
	}
	return text
}

// ParseFilter returns an [knowledge.InvalidError] for what is no filter.
func (Guests) ParseFilter(document []byte) (knowledge.Filter, error) {
	var filter body.FilterDocument
	err := body.Decode(bytes.NewReader(document), &filter)
	return knowledge.Filter(filter), err
}

// Search runs a search as the body of searchRecords asks, whose member collection
// says where, and returns the answer's body.
func (g Guests) Search(ctx context.Context, tenant knowledge.TenantID, request []byte) ([]byte, error) {
	var search body.PluginSearch
	if err := body.Decode(bytes.NewReader(request), &search); err != nil {
		return nil, err
	}
	found, err := g.Engine.Search(ctx, tenant, query.SearchText(search))
	if err != nil {
		return nil, err
	}
	return json.Marshal(resultsOut(found))
}
