package tars

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// ABI is the major version of the documents that this SDK speaks.
const ABI = 1

// Query is what was asked.
type Query struct {
	Text string `json:"text"` // empty if the query was made by vector alone
}

// Passage is a record that a query found.
type Passage struct {
	Index      int             `json:"index"` // names it in outputs; its position in the input
	ID         string          `json:"id"`    // in its collection
	Collection string          `json:"collection"`
	Owner      string          `json:"owner,omitempty"`    // the tenant that shares it; empty: the caller's own
	Text       string          `json:"text"`               // as earlier guards left it; may be empty
	Score      float64         `json:"score"`              // higher is better; comparable within one input only
	Metadata   json.RawMessage `json:"metadata,omitempty"` // a JSON object, or empty
	Legs       []FoundBy       `json:"legs,omitempty"`     // that found it
}

// FoundBy is a leg that found a passage.
type FoundBy struct {
	Leg int  `json:"leg"`
	Row *int `json:"row,omitempty"` // of [Vectors]; nil if the passage's vector may not be had
}

// Leg is one retrieval of a query.
type Leg struct {
	Leg        int    `json:"leg"` // names it; its position in the query
	Collection string `json:"collection"`
	Owner      string `json:"owner,omitempty"` // the tenant that shares it; empty: the caller's own
	Mode       string `json:"mode"`            // vector, lexical or hybrid
	Rows       int    `json:"rows"`            // that [Vectors] has of it in this call
	Dimension  int    `json:"dimension"`       // components of a row; 0 if it is not known
}

// RankInput is a query with its candidates, best first.
type RankInput struct {
	ABI        int       `json:"abi"`
	Query      Query     `json:"query"`
	Legs       []Leg     `json:"legs,omitempty"`
	Candidates []Passage `json:"candidates"`
	Config     Config    `json:"config,omitempty"`
}

// RankOutput holds the new scores, in any order. Candidates without one follow
// in their former order.
type RankOutput struct {
	Scores []Score `json:"scores"`
}

// Score is the new score of one candidate.
type Score struct {
	Index  int     `json:"index"`            // of the candidate; not repeated
	Score  float64 `json:"score"`            // finite; higher is better
	Reason string  `json:"reason,omitempty"` // for people; at most 1024 characters
}

// MergeInput is a query with what its legs found.
type MergeInput struct {
	ABI        int       `json:"abi"`
	Query      Query     `json:"query"`
	Legs       []Leg     `json:"legs,omitempty"`
	Lists      []List    `json:"lists"`      // by leg; a hybrid leg has two
	Candidates []Passage `json:"candidates"` // what the lists hold, in the order of the built-in fusion
	Config     Config    `json:"config,omitempty"`
}

// List is what a leg found in one way.
type List struct {
	Leg     int     `json:"leg"`
	Mode    string  `json:"mode"`    // vector or lexical
	Weight  float64 `json:"weight"`  // against the other lists
	Entries []Entry `json:"entries"` // best first
}

// Entry is a candidate in a list.
type Entry struct {
	Index int     `json:"index"` // of the candidate
	Score float64 `json:"score"` // higher is better; comparable within the list only
}

// MergeOutput holds the scores of the candidates that are kept, in any order.
// Those without one are dropped.
type MergeOutput struct {
	Scores []Score `json:"scores"`
}

// SynthesizeInput is a query with the passages to answer from, best first.
type SynthesizeInput struct {
	ABI      int       `json:"abi"`
	Query    Query     `json:"query"`
	Legs     []Leg     `json:"legs,omitempty"`
	Passages []Passage `json:"passages"`
	Config   Config    `json:"config,omitempty"`
}

// SynthesizeOutput is an answer and where it was taken from.
type SynthesizeOutput struct {
	Answer    string     `json:"answer"` // the mark [n] points at the n-th citation, from 1; empty if there is no answer
	Citations []Citation `json:"citations"`
}

// Citation points at words of a passage. The host calls it verified only if
// Quote is Text[Start:End] of that passage.
type Citation struct {
	Index int    `json:"index"` // of the passage
	Start int    `json:"start"` // offset of the first byte (UTF-8), on a character boundary
	End   int    `json:"end"`   // offset of the byte after the last
	Quote string `json:"quote"`
}

// Cite makes the citation of p.Text[start:end]. It panics if these are no
// offsets into the text.
func Cite(p Passage, start, end int) Citation {
	return Citation{Index: p.Index, Start: start, End: end, Quote: p.Text[start:end]}
}

// ChunkInput is a document to be cut into passages.
type ChunkInput struct {
	ABI      int      `json:"abi"`
	Document Document `json:"document"`
	Config   Config   `json:"config,omitempty"`
}

// Document is what a tenant brought, as the text that was found in it.
type Document struct {
	ID         string          `json:"id"` // in its collection
	Collection string          `json:"collection"`
	Title      string          `json:"title"`              // may be empty
	MediaType  string          `json:"media_type"`         // of what was brought, such as text/html
	Text       string          `json:"text"`               // all of it, in reading order
	Blocks     []Block         `json:"blocks"`             // the parts that a reader sees as one, in order
	Metadata   json.RawMessage `json:"metadata,omitempty"` // a JSON object, or empty
}

// Block is a part of a document's text: Text[Start:End].
type Block struct {
	Kind  string `json:"kind"`  // paragraph, heading, item (of a list), code, table (a row of one)
	Level int    `json:"level"` // of a heading, 1 to 6
	Start int    `json:"start"`
	End   int    `json:"end"`
	Page  int    `json:"page"` // of a PDF, from 1; else 0
}

// ChunkOutput holds the passages, by where they start; they may overlap.
type ChunkOutput struct {
	Passages []Chunked `json:"passages"` // 1 to 10,000
}

// Chunked is a passage of a document: Text[Start:End].
type Chunked struct {
	Start    int      `json:"start"`              // offset of the first byte (UTF-8), on a character boundary
	End      int      `json:"end"`                // offset of the byte after the last
	Headings []string `json:"headings,omitempty"` // of the sections that it stands in, outermost first
}

// Config is what the caller of a query wrote for the plugin: a JSON object, or
// nothing.
type Config json.RawMessage

// UnmarshalJSON keeps the bytes for Decode.
func (c *Config) UnmarshalJSON(data []byte) error {
	*c = append((*c)[:0], data...)
	return nil
}

// MarshalJSON returns the bytes as they are, for tests that make an input.
func (c Config) MarshalJSON() ([]byte, error) {
	if len(c) == 0 {
		return []byte("{}"), nil
	}
	return c, nil
}

// Decode reads the configuration into the struct that v points at; members
// that are not there leave its fields as they are. The error is an *Error with
// the code "bad-config": a member is unknown or of the wrong type.
func (c Config) Decode(v any) error {
	if len(c) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(c))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return &Error{Code: CodeBadConfig, Message: fmt.Sprintf("config: %v", err)}
	}
	return nil
}
