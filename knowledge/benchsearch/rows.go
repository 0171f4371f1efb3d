package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/tars-project/tars/cmd/tars/rig"
)

// rowsClient is a connection whose answers name rows.
type rowsClient struct{ *rig.HTTPClient }

// Rows implements searcher.
func (c rowsClient) Rows(n int) ([]int32, error) {
	if err := c.Ask(n); err != nil && !errors.Is(err, rig.ErrAnswer) {
		return nil, err
	}
	return rowsOf(c.Body)
}

// rowsOf are the rows that the answer to a search names.
func rowsOf(body []byte) ([]int32, error) {
	var answer struct {
		Matches []struct {
			ID string `json:"id"`
		} `json:"matches"`
		Title string `json:"title"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("answer: %w: %.300s", err, body)
	}
	if answer.Title != "" {
		return nil, fmt.Errorf("%w: %.300s", rig.ErrAnswer, body)
	}
	rows := make([]int32, len(answer.Matches))
	for i, m := range answer.Matches {
		row, err := strconv.ParseInt(m.ID, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("id %q: %w", m.ID, err)
		}
		rows[i] = int32(row)
	}
	return rows, nil
}

// dialRows connects such a client.
func dialRows(ctx context.Context, addr string, requests []rig.Request) (searcher, error) {
	c, err := rig.DialHTTP(ctx, addr, requests)
	return rowsClient{c}, err
}
