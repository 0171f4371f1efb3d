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
type RecordBatch struct {
	Records []knowledge.Record // 1 to [knowledge.MaxBatch]
}

func (b *RecordBatch) decode(d *decoder) error {
	given := false
	err := d.object(func(name string) error {
		if name != "records" {
			return unknown()
		}
		given = true
		return d.array(1, knowledge.MaxBatch, func(int) error {
			r, err := d.record()
			b.Records = append(b.Records, r)
			return err
		})
	})
	if err == nil && !given {
		err = missing("records")
	}
	return err
}

func (d *decoder) record() (r knowledge.Record, err error) {
	given := false
	err = d.object(func(name string) (err error) {
		switch name {
		case "id":
			given = true
			r.ID, err = d.recordID()
		case "text":
			r.Text, err = d.text(0, knowledge.MaxText)
		case "vector":
			r.Vector, err = d.vector()
		case "metadata":
			r.Metadata, err = d.metadata()
		case "expires_at":
			r.Expires, err = d.moment()
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && !given {
		err = missing("id")
	}
	return r, err
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
