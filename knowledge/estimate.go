package knowledge

import (
	"fmt"
	"math"
	"time"
)

// Sizing is what an [Estimate] needs to know of the records.
type Sizing struct {
	Rows     int64 // 1 or more
	Text     int   // bytes of a text, on average
	Metadata int   // bytes of metadata as JSON, on average
}

// Estimate is what a collection would cost on PostgreSQL with pgvector. Sizes are in
// bytes. How far off it is, and what it was measured with, is in
// docs/benchmarks/collections.md.
type Estimate struct {
	Table        int64         // rows with their vectors, and the index of their ids
	VectorIndex  int64         // 0 when searches are exact
	LexicalIndex int64         // of the words of the texts
	BuildMemory  int64         // maintenance_work_mem with which the vector index is built in one pass; with less it takes several times as long
	Resident     int64         // what searches touch: the index, or the whole table
	Build        time.Duration // of the vector index, on one core
	Method       string        // "exact" or "hnsw"
}

// Disk is all that it takes there.
func (e Estimate) Disk() int64 { return e.Table + e.VectorIndex + e.LexicalIndex }

// autoRows is how many rows make an index of kind [IndexAuto] worth while, about.
const autoRows = 10_000

// Estimate tells what so many records of the collection, which Validate returned,
// would cost. It returns an [InvalidError] for sizes out of range.
func (c Collection) Estimate(s Sizing) (Estimate, error) {
	switch {
	case s.Rows < 1 || s.Rows > 10_000_000_000:
		return Estimate{}, Invalid("rows", "is %d; need 1 to 10000000000", s.Rows)
	case s.Text < 0 || s.Text > MaxText:
		return Estimate{}, Invalid("text_bytes", "is %d; need 0 to %d", s.Text, MaxText)
	case s.Metadata < 0 || s.Metadata > MaxMetadataBytes:
		return Estimate{}, Invalid("metadata_bytes", "is %d; need 0 to %d", s.Metadata, MaxMetadataBytes)
	}
	e := Estimate{Method: "exact"}
	e.Table = int64(float64(s.Rows) * c.rowBytes(s))
	if s.Text > 0 {
		e.LexicalIndex = int64(float64(s.Rows) * 7 * distinctWords(s.Text))
	}
	e.Resident = e.Table
	if c.Index.Kind == IndexHNSW || c.Index.Kind == IndexAuto && s.Rows >= autoRows {
		e.Method = "hnsw"
		e.VectorIndex = int64(float64(s.Rows) * c.nodeBytes())
		e.BuildMemory = s.Rows * int64(nodeMemory+c.indexedBytes()+32*c.Index.M)
		// A search reads rows of what it found, here and there.
		e.Resident = e.VectorIndex + e.Table/4
		if c.Index.Quantization == Binary {
			e.Resident = e.VectorIndex + e.Table/2 // it compares several times as many again
		}
		e.Build = c.buildTime(s.Rows)
	}
	return e, nil
}

// Notes say in sentences what an estimate cannot in numbers.
func (e Estimate) Notes() []string {
	notes := []string{}
	if e.Method == "hnsw" {
		notes = append(notes, "while the index is built anew there are two of it, and of the table",
			fmt.Sprintf("building it in one pass needs %d bytes of maintenance_work_mem", e.BuildMemory))
	}
	return notes
}

// What PostgreSQL and pgvector lay out, in bytes.
const (
	page        = 8192
	pageUsable  = page - 24 - 8 // header, and pgvector's own trailer
	tupleHeader = 32            // with a bitmap for the columns of records
	itemID      = 4             // for each tuple of a page
	nodeHeader  = 72            // of pgvector's element tuple
	nodeMemory  = 200           // of an element while it is built, beside its value and its links; measured: 197
)

// vectorBytes is the size of a value: 4 bytes of length, 4 of header.
func vectorBytes(dimension, bits int) int { return 8 + (dimension*bits+7)/8 }

// indexedBytes is the size of a vector in the index, by the rules of the index.
func (c Collection) indexedBytes() int {
	switch {
	case c.Index.Quantization == Binary:
		return vectorBytes(c.Dimension(), 1)
	case c.Metric == Cosine || c.Precision == Float16 || c.Dimension() > MaxFullDimension:
		return vectorBytes(c.Dimension(), 16)
	}
	return vectorBytes(c.Dimension(), 32)
}

// nodeBytes is what a row takes in the index. It lays out some nodes as pgvector
// does: node and links on one page where both fit, levels by chance; packing
// decides more than the sizes do.
func (c Collection) nodeBytes() float64 {
	const nodes = 4096
	node := align(nodeHeader + c.indexedBytes())
	pages, free := 1, pageUsable
	take := func(size int) {
		if free < size+itemID {
			pages, free = pages+1, pageUsable
		}
		free -= size + itemID
	}
	for i := range nodes {
		// The quantiles of the distribution, in an order that mixes them.
		u := (float64(i*1021%nodes) + 0.5) / nodes
		level := int(-math.Log(u) / math.Log(float64(c.Index.M)))
		links := align(4 + (level+2)*c.Index.M*6)
		if both := node + itemID + links; both+itemID <= pageUsable && free < both+itemID {
			pages, free = pages+1, pageUsable
		}
		take(node)
		take(links)
	}
	return float64(pages*page) / nodes
}

// align rounds up to 8 bytes, as PostgreSQL does.
func align(size int) int { return (size + 7) &^ 7 }

// rowBytes is what a record takes in the table and in the index of its ids.
func (c Collection) rowBytes(s Sizing) float64 {
	bits := 32
	if c.Precision == Float16 {
		bits = 16
	}
	const (
		keys   = 4 + 10 + 8 + 16 + 8 + 16 + 4 // place, tenant, collection, id, version, times, epoch
		idsRow = 64                           // of the index of ids, as it is after inserts in any order
	)
	vector := vectorBytes(c.Dimension(), bits)
	rest := tupleHeader + keys + s.Text + s.Metadata*5/4 + 24
	if s.Text > 0 {
		rest += int(distinctWords(s.Text) * 11) // lexemes
	}
	row := align(rest + vector)
	if row > pageUsable { // the vector goes elsewhere, in pieces of which four fill a page
		pieces := float64((vector + 1995) / 1996)
		return packed(align(rest+18)) + pieces*page/4*1.02 + idsRow
	}
	return packed(row) + idsRow
}

// packed is what a row takes of pages that hold whole rows only.
func packed(row int) float64 {
	if n := pageUsable / (row + itemID); n > 0 {
		return page / float64(n)
	}
	return float64(row) * 1.05 // texts that are kept elsewhere
}

// distinctWords is how many different words a text of so many bytes has, about: 12
// in a sentence, and fewer new ones the longer it goes on.
func distinctWords(text int) float64 { return 12 * math.Pow(float64(text)/96, 0.78) }

// buildTime is of one core, for vectors that lie in clusters, as those of texts do.
func (c Collection) buildTime(rows int64) time.Duration {
	dimensions := 450.0 // that take as long to compare as the rest of a step
	if c.Index.Quantization == Binary {
		dimensions = 2500
	}
	perRow := 0.22e-3 * float64(c.Index.EfConstruction) / 64 * math.Pow(float64(c.Index.M)/16, 0.8) *
		(1 + float64(c.Dimension())/dimensions) * max(0.5, math.Log(float64(rows))/math.Log(20_000))
	return time.Duration(perRow * float64(rows) * float64(time.Second))
}
