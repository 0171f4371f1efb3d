package body

import (
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

func count(d *decoder, minimum, maximum int64) (int, error) {
	n, err := d.integer(minimum, maximum)
	return int(n), err
}

// RecordBatch is the body of putRecords.
type RecordBatch struct{ knowledge.Write }

func (b *RecordBatch) decode(d *decoder) error {
	given := false
	err := d.object(func(name string) (err error) {
		switch name {
		case "mode":
			b.Mode, err = word(d, knowledge.Upsert, knowledge.InsertOnly, knowledge.UpdateOnly)
		case "on_error":
			b.OnError, err = word(d, knowledge.Fail, knowledge.Skip)
		case "records":
			given = true
			err = d.array(1, knowledge.MaxBatch, func(i int) error {
				r, err := d.record()
				b.Records = append(b.Records, r.Record)
				if r.ifVersion != nil {
					if b.IfVersion == nil {
						b.IfVersion = map[int]int64{}
					}
					b.IfVersion[i] = *r.ifVersion
				}
				return err
			})
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && !given {
		err = missing("records")
	}
	return err
}

// givenRecord is a record as callers send it.
type givenRecord struct {
	knowledge.Record
	hasID     bool
	vector    string // name of the member that gave it
	ifVersion *int64
}

func (d *decoder) record() (r givenRecord, err error) {
	err = d.object(func(name string) error {
		if known, err := d.recordMember(name, &r); known || err != nil {
			return err
		}
		if name != "if_version" {
			return unknown()
		}
		version, err := d.integer(0, maxVersion)
		r.ifVersion = &version
		return err
	})
	if err == nil && !r.hasID {
		err = missing("id")
	}
	return r, err
}

// maxVersion is the largest version that JSON can carry everywhere.
const maxVersion = 1<<53 - 1

// recordMember reads the value of a member if a record has it.
func (d *decoder) recordMember(name string, r *givenRecord) (known bool, err error) {
	switch name {
	case "id":
		r.hasID = true
		r.ID, err = d.recordID()
	case "text":
		r.Text, err = d.text(0, knowledge.MaxText)
	case "vector", "vector_f32", "vector_f16":
		if r.vector != "" {
			return true, knowledge.Invalid("", "is given beside %s; need one of them", r.vector)
		}
		r.vector = name
		switch name {
		case "vector":
			r.Vector, err = d.vector()
		case "vector_f32":
			r.Vector, err = d.packed(4)
		default:
			r.Vector, err = d.packed(2)
		}
	case "metadata":
		r.Metadata, err = d.metadata()
	case "expires_at":
		r.Expires, err = d.moment()
	default:
		return false, nil
	}
	return true, err
}

func (d *decoder) recordID() (knowledge.RecordID, error) {
	s, err := d.text(1, knowledge.MaxRecordID)
	if err != nil {
		return "", err
	}
	return knowledge.ParseRecordID(s)
}

// SearchRequest is the body of searchRecords. Its collection is not part of it.
type SearchRequest query.SearchText

func (b *SearchRequest) decode(d *decoder) error {
	err := d.object(func(name string) (err error) {
		switch name {
		case "text":
			b.Text, err = d.text(1, query.MaxQueryText)
		case "vector":
			b.Vector, err = d.vector()
		case "limit":
			b.Limit, err = count(d, 1, knowledge.MaxLimit)
		case "filter":
			b.Filter, err = d.filter()
		case "exact":
			b.Exact, err = d.boolean()
		case "ef":
			b.Ef, err = count(d, 1, knowledge.MaxEf)
		case "max_scan":
			b.MaxScan, err = count(d, 1, knowledge.MaxScan)
		case "explain":
			b.Explain, err = d.boolean()
		default:
			err = unknown()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case b.Text == "" && len(b.Vector) == 0:
		return knowledge.Invalid("text", "and vector are both missing; need one of them")
	case b.Text != "" && len(b.Vector) > 0:
		return knowledge.Invalid("text", "and vector are both given; need one of them")
	}
	return nil
}
