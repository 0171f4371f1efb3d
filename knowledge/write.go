package knowledge

import (
	"fmt"
	"time"
)

// WriteMode says which records a write may touch.
type WriteMode string

// The modes. A record that has expired is not there.
const (
	Upsert     WriteMode = "upsert"      // new ones and those that are there, which are replaced
	InsertOnly WriteMode = "insert_only" // those whose ids are not there
	UpdateOnly WriteMode = "update_only" // those whose ids are there
	// Restore is InsertOnly that keeps each record as it is given: Version,
	// Created, Updated and Expires, instead of beginning anew.
	Restore WriteMode = "restore"
)

// OnError says what becomes of the good records of a write that has bad ones.
type OnError string

// What may be done.
const (
	Fail OnError = "fail" // nothing is written
	Skip OnError = "skip" // the good ones are written, the bad ones reported
)

// Write is one batch of records.
type Write struct {
	Records []Record  // 1 to [MaxBatch], no id twice
	Mode    WriteMode // "" means upsert
	OnError OnError   // "" means fail
	// IfVersion has, by its index, the version that a record must have now
	// to be written; 0: it must not be there. Others may have any.
	IfVersion map[int]int64
	// Embedder made the vectors; nil: they are from elsewhere. A collection that
	// is of another one, because an alias moved since it was asked for, takes
	// none of them: see [Write.CheckEmbedder].
	Embedder *EmbedderInfo
}

// CheckEmbedder returns an [UnavailableError] when the vectors are of another space
// than those of c: the same request succeeds when they are made anew.
func (w Write) CheckEmbedder(c Collection) error {
	if w.Embedder == nil || *w.Embedder == c.Embedder {
		return nil
	}
	return Unavailable("the name stands for a collection of another embedder since a moment ago")
}

// WriteResult is what became of one record of a write.
type WriteResult struct {
	ID      RecordID
	Version int64 // 1 when first written, one more for each write; 0 if it was not written
	// Err says why it was not: an [InvalidError] or a [ConflictError], whose
	// fields begin with records[i]. Set with [Skip] alone.
	Err error
}

// Conditional reports that what is written depends on what is there.
func (w Write) Conditional() bool {
	return len(w.IfVersion) > 0 || w.Mode == InsertOnly || w.Mode == UpdateOnly || w.Mode == Restore
}

// Check looks at each record with check, and at what the batch must be beside:
// its size, its options, no id twice. With [Fail] the first fault is returned, an
// [InvalidError] that names records[i]. With [Skip] faults of single records are
// in the results, which have one entry for each record, with its id, in order.
func (w Write) Check(check func(Record) error) ([]WriteResult, error) {
	if len(w.Records) < 1 || len(w.Records) > MaxBatch {
		return nil, Invalid("records", "has %d records; need 1 to %d", len(w.Records), MaxBatch)
	}
	switch w.Mode {
	case "", Upsert, InsertOnly, UpdateOnly, Restore:
	default:
		return nil, Invalid("mode", "is not a mode; need one of upsert, insert_only, update_only")
	}
	if w.OnError != "" && w.OnError != Fail && w.OnError != Skip {
		return nil, Invalid("on_error", "is not known; need fail or skip")
	}
	for i, version := range w.IfVersion {
		if i < 0 || i >= len(w.Records) || version < 0 {
			return nil, Invalid(fmt.Sprintf("records[%d].if_version", i), "is %d; need 0 or more", version)
		}
	}
	results := make([]WriteResult, len(w.Records))
	first := make(map[RecordID]int, len(w.Records))
	for i, r := range w.Records {
		results[i].ID = r.ID
		err := check(r)
		if err == nil && w.Mode == Restore {
			err = r.checkKept()
		}
		if j, taken := first[r.ID]; taken && err == nil {
			err = Invalid("id", "is that of records[%d] as well; need each id once", j)
		} else if !taken {
			first[r.ID] = i
		}
		if err == nil {
			continue
		}
		if err = At("records["+itoa(i)+"]", err); w.OnError != Skip {
			return nil, err
		}
		results[i].Err = err
	}
	return results, nil
}

// checkKept checks what [Restore] takes over from a record.
func (r Record) checkKept() error {
	earliest, latest := time.Unix(0, 0), time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	sane := func(t time.Time) bool { return !t.Before(earliest) && t.Before(latest) }
	switch {
	case r.Version < 1:
		return Invalid("version", "is %d; need 1 or more", r.Version)
	case !sane(r.Created):
		return Invalid("created_at", "is missing or not a time from 1970 to 9999")
	case !sane(r.Updated):
		return Invalid("updated_at", "is missing or not a time from 1970 to 9999")
	}
	return nil
}

// Admit says whether records[i] may be written where its id has the version
// present now, 0 if it is not there. It returns nil or a [ConflictError].
func (w Write) Admit(i int, present int64) error {
	at := "records[" + itoa(i) + "]"
	wanted, given := w.IfVersion[i]
	switch {
	case present != 0 && (w.Mode == InsertOnly || w.Mode == Restore):
		return Conflict(at+".id", "is there already, at version %d; this mode only inserts", present)
	case present == 0 && w.Mode == UpdateOnly:
		return Conflict(at+".id", "is not there; this mode only updates")
	case given && wanted != present && present == 0:
		return Conflict(at+".if_version", "is %d, but the record is not there", wanted)
	case given && wanted != present && wanted == 0:
		return Conflict(at+".if_version", "is 0, but the record is there at version %d", present)
	case given && wanted != present:
		return Conflict(at+".if_version", "is %d, but the record is at version %d", wanted, present)
	}
	return nil
}
