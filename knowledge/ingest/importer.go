package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// Line is one line of an import, and how far the body has come with it.
type Line struct {
	Record     *knowledge.Record
	Document   *DocumentLine          // whose content follows in parts
	Source     []byte                 // a part of the last document's source
	Text       []byte                 // a part of its text
	Collection *knowledge.Collection  // of a whole tenant: a definition, whose records follow
	Alias      *knowledge.AliasAction // of a whole tenant: one that is set
	View       *knowledge.View        // of a whole tenant
	Last       bool                   // the last line, which says in Records how many records there were
	Records    int64
	Err        error // an [knowledge.InvalidError]: the line is bad, and has nothing else

	Number, Bytes int64    // of the line, the first being 1; of the body up to its end
	Digest        [32]byte // SHA-256 of these bytes
}

// Lines gives one line of a body after the other; [io.EOF] after the last. Empty
// lines are passed over. Any other error means that the body broke off.
type Lines interface{ Next() (Line, error) }

// importStore is what an Importer needs of a [knowledge.Store].
type importStore interface {
	Atomically(context.Context, knowledge.TenantID, func(knowledge.Session) error) error
	PutImport(context.Context, knowledge.TenantID, knowledge.Import) error
}

// Importer writes the lines of a body piece by piece. Set every field before the
// first use; safe for concurrent use.
type Importer struct {
	Store  importStore
	Writer *Writer
}

// Bounds of a piece, which is held in memory and written in one transaction.
const (
	maxPieceRecords = 1000
	maxPieceBytes   = 8 << 20
)

// Import goes on with x, an import that runs, over the lines after its
// checkpoint, and returns it as it is at the end. Each piece is written in one
// transaction with its checkpoint, so that none is written twice, and one that is
// not acknowledged leaves nothing.
//
// With [knowledge.Fail] a bad line ends the import: the error is an
// [knowledge.InvalidError] or a [knowledge.ConflictError] that names it, and the
// pieces before it are written. When the body breaks off, what was whole of it is
// written, and the error is that of lines. The state is then failed or
// interrupted, which is stored even when ctx has ended, if the store can be had.
func (m *Importer) Import(ctx context.Context, tenant knowledge.TenantID, x knowledge.Import, lines Lines) (knowledge.Import, error) {
	r := &importRun{Importer: m, tenant: tenant, x: x, seen: map[knowledge.RecordID]bool{}}
	r.document.refused = x.Lines > 0 // no checkpoint is within a document but one that was refused
	err := r.all(ctx, lines)
	switch {
	case err == nil:
		r.x.State = knowledge.ImportFinished
	case errors.Is(err, knowledge.ErrInvalid) && !r.brokeOff, errors.Is(err, knowledge.ErrConflict):
		r.x.State = knowledge.ImportFailed
	default:
		r.x.State = knowledge.ImportInterrupted
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if noted := m.Store.PutImport(ctx, tenant, r.x); noted != nil {
		err = errors.Join(err, noted)
	}
	return r.x, err
}

// importRun is an import under way.
type importRun struct {
	*Importer
	tenant   knowledge.TenantID
	x        knowledge.Import // its checkpoint
	brokeOff bool

	piece  []Line // good ones with records, and no id twice
	faults []knowledge.LineFault
	bad    int64
	bytes  int
	seen   map[knowledge.RecordID]bool
	last   *Line // that was read
	ended  bool  // the last line of an export was there

	document importedDocument // whose parts are being read
}

// all takes line after line.
func (r *importRun) all(ctx context.Context, lines Lines) error {
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.brokeOff = true
			return errors.Join(err, r.flush(ctx))
		}
		if taken, err := r.takeDocument(ctx, line); taken || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		if err := r.take(ctx, line); err != nil {
			return err
		}
	}
	if err := errors.Join(r.endDocument(ctx), r.flush(ctx)); err != nil {
		return err
	}
	if r.x.Collection == "" && !r.ended {
		r.brokeOff = true
		return knowledge.Invalid("", "the body ends without the last line of an export: it was cut")
	}
	return nil
}

