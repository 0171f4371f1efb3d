package knowledge

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DocumentID names a document within its collection; the caller chooses it, often a
// path. Made only by [ParseDocumentID].
type DocumentID string

// Bounds of a document.
const (
	MaxDocumentID    = 500      // bytes
	MaxSource        = 32 << 20 // bytes of a document as it is brought
	MaxDocumentText  = 64 << 20 // bytes of what was read of it, encoded
	MaxTitle         = 1000     // bytes
	MaxPassages      = MaxBatch // of one document: they are written as one batch
	MaxDocumentsPage = 1000     // documents of one page of a list
	maxDocumentWord  = 200      // bytes of a media type and of the name of a chunker
)

// ParseDocumentID checks s: 1 to [MaxDocumentID] bytes of UTF-8 without control
// characters. It returns an [InvalidError] without a field.
func ParseDocumentID(s string) (DocumentID, error) {
	id, err := ParseRecordID(s)
	if len(s) > MaxDocumentID {
		return "", Invalid("", "has %d bytes; at most %d are allowed", len(s), MaxDocumentID)
	}
	return DocumentID(id), err
}

// Passage is the id of the record that is the n-th passage of the document, from 0.
func (id DocumentID) Passage(n int) RecordID {
	return RecordID(string(id) + "#" + strconv.Itoa(n))
}

// PassageKeys are the metadata keys that the passages of a document have themselves,
// and which its own metadata therefore may not have.
func PassageKeys() []string {
	return []string{"document", "passage", "title", "headings", "start", "end", "offset", "page"}
}

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// String is the hash in hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Document is what is known of a document beside its content. What is found of it are
// its passages, ordinary records with the ids of [DocumentID.Passage].
type Document struct {
	ID        DocumentID
	Title     string // may be empty
	MediaType string // of the source
	Size      int64  // bytes of the source
	Hash      Hash   // of the source
	Chunker   string // how it was cut; another one cuts it anew
	Metadata  map[string]any
	Passages  int       // number of its passages, 1 to [MaxPassages]
	Expires   time.Time // zero: never; not found from then on

	Version int64     // 1 when first written, one more for each write; set by the store
	Created time.Time // set by the store
	Updated time.Time // set by the store
}

// Validate checks what can be known without the content. It returns an
// [InvalidError].
func (d Document) Validate() error {
	if _, err := ParseDocumentID(string(d.ID)); err != nil {
		return At("id", err)
	}
	for _, word := range []struct {
		field, text string
		most        int
	}{{"title", d.Title, MaxTitle}, {"media_type", d.MediaType, maxDocumentWord}, {"chunker", d.Chunker, maxDocumentWord}} {
		if len(word.text) > word.most {
			return Invalid(word.field, "has %d bytes; at most %d are allowed", len(word.text), word.most)
		}
		if err := CheckText(word.text); err != nil {
			return At(word.field, err)
		}
	}
	for _, key := range PassageKeys() {
		if _, taken := d.Metadata[key]; taken {
			return Invalid("metadata."+key, "is a key that passages have themselves; need another name")
		}
	}
	if d.Passages < 1 || d.Passages > MaxPassages {
		return Invalid("passages", "is %d; need 1 to %d", d.Passages, MaxPassages)
	}
	return At("metadata", CheckMetadata(d.Metadata))
}

// DocumentContent is a document as it was brought, and what was read of it.
type DocumentContent struct {
	Source []byte // at most [MaxSource] bytes
	Text   []byte // as knowledge/document encodes it, at most [MaxDocumentText] bytes; stores do not look into it
}

// DocumentWrite is the writing of one document.
type DocumentWrite struct {
	Document // Size and Hash are those of Source, whatever is given; Version and times count with [Restore] alone
	DocumentContent
	Mode      WriteMode // "" means upsert
	IfVersion int64     // that the document must have now; 0: any, also none
}

