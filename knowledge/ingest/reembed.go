package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tars-project/tars/knowledge"
)

// reembedStore is what a Reembedder needs of a [knowledge.Store].
type reembedStore interface {
	reembedSession
	aliases
	Atomically(context.Context, knowledge.TenantID, func(knowledge.Session) error) error
	Exclusively(context.Context, knowledge.TenantID, knowledge.CollectionName, func(knowledge.Session) error) error
}

// reembedSession is what it reads, inside and outside of a transaction.
type reembedSession interface {
	Collection(context.Context, knowledge.TenantID, knowledge.CollectionName) (knowledge.Collection, error)
	ScrollRecords(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.Scroll) (knowledge.Page, error)
	Document(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.DocumentID) (knowledge.Document, error)
	DocumentContent(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.DocumentID) (knowledge.Document, knowledge.DocumentContent, error)
	ListDocuments(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.DocumentList) ([]knowledge.Document, error)
}

// Reembedder carries collections over to other embedders: into another collection,
// which an alias then stands for. Set every field before the first use; safe for
// concurrent use.
type Reembedder struct {
	Store     reembedStore
	Embedders embedders
}

// Reembedding says what is carried where.
type Reembedding struct {
	From, To knowledge.CollectionName // by their own names; To is there already, and of the other embedder
	Alias    knowledge.CollectionName // that stands for From, and for To in the end; empty: none
}

// Bounds of a re-embedding.
const (
	reembedPage = 500 // records that are compared, and written, at once
	// restless is how many records may still differ for the last look to be taken:
	// then writers wait while these are embedded.
	restless = 200
	// maxPasses bounds how often all is compared.
	maxPasses = 20
)

// ReembedProgress is how far a re-embedding is.
type ReembedProgress struct {
	Pass        int   // from 1; those after the first carry what was written meanwhile
	Done, Total int64 // records of From that this pass has compared, and about how many there are
	Embedded    int64 // in all passes
}

// Reembed makes To have all records and documents of From, with their versions, times and
// metadata, and vectors of its own embedder, removes from To what From does not have,
// and moves the alias. Writers of From go on; what they do is carried over too,
// and they wait only while the last differences are. It may be ended at any moment and
// called again: what was done is not done anew. It returns an
// [knowledge.InvalidError] for a record without a text, and when the alias does not
// stand for From any more; else the errors of the store and of the embedder. progress
// may be nil.
func (r *Reembedder) Reembed(ctx context.Context, tenant knowledge.TenantID, x Reembedding, progress func(ReembedProgress)) error {
	if progress == nil {
		progress = func(ReembedProgress) {}
	}
	if done, err := x.moved(ctx, tenant, r.Store); done || err != nil {
		return err
	}
	to, err := r.Store.Collection(ctx, tenant, x.To)
	if err != nil {
		return fmt.Errorf("re-embed: %w", err)
	}
	embedder, err := r.Embedders.For(ctx, tenant, to)
	if err != nil {
		return fmt.Errorf("re-embed: %w", err)
	}
	p := pass{Reembedding: x, tenant: tenant, embedder: embedder, write: r.Store.Atomically, progress: progress}
	for range maxPasses {
		from, err := r.Store.Collection(ctx, tenant, x.From)
		if err != nil {
			return fmt.Errorf("re-embed: %w", err)
		}
		p.at.Pass, p.at.Done, p.at.Total, p.changed = p.at.Pass+1, 0, from.Records, 0
		if err := p.run(ctx, r.Store); err != nil {
			return fmt.Errorf("re-embed: %w", err)
		}
		if p.changed > restless {
			continue
		}
		err = r.Store.Exclusively(ctx, tenant, x.From, func(session knowledge.Session) error {
			last := p
			last.most, last.changed, last.at.Done = restless, 0, 0
			last.write = func(_ context.Context, _ knowledge.TenantID, do func(knowledge.Session) error) error {
				return do(session)
			}
			if err := last.run(ctx, session); err != nil {
				return err
			}
			return x.moveAlias(ctx, tenant, session)
		})
		if !errors.Is(err, errRestless) {
			return err
		}
	}
	return knowledge.Unavailable("records change faster than they can be carried over")
}

