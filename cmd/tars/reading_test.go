package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
)

// cellDouble does the work here, or answers what it is told.
type cellDouble struct {
	output []byte
	err    error
	asked  cell.TaskRequest
}

func (c *cellDouble) Do(ctx context.Context, req cell.TaskRequest) ([]byte, error) {
	c.asked = req
	if c.output != nil || c.err != nil {
		return c.output, c.err
	}
	return readDocument(ctx, req.Input)
}

func TestReading(t *testing.T) {
	for _, c := range []struct {
		mediaType, source, text string
		inCell                  bool
	}{
		{"text/plain", "Plain words.", "Plain words.", false},
		{"text/plain; charset=iso-8859-1", "na\xefve", "naïve", false},
		{"text/markdown", "# Words\n\nMore.", "# Words\n\nMore.", false},
		{"text/html", "<title>T</title><p>Words &amp; more.</p>", "Words & more.", true},
	} {
		cells := &cellDouble{}
		text, err := reading{cells}.Extract(t.Context(), "acme", c.mediaType, []byte(c.source))
		if err != nil || !strings.Contains(text.Text, c.text) {
			t.Errorf("Extract(%s) = %q, %v, want %q", c.mediaType, text.Text, err, c.text)
		}
		if inCell := cells.asked.Name != ""; inCell != c.inCell || inCell && (cells.asked.Account != "acme" || cells.asked.Name != taskRead) {
			t.Errorf("Extract(%s) asked the cells for %+v, want it to be read in one: %v", c.mediaType, cells.asked, c.inCell)
		}
	}
}

// What comes from a cell is not believed, and its refusals are the owner's to read.
func TestReadingRefuses(t *testing.T) {
	other := errors.New("other")
	for what, c := range map[string]struct {
		cells *cellDouble
		kind  error
		says  string
	}{
		"a refusal":    {&cellDouble{err: &vmhost.RefusedError{Offset: -1, Detail: "reading it used too much"}}, knowledge.ErrInvalid, "reading it used too much"},
		"no cell":      {&cellDouble{err: vmhost.ErrUnavailable}, vmhost.ErrUnavailable, ""},
		"a fault":      {&cellDouble{err: other}, other, ""},
		"a lie":        {&cellDouble{output: []byte("no text")}, knowledge.ErrInvalid, "no text"},
		"an end":       {&cellDouble{err: context.Canceled}, context.Canceled, ""},
		"a broken one": {&cellDouble{}, knowledge.ErrInvalid, ""},
	} {
		_, err := reading{c.cells}.Extract(t.Context(), "acme", document.PDF, []byte("%PDF-1.7 broken"))
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: Extract = %v, want %v that says %q", what, err, c.kind, c.says)
		}
	}
	if _, err := (reading{&cellDouble{}}).Extract(t.Context(), "acme", "image/png", []byte("x")); !errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("Extract of an image = %v, want an InvalidError", err)
	}
	if _, err := readDocument(t.Context(), []byte("no media type")); err == nil {
		t.Error("readDocument without a media type = nil, want an error")
	}
}