// Check returns the write with Size and Hash of its source, or an [InvalidError].
func (w DocumentWrite) Check() (DocumentWrite, error) {
	w.Size, w.Hash = int64(len(w.Source)), sha256.Sum256(w.Source)
	switch {
	case w.Size > MaxSource:
		return w, Invalid("source", "has %d bytes; at most %d are allowed", w.Size, MaxSource)
	case len(w.Text) > MaxDocumentText:
		return w, Invalid("text", "has %d bytes; at most %d are allowed", len(w.Text), MaxDocumentText)
	}
	switch w.Mode {
	case "", Upsert, InsertOnly, UpdateOnly:
	case Restore:
		if err := (Record{Version: w.Version, Created: w.Created, Updated: w.Updated}).checkKept(); err != nil {
			return w, err
		}
	default:
		return w, Invalid("mode", "is not a mode; need one of upsert, insert_only, update_only, restore")
	}
	return w, w.Validate()
}

// Admit says whether the write may be done where the document has the version
// present, 0 if it is not there. It returns nil, a [ConflictError], or an error
// wrapping [ErrPrecondition].
func (w DocumentWrite) Admit(present int64) error {
	switch {
	case present != 0 && (w.Mode == InsertOnly || w.Mode == Restore):
		return Conflict("id", "is that of a document that is there already, at version %d; this mode only inserts", present)
	case present == 0 && w.Mode == UpdateOnly:
		return Conflict("id", "is that of no document; this mode only updates")
	}
	return checkVersion(w.IfVersion, present)
}

// checkVersion returns an error wrapping [ErrPrecondition] unless the version is the
// wanted one; 0 wants any.
func checkVersion(wanted, present int64) error {
	if wanted == 0 || wanted == present {
		return nil
	}
	return &preconditionError{Conflict("If-Match", "is version %d, but the document is at version %d", wanted, present)}
}

// preconditionError is a conflict with a condition of the request.
type preconditionError struct{ *ConflictError }

// Is reports that a preconditionError is of the kind [ErrPrecondition].
func (e *preconditionError) Is(target error) bool { return target == ErrPrecondition }

// Unwrap gives the conflict, whose text is made for the client.
func (e *preconditionError) Unwrap() error { return e.ConflictError }

// Unchanged reports that writing d where old is would change nothing but the time.
func (d Document) Unchanged(old Document) bool {
	return d.Hash == old.Hash && d.Size == old.Size && d.MediaType == old.MediaType && d.Title == old.Title && d.Chunker == old.Chunker &&
		d.Expires.Equal(old.Expires) && equalValues(d.Metadata, old.Metadata)
}

// equalValues compares metadata; none is the same as an empty object.
func equalValues(a, b map[string]any) bool {
	if len(a) != len(b) {
		return false
	}
	for key, value := range a {
		other, there := b[key]
		if !there || !equalValue(value, other) {
			return false
		}
	}
	return true
}

func equalValue(a, b any) bool {
	switch v := a.(type) {
	case map[string]any:
		other, is := b.(map[string]any)
		return is && equalValues(v, other)
	case []any:
		other, is := b.([]any)
		return is && slices.EqualFunc(v, other, equalValue)
	}
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}

// DocumentList asks for a page of the documents of a collection, in order of their
// ids.
type DocumentList struct {
	After  DocumentID // the last one of the page before; empty: from the first
	Prefix string     // of ids; empty: all
	Limit  int        // 1 to [MaxDocumentsPage]
}

// Validate returns an [InvalidError] unless the list is well formed.
func (l DocumentList) Validate() error {
	if l.Limit < 1 || l.Limit > MaxDocumentsPage {
		return Invalid("limit", "is %d; need 1 to %d", l.Limit, MaxDocumentsPage)
	}
	if l.Prefix == "" {
		return nil
	}
	_, err := ParseDocumentID(l.Prefix)
	return At("prefix", err)
}

// Last is not before any id of a document that begins with the prefix, and before
// all later ones.
func (l DocumentList) Last() string {
	const most = "\U0010ffff"
	return l.Prefix + strings.Repeat(most, MaxDocumentID/len(most))
}
