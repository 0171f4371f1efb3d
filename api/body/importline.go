package body

import "github.com/tars-project/tars/knowledge"

// ImportLine is one line of an import: a record, a document or a part of one, or in
// that of a whole tenant its first line, a definition, an alias, a view, or the last
// line.
type ImportLine struct {
	Record     *knowledge.Record
	Document   *ExportedDocument
	Source     []byte // the next part of the last document's
	Text       []byte // likewise
	Collection *knowledge.Collection
	Alias      *knowledge.AliasAction
	View       *knowledge.View
	Format     int64 // of the first line: the version of the format; else 0
	End        bool
	Count      int64 // of the last line: how many records there were
}

func (b *ImportLine) decode(d *decoder) error {
	var r givenRecord
	members, counted := 0, false
	err := d.object(func(name string) error {
		members++
		known, err := d.recordMember(name, &r)
		if known || err != nil {
			b.Record = &r.Record
			return err
		}
		known, err = d.keptMember(name, &r.Record)
		if known || err != nil {
			b.Record = &r.Record
			return err
		}
		switch name {
		case "document":
			b.Document = new(ExportedDocument)
			return d.exportedDocument(b.Document)
		case "document_source":
			b.Source, err = d.part()
		case "document_text":
			b.Text, err = d.part()
		case "collection":
			b.Collection = new(knowledge.Collection)
			return d.exported(b.Collection)
		case "alias":
			b.Alias = new(knowledge.AliasAction)
			return d.exportedAlias(b.Alias)
		case "view":
			b.View = new(knowledge.View)
			return d.exportedView(b.View)
		case "tars_export":
			b.Format, err = d.integer(1, 1)
		case "end":
			if b.End, err = d.boolean(); err == nil && !b.End {
				err = knowledge.Invalid("", "is false; need true")
			}
		case "count":
			counted = true
			b.Count, err = d.integer(0, maxVersion)
		default:
			err = unknown()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case b.Record != nil && (b.Document != nil || b.Source != nil || b.Text != nil),
		b.Record != nil && (b.Collection != nil || b.Alias != nil || b.View != nil || b.Format != 0 || b.End || counted),
		b.Record == nil && b.End != counted, b.Record == nil && !b.End && members != 1:
		return knowledge.Invalid("", "mixes members of a record, a document, a collection, the first and the last line, or is none of these")
	case b.Record != nil && !r.hasID:
		return missing("id")
	}
	return nil
}

// keptMember reads a member that exports add to records.
func (d *decoder) keptMember(name string, r *knowledge.Record) (known bool, err error) {
	switch name {
	case "version":
		r.Version, err = d.integer(1, maxVersion)
	case "created_at":
		r.Created, err = d.moment()
	case "updated_at":
		r.Updated, err = d.moment()
	default:
		return false, nil
	}
	return true, err
}

// exported reads a definition as exports have it: all of it.
func (d *decoder) exported(c *knowledge.Collection) error {
	err := d.object(func(name string) (err error) {
		switch name {
		case "name":
			c.Name, err = parsed(d, knowledge.ParseCollectionName)
		case "embedder":
			err = d.pinned(&c.Embedder)
		case "dimension":
			c.Embedder.Dimension, err = count(d, 1, knowledge.MaxDimension)
		default:
			err = d.setting(name, c)
		}
		return err
	})
	if err == nil && c.Name == "" {
		err = missing("name")
	}
	if err == nil {
		*c, err = c.Validate()
	}
	return err
}

// exportedAlias reads an alias as exports have it.
func (d *decoder) exportedAlias(a *knowledge.AliasAction) error {
	err := d.object(func(name string) (err error) {
		switch name {
		case "name":
			a.Alias, err = parsed(d, knowledge.ParseCollectionName)
		case "collection":
			a.Collection, err = parsed(d, knowledge.ParseCollectionName)
		default:
			err = unknown()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case a.Alias == "":
		return missing("name")
	case a.Collection == "":
		return missing("collection")
	}
	return nil
}

// exportedView reads a view as exports have it: with its name.
func (d *decoder) exportedView(v *knowledge.View) error {
	err := d.view(v, func(name string) (bool, error) {
		if name != "name" {
			return false, nil
		}
		var err error
		v.Name, err = parsed(d, knowledge.ParseCollectionName)
		return true, err
	})
	if err == nil && v.Name == "" {
		err = missing("name")
	}
	return err
}

func (d *decoder) pinned(e *knowledge.EmbedderInfo) error {
	return d.object(func(name string) (err error) {
		switch name {
		case "id":
			e.ID, err = d.text(1, 63)
		case "version":
			e.Version, err = d.text(1, 256)
		default:
			err = unknown()
		}
		return err
	})
}
