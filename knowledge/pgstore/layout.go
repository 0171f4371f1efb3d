package pgstore

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
)

// noMain is the number of main for a collection that has none.
const noMain = -1

// liveSQL holds for the rows r that make up a collection, as [definition.args]
// name it: those of its write place that no bulk move has left behind, and those
// of main. Every statement on records that is about the whole collection has it.
const liveSQL = `r.placement = ANY (@places::int[])
  AND r.tenant_id = @tenant
  AND r.collection_id = @collection
  AND (r.placement = @main::int OR r.epoch >= @live_epoch::int)
  AND (r.expires_at IS NULL OR r.expires_at > now())`

// The two halves of liveSQL, for statements that look at each place in its own way.
const (
	writeLiveSQL = `r.placement = @placement
  AND r.tenant_id = @tenant
  AND r.collection_id = @collection
  AND r.epoch >= @live_epoch::int
  AND (r.expires_at IS NULL OR r.expires_at > now())`

	mainLiveSQL = `r.placement = @main
  AND r.tenant_id = @tenant
  AND r.collection_id = @collection
  AND (r.expires_at IS NULL OR r.expires_at > now())`
)

// currentSQL holds for the row c of the collection if the collection is what and
// where its definition says, in the snapshot of the statement.
const currentSQL = `c.tenant_id = @tenant AND c.collection_id = @collection AND c.generation = @generation`

// places are where rows of the collection may be, the write place first.
func (d definition) places() []int32 {
	if d.main == noMain {
		return []int32{d.placement}
	}
	return []int32{d.placement, d.main}
}

// args are the parameters by which statements find the collection's records.
func (d definition) args(tenant knowledge.TenantID) pgx.NamedArgs {
	return pgx.NamedArgs{
		"tenant": string(tenant), "collection": d.id, "generation": d.generation,
		"placement": d.placement, "main": d.main, "places": d.places(), "live_epoch": d.liveEpoch,
	}
}

// vectorColumn is the column of the collection's vectors, and its type.
func (d definition) vectorColumn() (name, kind string) {
	if d.Precision == knowledge.Float16 {
		return "half", "halfvec"
	}
	return "embedding", "vector"
}

// vector is that column of row r.
func (d definition) vector() string {
	name, _ := d.vectorColumn()
	return "r." + name
}

// queryVector is the parameter @vector in the type of that column.
func (d definition) queryVector() string {
	_, kind := d.vectorColumn()
	return "@vector::float4[]::" + kind
}

// rowColumns are the columns of records but placement and epoch: all that a move
// takes along.
const rowColumns = `tenant_id, collection_id, id, text, embedding, metadata, version, expires_at, created_at, updated_at,
	half, lexemes, s1, s2, s3, s4, s5, s6, s7, s8, n1, n2, n3, n4, n5, n6, n7, n8, a1, a2, a3, a4`

// slotted is a declared field and the column that keeps it.
type slotted struct {
	Name string              `json:"name"`
	Type knowledge.FieldType `json:"type"`
	Slot string              `json:"slot"`
	// State is filling while there may be rows without their value in Slot.
	State knowledge.FieldState `json:"state,omitempty"`
}

// slotsOf gives each field a column: s1… for keywords, a1… for lists of them,
// n1… for what is a number to the database. Fields that are declared already
// keep theirs.
func slotsOf(fields []knowledge.Field, old []slotted) []slotted {
	known, taken := map[knowledge.Field]string{}, map[string]bool{}
	for _, s := range old {
		known[knowledge.Field{Name: s.Name, Type: s.Type}] = s.Slot
	}
	slots := make([]slotted, len(fields))
	for i, f := range fields {
		slots[i] = slotted{Name: f.Name, Type: f.Type, State: f.State, Slot: known[knowledge.Field{Name: f.Name, Type: f.Type}]}
		taken[slots[i].Slot] = true
	}
	for i := range slots {
		for n := 1; slots[i].Slot == ""; n++ {
			if slot := fmt.Sprintf("%c%d", slotLetter(slots[i].Type), n); !taken[slot] {
				slots[i].Slot, taken[slot] = slot, true
			}
		}
	}
	return slots
}

func slotLetter(t knowledge.FieldType) byte {
	switch t {
	case knowledge.Keyword:
		return 's'
	case knowledge.Keywords:
		return 'a'
	default:
		return 'n'
	}
}

// fieldSQL makes the value of a slot of the metadata in meta, an SQL expression
// of type jsonb. name is an SQL expression too. The metadata must have been
// checked against the field's type; null and absent give null.
func fieldSQL(t knowledge.FieldType, meta, name string) string {
	switch t {
	case knowledge.Keyword:
		return fmt.Sprintf("%s ->> %s", meta, name)
	case knowledge.Keywords:
		return fmt.Sprintf("CASE jsonb_typeof(%[1]s -> %[2]s) WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(%[1]s -> %[2]s)) END", meta, name)
	case knowledge.Boolean:
		return fmt.Sprintf("(%s ->> %s)::bool::int::float8", meta, name)
	case knowledge.Datetime:
		return fmt.Sprintf("extract(epoch FROM (%s ->> %s)::timestamptz)::float8", meta, name)
	default:
		return fmt.Sprintf("(%s ->> %s)::float8", meta, name)
	}
}

// slotSQL gives the columns of the declared fields, each preceded by a comma, and
// the expressions that fill them from meta; the fields' names go to args.
func slotSQL(slots []slotted, meta string, args pgx.NamedArgs) (columns, values string) {
	var c, v strings.Builder
	for i, s := range slots {
		name := fmt.Sprintf("field%d", i)
		args[name] = s.Name
		c.WriteString(", " + s.Slot)
		v.WriteString(", " + fieldSQL(s.Type, meta, "@"+name+"::text"))
	}
	return c.String(), v.String()
}

// maxLexemes is how many characters of a text its lexemes are made of: what
// PostgreSQL keeps of one text is bounded.
const maxLexemes = 200_000

// lexemesSQL makes the lexemes of text, an SQL expression, in the language @language.
func lexemesSQL(text string) string {
	return fmt.Sprintf("CASE %[1]s WHEN '' THEN NULL ELSE to_tsvector(@language::text::regconfig, left(%[1]s, %[2]d)) END", text, maxLexemes)
}

// languageOf is the text search configuration of a language.
func languageOf(l knowledge.Language) string { return "pg_catalog." + string(l) }

// encodeSlots and decodeSlots keep the declared fields in the table of collections.
func encodeSlots(slots []slotted) (string, error) {
	text, err := json.Marshal(slots)
	return string(text), err
}

func decodeSlots(text []byte) ([]slotted, []knowledge.Field, error) {
	var slots []slotted
	if err := json.Unmarshal(text, &slots); err != nil {
		return nil, nil, fmt.Errorf("decode fields: %w", err)
	}
	var fields []knowledge.Field
	for _, s := range slots {
		fields = append(fields, knowledge.Field{Name: s.Name, Type: s.Type, State: s.State})
	}
	return slots, fields, nil
}
