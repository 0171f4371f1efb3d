package body

import (
	"time"

	"github.com/tars-project/tars/knowledge"
)

// RecordPatch is the body of patchRecord. The record's id is not part of it.
type RecordPatch struct{ knowledge.Patch }

func (b *RecordPatch) decode(d *decoder) error {
	err := d.object(func(name string) (err error) {
		switch name {
		case "metadata":
			b.Metadata, err = d.metadata()
		case "expires_at":
			b.SetExpires = true
			b.Expires, err = d.momentOrNull()
		case "if_version":
			b.IfVersion, err = d.integer(1, maxVersion)
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && b.Metadata == nil && !b.SetExpires {
		err = knowledge.Invalid("metadata", "and expires_at are both missing; need one of them")
	}
	return err
}

// momentOrNull reads a time, or null as the zero time.
func (d *decoder) momentOrNull() (time.Time, error) {
	if d.json.PeekKind() != 'n' {
		return d.moment()
	}
	_, err := d.json.ReadToken()
	return time.Time{}, d.fault(err)
}

// RecordDeletion is the body of deleteRecords.
type RecordDeletion struct{ knowledge.Selection }

func (b *RecordDeletion) decode(d *decoder) error {
	filtered := false
	err := d.object(func(name string) (err error) {
		switch name {
		case "ids":
			err = d.array(1, knowledge.MaxBatch, func(int) error {
				id, err := d.recordID()
				b.IDs = append(b.IDs, id)
				return err
			})
		case "filter":
			filtered = true
			b.Filter, err = d.filter()
		case "all":
			if b.All, err = d.boolean(); err == nil && !b.All {
				err = knowledge.Invalid("", "is false; need true, or leave it out")
			}
		default:
			err = unknown()
		}
		return err
	})
	given := 0
	for _, is := range []bool{b.IDs != nil, filtered, b.All} {
		if is {
			given++
		}
	}
	if err == nil && given != 1 {
		err = knowledge.Invalid("", "gives %d of ids, filter and all; need one of them", given)
	}
	return err
}

// RecordCount is the body of countRecords.
type RecordCount struct {
	Filter knowledge.Filter
	Exact  bool
}

func (b *RecordCount) decode(d *decoder) error {
	b.Exact = true
	return d.object(func(name string) (err error) {
		switch name {
		case "filter":
			b.Filter, err = d.filter()
		case "exact":
			b.Exact, err = d.boolean()
		default:
			err = unknown()
		}
		return err
	})
}

// RecordScroll is the body of scrollRecords.
type RecordScroll struct {
	knowledge.Scroll        // but After, which is in the cursor
	Cursor           string // empty when left out
}

func (b *RecordScroll) decode(d *decoder) error {
	b.Limit, b.Text, b.Metadata = 100, true, true
	return d.object(func(name string) (err error) {
		switch name {
		case "filter":
			b.Filter, err = d.filter()
		case "limit":
			b.Limit, err = count(d, 1, knowledge.MaxScroll)
		case "cursor":
			b.Cursor, err = d.text(1, 1024)
		case "include":
			b.Text, b.Metadata = false, false
			err = d.array(0, 3, func(int) error { return b.include(d) })
		default:
			err = unknown()
		}
		return err
	})
}

func (b *RecordScroll) include(d *decoder) error {
	what, err := word(d, "text", "vector", "metadata")
	if err != nil {
		return err
	}
	into := map[string]*bool{"text": &b.Text, "vector": &b.Vector, "metadata": &b.Metadata}[what]
	if *into {
		return knowledge.Invalid("", "is there twice")
	}
	*into = true
	return nil
}