// errRestless says that too much differs for writers to wait for it.
var errRestless = errors.New("too many records have changed")

// moveAlias makes the alias stand for the new collection.
func (x Reembedding) moveAlias(ctx context.Context, tenant knowledge.TenantID, session knowledge.Session) error {
	if x.Alias == "" {
		return nil
	}
	if moved, err := x.moved(ctx, tenant, session); moved || err != nil {
		return err
	}
	_, err := session.ChangeAliases(ctx, tenant, []knowledge.AliasAction{{Alias: x.Alias, Collection: x.To}})
	return err
}

// aliases is what tells where an alias stands.
type aliases interface {
	Alias(context.Context, knowledge.TenantID, knowledge.CollectionName) (knowledge.Alias, error)
}

// moved reports that the alias stands for the new collection already: an attempt before
// got this far, and the new collection is written to by others. It returns an
// [knowledge.InvalidError] when the alias stands for neither.
func (x Reembedding) moved(ctx context.Context, tenant knowledge.TenantID, in aliases) (bool, error) {
	if x.Alias == "" {
		return false, nil
	}
	alias, err := in.Alias(ctx, tenant, x.Alias)
	switch {
	case errors.Is(err, knowledge.ErrNotFound), err == nil && alias.Collection != x.From && alias.Collection != x.To:
		return false, knowledge.Invalid("alias", "does not stand for %q any more", x.From)
	case err != nil:
		return false, fmt.Errorf("re-embed: %w", err)
	}
	return alias.Collection == x.To, nil
}

// errOvertaken says that another attempt has moved the alias: what this one would write
// now is older than what others have written since.
var errOvertaken = knowledge.Unavailable("another attempt has come to its end")

// transact writes to the new collection, in a transaction that looks at its end whether
// the alias has moved: what it wrote before was then older than the move.
func (p *pass) transact(ctx context.Context, do func(knowledge.Session) error) error {
	return p.write(ctx, p.tenant, func(session knowledge.Session) error {
		if err := do(session); err != nil {
			return err
		}
		moved, err := p.moved(ctx, p.tenant, session)
		if err == nil && moved {
			err = errOvertaken
		}
		return err
	})
}

// pass compares the two collections, in order of ids, and carries what differs.
type pass struct {
	Reembedding
	tenant   knowledge.TenantID
	embedder knowledge.Embedder
	write    func(context.Context, knowledge.TenantID, func(knowledge.Session) error) error
	most     int // records that may be embedded; 0: any number
	progress func(ReembedProgress)

	at      ReembedProgress
	changed int // records that differed
}

// run makes one pass over all records, a page of From at a time.
func (p *pass) run(ctx context.Context, session reembedSession) error {
	var after knowledge.RecordID
	for {
		page, err := session.ScrollRecords(ctx, p.tenant, p.From, knowledge.Scroll{After: after, Limit: reembedPage})
		if err != nil {
			return err
		}
		var until knowledge.RecordID // empty: to the end
		if page.More && len(page.Records) > 0 {
			until = page.Records[len(page.Records)-1].ID
		}
		have, err := p.between(ctx, session, after, until)
		if err != nil {
			return err
		}
		if err := p.carry(ctx, session, after, page.Records, have); err != nil {
			return err
		}
		p.at.Done += int64(len(page.Records))
		p.progress(p.at)
		if until == "" {
			return p.documents(ctx, session)
		}
		after = until
	}
}

