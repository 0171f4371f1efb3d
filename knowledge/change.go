package knowledge

import (
	"fmt"
	"slices"
)

// FieldState says how far a declared field is.
type FieldState string

// The states.
const (
	FieldReady   FieldState = ""        // values are kept beside the metadata, and filters use them
	FieldFilling FieldState = "filling" // declared later: a job goes through the records that were there; filters look at the metadata until it is done
)

// CheckChange returns a definition that takes the place of old, valid and with
// defaults filled in, or an error: an [InvalidError] for what no collection can be,
// a [ConflictError] for what this one can no longer become. empty says that it has
// no records. Fields that are new are [FieldFilling] unless it is empty.
func CheckChange(old, changed Collection, empty bool) (Collection, error) {
	changed, err := changed.Validate()
	if err != nil {
		return Collection{}, err
	}
	for _, fixed := range []struct {
		name string
		same bool
	}{
		{"dimension", old.Dimension() == changed.Dimension()},
		{"metric", old.Metric == changed.Metric},
		{"embedder", old.Embedder == changed.Embedder},
		{"precision", old.Precision == changed.Precision},
	} {
		if !fixed.same {
			return Collection{}, Conflict(fixed.name, "of a collection never changes; make a new collection, write the records to it, and move an alias to it")
		}
	}
	if old.Language != changed.Language && !empty {
		return Collection{}, Conflict("language", "can be changed only while the collection has no records; make a new collection and move an alias to it")
	}
	changed.Fields = slices.Clone(changed.Fields)
	for i, f := range changed.Fields {
		changed.Fields[i].State = FieldReady
		at := slices.IndexFunc(old.Fields, func(o Field) bool { return o.Name == f.Name && o.Type == f.Type })
		switch {
		case at >= 0:
			changed.Fields[i].State = old.Fields[at].State
		case !empty:
			changed.Fields[i].State = FieldFilling
		}
	}
	return changed, nil
}

// Filling are the fields that a job has still to fill.
func (c Collection) Filling() []Field {
	var fields []Field
	for _, f := range c.Fields {
		if f.State == FieldFilling {
			fields = append(fields, f)
		}
	}
	return fields
}

// SameDefinition reports that both define the same collection, whatever the state of
// their fields and what else the store sets.
func (c Collection) SameDefinition(d Collection) bool {
	same := func(a, b Field) bool { return a.Name == b.Name && a.Type == b.Type }
	return c.Metric == d.Metric && c.Embedder == d.Embedder && c.Index == d.Index && c.Precision == d.Precision &&
		slices.EqualFunc(c.Fields, d.Fields, same) && c.Language == d.Language && c.TTL == d.TTL &&
		c.RecallTarget == d.RecallTarget && c.Defaults.Equal(d.Defaults) && c.Cache == d.Cache
}

// Notes say in sentences what follows from the definition that a caller may not
// expect. There may be none.
func (c Collection) Notes() []string {
	notes := []string{}
	if c.Index.Kind == IndexNone && c.Dimension() > MaxIndexedDimension {
		notes = append(notes, fmt.Sprintf("%d dimensions are more than the %d that an index holds: exact search only; with quantization binary there is an index for any dimension", c.Dimension(), MaxIndexedDimension))
	}
	if c.halfPrecision() {
		notes = append(notes, fmt.Sprintf("components are kept or indexed at half precision: those beyond ±%d are refused, and 3 digits are kept", maxHalf))
	}
	if c.Index.Quantization == Binary {
		notes = append(notes, "the index keeps the sign of each component alone; what it finds is compared again in full")
	}
	for _, f := range c.Filling() {
		notes = append(notes, fmt.Sprintf("the field %q is being filled; filters on it use the metadata meanwhile", f.Name))
	}
	return notes
}

// MaxNamedRecords is how many records a [FieldTypeError] names.
const MaxNamedRecords = 10

// FieldTypeError says which records have a value of another type in a field that was
// to be declared. The field has been undeclared again.
type FieldTypeError struct {
	Field   Field
	Records []RecordID // the first [MaxNamedRecords] of them, by id
}

func (e *FieldTypeError) Error() string {
	return fmt.Sprintf("field %q: records %q have a value that is not of type %s; the field is not declared", e.Field.Name, e.Records, e.Field.Type)
}

// Is reports that a FieldTypeError is of the kind [ErrConflict].
func (e *FieldTypeError) Is(target error) bool { return target == ErrConflict }
