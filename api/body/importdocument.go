package body

import (
	"encoding/base64"
	"strings"

	"github.com/tars-project/tars/knowledge"
)

// MaxDocumentPart is how many bytes of a document one line of an export has at most.
const MaxDocumentPart = 4 << 20

// ExportedDocument is a document in an export, without its content, which follows.
type ExportedDocument struct {
	knowledge.Document
	SourceBytes, TextBytes int64
}

// exportedDocument reads one.
func (d *decoder) exportedDocument(x *ExportedDocument) error {
	seen := map[string]bool{}
	err := d.object(func(name string) (err error) {
		seen[name] = true
		switch name {
		case "id":
			x.ID, err = parsed(d, knowledge.ParseDocumentID)
		case "title":
			x.Title, err = d.text(0, knowledge.MaxTitle)
		case "media_type":
			x.MediaType, err = d.text(1, 200)
		case "chunker":
			x.Chunker, err = d.text(1, 200)
		case "metadata":
			x.Metadata, err = d.metadata()
		case "passages":
			x.Passages, err = count(d, 1, knowledge.MaxPassages)
		case "expires_at":
			x.Expires, err = d.moment()
		case "source_bytes":
			x.SourceBytes, err = d.integer(0, knowledge.MaxSource)
		case "text_bytes":
			x.TextBytes, err = d.integer(0, knowledge.MaxDocumentText)
		case "version":
			x.Version, err = d.integer(1, maxVersion)
		case "created_at":
			x.Created, err = d.moment()
		case "updated_at":
			x.Updated, err = d.moment()
		default:
			err = unknown()
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range []string{"id", "media_type", "chunker", "passages", "source_bytes", "text_bytes"} {
		if !seen[name] {
			return missing(name)
		}
	}
	return nil
}

// part reads a part of a document's content, in base64.
func (d *decoder) part() ([]byte, error) {
	text, err := d.text(4, base64.StdEncoding.EncodedLen(MaxDocumentPart))
	if err != nil {
		return nil, err
	}
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return nil, knowledge.Invalid("", "is not base64 with padding and without line breaks")
	}
	return data, nil
}
