package body

import "github.com/tars-project/tars/knowledge"

// CollectionDefinition is the body of putCollection.
type CollectionDefinition struct {
	Embedder  string // empty when left out
	Dimension int    // 0 when left out
	Metric    knowledge.Metric
	Index     knowledge.Index
}

func (b *CollectionDefinition) decode(d *decoder) error {
	return d.object(func(name string) (err error) {
		switch name {
		case "embedder":
			b.Embedder, err = d.text(1, 63)
		case "dimension":
			b.Dimension, err = count(d, 1, knowledge.MaxDimension)
		case "metric":
			b.Metric, err = word(d, knowledge.Cosine, knowledge.L2, knowledge.IP)
		case "index":
			err = d.index(&b.Index)
		default:
			err = unknown()
		}
		return err
	})
}

func (d *decoder) index(x *knowledge.Index) error {
	return d.object(func(name string) (err error) {
		switch name {
		case "kind":
			x.Kind, err = word(d, knowledge.IndexNone, knowledge.IndexHNSW)
		case "m":
			x.M, err = count(d, 2, 100)
		case "ef_construction":
			x.EfConstruction, err = count(d, 4, 1000)
		default:
			err = unknown()
		}
		return err
	})
}

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
