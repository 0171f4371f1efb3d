// Package ingest turns what callers bring into records: it makes the vectors of
// records that come with text alone, and hands them to the store.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tars-project/tars/knowledge"
)

// embedders finds the embedder that a collection is pinned to; knowledge/embed
// has it.
type embedders interface {
	For(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection) (knowledge.Embedder, error)
}

// collections is what a Writer needs of a [knowledge.Store].
type collections interface {
	Resolve(context.Context, knowledge.TenantID, knowledge.CollectionName) (knowledge.Resolved, error)
}

// Writer makes writes ready. Set every field before the first use; safe for
// concurrent use.
type Writer struct {
	Store     collections
	Embedders embedders
}

// Prepared is a write with the vectors of its texts, and what was found wrong
// with some of its records, which it lacks.
type Prepared struct {
	write   knowledge.Write
	results []knowledge.WriteResult // one for each record of the caller's
	index   []int                   // where each record of write stands in them

	embedded int // texts for which a vector was made
}

// Prepare checks a write and embeds what comes with text alone: in a collection
// with an embedder a vector of the caller's own is refused, for it would come from
// another space, but with [knowledge.Restore]. All that can be checked without a
// vector is checked before any is made. With [knowledge.Fail] the first fault is
// returned, with [knowledge.Skip] the records at fault are left out and reported by
// Put. w is not changed. Errors are those of [knowledge.Records.PutRecords] and
// [knowledge.Embedder.Embed].
func (w *Writer) Prepare(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, write knowledge.Write) (Prepared, error) {
	c, err := w.target(ctx, tenant, collection)
	if err != nil {
		return Prepared{}, fmt.Errorf("put records: %w", err)
	}
	return w.prepare(ctx, tenant, c, write, nil)
}