// between returns the versions that To has of the ids after one and up to another.
func (p *pass) between(ctx context.Context, session reembedSession, after, until knowledge.RecordID) (map[knowledge.RecordID]int64, error) {
	have := map[knowledge.RecordID]int64{}
	for {
		page, err := session.ScrollRecords(ctx, p.tenant, p.To, knowledge.Scroll{After: after, Limit: knowledge.MaxScroll})
		if err != nil {
			return nil, err
		}
		for _, r := range page.Records {
			if until != "" && r.ID > until {
				return have, nil
			}
			have[r.ID], after = r.Version, r.ID
		}
		if !page.More || len(page.Records) == 0 {
			return have, nil
		}
	}
}

// carry makes To have a page of From's records, and none of the others that it has
// among their ids.
func (p *pass) carry(ctx context.Context, session reembedSession, after knowledge.RecordID, records []knowledge.Record, have map[knowledge.RecordID]int64) error {
	wanted := map[knowledge.RecordID]bool{} // those to be carried
	var stale []knowledge.RecordID          // those to be removed, and those to be replaced
	for _, r := range records {
		version, there := have[r.ID]
		delete(have, r.ID)
		if there && version == r.Version {
			continue
		}
		wanted[r.ID] = true
		if there {
			stale = append(stale, r.ID)
		}
	}
	for id := range have {
		stale = append(stale, id)
	}
	p.changed += len(wanted) + len(have)
	if p.most > 0 && p.changed > p.most {
		return errRestless
	}
	if len(wanted) == 0 {
		return p.replace(ctx, stale, nil)
	}
	for len(records) > 0 {
		// Pages with texts are bounded by bytes too: there may be several.
		page, err := session.ScrollRecords(ctx, p.tenant, p.From, knowledge.Scroll{After: after, Limit: reembedPage, Text: true, Metadata: true})
		if err != nil {
			return err
		}
		last := records[len(records)-1].ID
		whole := slices.DeleteFunc(page.Records, func(r knowledge.Record) bool { return r.ID > last })
		if len(whole) == 0 {
			break
		}
		after = whole[len(whole)-1].ID
		done := after == last || !page.More
		whole = slices.DeleteFunc(whole, func(r knowledge.Record) bool { return !wanted[r.ID] })
		if err := p.embed(ctx, whole); err != nil {
			return err
		}
		if err := p.replace(ctx, stale, whole); err != nil {
			return err
		}
		stale = nil
		if done {
			break
		}
	}
	return p.replace(ctx, stale, nil)
}

// embed gives records the vectors of their texts.
func (p *pass) embed(ctx context.Context, records []knowledge.Record) error {
	if len(records) == 0 {
		return nil
	}
	texts := make([]string, len(records))
	for i, r := range records {
		if texts[i] = r.Text; r.Text == "" {
			return knowledge.Invalid("records", "have one without a text, %q, which cannot be embedded", r.ID)
		}
	}
	vectors, err := p.embedder.Embed(ctx, knowledge.EmbedDocument, texts)
	var invalid *knowledge.InvalidError
	if errors.As(err, &invalid) {
		if i, err := textError(invalid, counting(len(records))); i >= 0 {
			return knowledge.Invalid("records", "have one that cannot be embedded, %q: %s", records[i].ID, err)
		}
	}
	if err != nil {
		return err
	}
	for i := range records {
		records[i].Vector = vectors[i]
	}
	p.at.Embedded += int64(len(records))
	return nil
}

// counting is 0 to n-1.
func counting(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// replace removes records of To and puts others as they are given, in one
// transaction.
func (p *pass) replace(ctx context.Context, stale []knowledge.RecordID, records []knowledge.Record) error {
	if len(stale) == 0 && len(records) == 0 {
		return nil
	}
	return p.transact(ctx, func(session knowledge.Session) error {
		for ids := range slices.Chunk(stale, knowledge.MaxBatch) {
			if _, err := session.DeleteRecords(ctx, p.tenant, p.To, knowledge.Selection{IDs: ids}, knowledge.MaxBatch); err != nil {
				return err
			}
		}
		if len(records) == 0 {
			return nil
		}
		_, err := session.PutRecords(ctx, p.tenant, p.To, knowledge.Write{Records: records, Mode: knowledge.Restore})
		return err
	})
}
