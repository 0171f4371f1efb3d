package body

import (
	"time"

	"github.com/tars-project/tars/knowledge"
)

// Metadata is the metadata of a document, which a parameter has as text.
type Metadata map[string]any

func (b *Metadata) decode(d *decoder) error {
	m, err := d.metadata()
	*b = m
	return err
}

// Moment checks a time that a parameter has, as those of bodies are.
func Moment(t time.Time) (time.Time, error) {
	if t.Year() < 1970 || t.Year() > 9999 {
		return t, knowledge.Invalid("", "is not a time from 1970 to 9999")
	}
	return t.UTC(), nil
}