// target returns the collection that is to be written to, before anything is
// embedded for it.
func (w *Writer) target(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (knowledge.Collection, error) {
	named, err := w.Store.Resolve(ctx, tenant, name)
	if err == nil && named.View != nil {
		err = knowledge.WriteThroughView(name)
	}
	return named.Collection, err
}

// prepare is Prepare for a collection that was looked up, with vectors that are known
// of some texts.
func (w *Writer) prepare(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection, write knowledge.Write, known map[string][]float32) (Prepared, error) {
	embedded := c.Embedder.ID != knowledge.NoEmbedder && write.Mode != knowledge.Restore
	p := Prepared{write: write}
	var err error
	p.results, err = write.Check(func(r knowledge.Record) error {
		if embedded {
			return checkText(r, c)
		}
		if len(r.Vector) == 0 {
			return knowledge.Invalid("vector", "is missing; collection %q has no embedder", c.Name)
		}
		return r.Validate(c)
	})
	if err != nil {
		return Prepared{}, err
	}
	if embedded {
		p.write.Embedder = &c.Embedder
		err = w.embed(ctx, tenant, c, &p, known)
	}
	p.leaveOut()
	return p, err
}

// records writes them; a [knowledge.Session] does.
type records interface {
	PutRecords(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.Write) ([]knowledge.WriteResult, error)
}

// Put hands the write to a session and returns what became of each record that
// the caller brought, in order.
func (p Prepared) Put(ctx context.Context, to records, tenant knowledge.TenantID, collection knowledge.CollectionName) ([]knowledge.WriteResult, error) {
	all := slices.Clone(p.results)
	if len(p.write.Records) == 0 {
		return all, nil
	}
	results, err := to.PutRecords(ctx, tenant, collection, p.write)
	if err != nil {
		return nil, p.renumber(err)
	}
	for i, r := range results {
		r.Err = p.renumber(r.Err)
		all[p.index[i]] = r
	}
	return all, nil
}

// leaveOut removes the records at fault from the write.
func (p *Prepared) leaveOut() {
	good := make([]knowledge.Record, 0, len(p.write.Records))
	versions := map[int]int64{}
	p.index = make([]int, 0, len(p.write.Records))
	for i, r := range p.write.Records {
		if p.results[i].Err != nil {
			continue
		}
		if version, ok := p.write.IfVersion[i]; ok {
			versions[len(good)] = version
		}
		good = append(good, r)
		p.index = append(p.index, i)
	}
	p.write.Records, p.write.IfVersion = good, versions
}

// renumber gives an error about records[i] of the write the number that the
// record had for the caller.
func (p *Prepared) renumber(err error) error {
	var invalid *knowledge.InvalidError
	var conflict *knowledge.ConflictError
	switch {
	case len(p.index) == len(p.results):
		return err
	case errors.As(err, &invalid):
		return knowledge.Invalid(p.renumbered(invalid.Field), "%s", invalid.Detail)
	case errors.As(err, &conflict):
		return knowledge.Conflict(p.renumbered(conflict.Field), "%s", conflict.Detail)
	}
	return err
}

func (p *Prepared) renumbered(field string) string {
	inside, ok := strings.CutPrefix(field, "records[")
	if !ok {
		return field
	}
	number, after, _ := strings.Cut(inside, "]")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(p.index) {
		return field
	}
	return fmt.Sprintf("records[%d]%s", p.index[i], after)
}

// checkText checks what a caller brought for a collection with an embedder.
func checkText(r knowledge.Record, c knowledge.Collection) error {
	if len(r.Vector) > 0 {
		return knowledge.Invalid("vector", "is given, but collection %q is embedded by %q; need text alone", c.Name, c.Embedder.ID)
	}
	if err := r.CheckContent(); err != nil {
		return err
	}
	if strings.TrimSpace(r.Text) == "" {
		return knowledge.Invalid("text", "is empty or white space, which has no meaning to embed")
	}
	return nil
}

// maxRefusals bounds how often one write is embedded again without the text that
// the embedder refused.
const maxRefusals = 10

// embed gives the good records the vectors of their texts, known ones or new ones. A
// text that its embedder refuses is a fault of its record.
func (w *Writer) embed(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection, p *Prepared, known map[string][]float32) error {
	embedder, err := w.Embedders.For(ctx, tenant, c)
	if err != nil {
		return err
	}
	p.write.Records = slices.Clone(p.write.Records)
	for refusals := 0; ; refusals++ {
		var texts []string
		var at []int
		for i, r := range p.write.Records {
			if p.results[i].Err != nil {
				continue
			}
			if v, ok := known[r.Text]; ok {
				p.write.Records[i].Vector = v
				continue
			}
			texts, at = append(texts, r.Text), append(at, i)
		}
		if len(texts) == 0 {
			return nil
		}
		vectors, err := embedder.Embed(ctx, knowledge.EmbedDocument, texts)
		var invalid *knowledge.InvalidError
		switch {
		case errors.As(err, &invalid):
			i, err := textError(invalid, at)
			if i < 0 || p.write.OnError != knowledge.Skip || refusals == maxRefusals {
				return err
			}
			p.results[i].Err = err
			continue
		case err != nil:
			return fmt.Errorf("embed records: %w", err)
		case len(vectors) != len(texts):
			return fmt.Errorf("embed records: embedder %q gave %d vectors for %d texts", c.Embedder.ID, len(vectors), len(texts))
		}
		for i, v := range vectors {
			p.write.Records[at[i]].Vector = v
		}
		p.embedded = len(vectors)
		return nil
	}
}

// textError turns an embedder's "texts[i]" into the caller's "records[j].text",
// and returns j; -1 when the error names no text.
func textError(e *knowledge.InvalidError, at []int) (int, error) {
	var i int
	if _, err := fmt.Sscanf(e.Field, "texts[%d]", &i); err != nil || i < 0 || i >= len(at) {
		return -1, e
	}
	return at[i], knowledge.Invalid(fmt.Sprintf("records[%d].text", at[i]), "%s", e.Detail)
}