// take adds a line to the piece, and writes the piece when that must come first or
// is full.
func (r *importRun) take(ctx context.Context, line Line) error {
	if r.ended {
		return r.refuse(ctx, line, knowledge.Invalid("", "comes after the last line of an export"))
	}
	switch {
	case line.Err != nil:
		return r.refuse(ctx, line, line.Err)
	case line.Last:
		if had := r.x.Written + r.x.Failed + int64(len(r.piece)) + r.bad; line.Records != had {
			return r.refuse(ctx, line, knowledge.Invalid("count", "is %d, but %d records and documents came before: some are missing", line.Records, had))
		}
		r.ended, r.last = true, &line
		return nil
	case line.Collection != nil || line.Alias != nil || line.View != nil:
		return r.define(ctx, line)
	case line.Record == nil: // the first line of an export
		r.last = &line
		return nil
	case r.target() == "":
		return r.refuse(ctx, line, knowledge.Invalid("", "is a record before any collection"))
	}
	if r.seen[line.Record.ID] || len(r.piece) == maxPieceRecords || r.bytes > maxPieceBytes {
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	r.seen[line.Record.ID] = true
	r.piece = append(r.piece, line)
	r.bytes += len(line.Record.Text) + 4*len(line.Record.Vector)
	r.last = &line
	return nil
}

// refuse counts a bad line, or ends the import with it.
func (r *importRun) refuse(ctx context.Context, line Line, err error) error {
	if r.x.OnError != knowledge.Skip {
		if err := r.flush(ctx); err != nil {
			return err
		}
		return atLine(line.Number, err)
	}
	r.note(line.Number, err)
	r.last = &line
	if r.bad >= maxPieceRecords {
		return r.flush(ctx)
	}
	return nil
}

// note counts a bad line and describes it if it is one of the first.
func (r *importRun) note(number int64, err error) {
	r.bad++
	if len(r.x.Faults)+len(r.faults) >= knowledge.MaxLineFaults {
		return
	}
	f := knowledge.LineFault{Line: number, Code: "invalid"}
	var invalid *knowledge.InvalidError
	var conflict *knowledge.ConflictError
	switch {
	case errors.As(err, &conflict):
		f.Code, f.Field, f.Detail = "conflict", conflict.Field, conflict.Detail
	case errors.As(err, &invalid):
		f.Field, f.Detail = invalid.Field, invalid.Detail
	}
	r.faults = append(r.faults, f)
}

// atLine puts the number of the line before what an error says.
func atLine(number int64, err error) error {
	at := "line " + strconv.FormatInt(number, 10)
	var conflict *knowledge.ConflictError
	if errors.As(err, &conflict) {
		return knowledge.Conflict(strings.TrimSuffix(at+"."+conflict.Field, "."), "%s", conflict.Detail)
	}
	return knowledge.At(at, err)
}

// target is the collection that records go to.
func (r *importRun) target() knowledge.CollectionName {
	if r.x.Collection != "" {
		return r.x.Collection
	}
	return r.x.Into
}

// checkpoint is the import once the piece is written.
func (r *importRun) checkpoint(written int64) knowledge.Import {
	x := r.x
	x.Written, x.Failed = x.Written+written, x.Failed+r.bad
	x.Faults = append(x.Faults[:len(x.Faults):len(x.Faults)], r.faults...)
	if r.last != nil {
		x.Lines, x.Bytes, x.Digest = r.last.Number, r.last.Bytes, r.last.Digest
	}
	return x
}

// settle makes the checkpoint the present, and begins a new piece.
func (r *importRun) settle(x knowledge.Import) {
	r.x, r.piece, r.faults, r.bad, r.bytes, r.last = x, r.piece[:0], nil, 0, 0, nil
	clear(r.seen)
}

// flush writes the piece with its checkpoint, if there is anything new.
func (r *importRun) flush(ctx context.Context) error {
	if r.last == nil {
		return nil
	}
	numbers := make([]int64, len(r.piece))
	w := knowledge.Write{Mode: r.x.Mode, OnError: r.x.OnError, Records: make([]knowledge.Record, len(r.piece))}
	for i, line := range r.piece {
		numbers[i], w.Records[i] = line.Number, *line.Record
	}
	var prepared Prepared
	if len(w.Records) > 0 {
		var err error
		if prepared, err = r.Writer.Prepare(ctx, r.tenant, r.target(), w); err != nil {
			return lineOf(numbers, err)
		}
	}
	faults, bad := len(r.faults), r.bad
	var x knowledge.Import
	err := r.Store.Atomically(ctx, r.tenant, func(session knowledge.Session) error {
		r.faults, r.bad = r.faults[:faults], bad
		written := int64(0)
		if len(w.Records) > 0 {
			results, err := prepared.Put(ctx, session, r.tenant, r.target())
			if err != nil {
				return lineOf(numbers, err)
			}
			for i, result := range results {
				if result.Err == nil {
					written++
				} else {
					r.note(numbers[i], strip(result.Err))
				}
			}
		}
		x = r.checkpoint(written)
		return session.PutImport(ctx, r.tenant, x)
	})
	if err != nil {
		return err
	}
	r.settle(x)
	return nil
}

// define makes what a line defines, with the checkpoint after it.
func (r *importRun) define(ctx context.Context, line Line) error {
	if r.x.Collection != "" {
		return r.refuse(ctx, line, knowledge.Invalid("", "is a definition, which belongs to the import of a whole tenant"))
	}
	if err := r.flush(ctx); err != nil {
		return err
	}
	r.last = &line
	var x knowledge.Import
	err := r.Store.Atomically(ctx, r.tenant, func(session knowledge.Session) error {
		if err := r.make(ctx, session, line); err != nil {
			return atLine(line.Number, err)
		}
		x = r.checkpoint(0)
		if line.Collection != nil {
			x.Into = line.Collection.Name
		}
		return session.PutImport(ctx, r.tenant, x)
	})
	if err != nil {
		return err
	}
	r.settle(x)
	return nil
}

// make makes what a line defines, and refuses a name that is taken: an import adds,
// and changes nothing that is there.
func (r *importRun) make(ctx context.Context, session knowledge.Session, line Line) error {
	var err error
	made, field := false, "collection.name"
	switch {
	case line.Collection != nil:
		_, made, err = session.PutCollection(ctx, r.tenant, *line.Collection)
	case line.View != nil:
		field = "view.name"
		_, made, err = session.PutView(ctx, r.tenant, *line.View)
	default:
		field = "alias.name"
		if _, err = session.Alias(ctx, r.tenant, line.Alias.Alias); errors.Is(err, knowledge.ErrNotFound) {
			_, err = session.ChangeAliases(ctx, r.tenant, []knowledge.AliasAction{*line.Alias})
			made = err == nil
		}
	}
	if errors.Is(err, knowledge.ErrConflict) || err == nil && !made {
		return knowledge.Conflict(field, "is a name that is taken already")
	}
	return err
}

// lineOf turns an error about records[i] into one about the record's line.
func lineOf(numbers []int64, err error) error {
	field := ""
	var invalid *knowledge.InvalidError
	var conflict *knowledge.ConflictError
	switch {
	case errors.As(err, &conflict):
		field = conflict.Field
	case errors.As(err, &invalid):
		field = invalid.Field
	default:
		return err
	}
	var i int
	if _, scanned := fmt.Sscanf(field, "records[%d]", &i); scanned != nil || i < 0 || i >= len(numbers) {
		return err
	}
	return atLine(numbers[i], strip(err))
}

// strip removes records[i] from the field of an error.
func strip(err error) error {
	cut := func(field string) string {
		_, after, found := strings.Cut(field, "]")
		if !found {
			return field
		}
		return strings.TrimPrefix(after, ".")
	}
	var invalid *knowledge.InvalidError
	var conflict *knowledge.ConflictError
	switch {
	case errors.As(err, &conflict):
		return knowledge.Conflict(cut(conflict.Field), "%s", conflict.Detail)
	case errors.As(err, &invalid):
		return knowledge.Invalid(cut(invalid.Field), "%s", invalid.Detail)
	}
	return err
}
