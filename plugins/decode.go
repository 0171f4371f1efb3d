package plugins

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/vmhost"
)

// Bounds of what a plugin may give back, beside the output cap.
const (
	maxAnswer    = 256 << 10 // bytes of an answer's text
	maxCitations = 256
	maxReason    = 1024 // characters of the reason of one score
)

// The documents of abi 1, as plugins/wit/schema defines them.
type (
	queryDocument struct {
		Text string `json:"text"`
	}
	passageDocument struct {
		Index      int            `json:"index"`
		ID         string         `json:"id"`
		Collection string         `json:"collection"`
		Text       string         `json:"text"`
		Score      float64        `json:"score"`
		Metadata   map[string]any `json:"metadata,omitempty"`
	}
	rankInput struct {
		ABI        int               `json:"abi"`
		Query      queryDocument     `json:"query"`
		Candidates []passageDocument `json:"candidates"`
		Config     jsontext.Value    `json:"config,omitempty"`
	}
	rankOutput struct {
		Scores []scoreDocument `json:"scores"`
	}
	scoreDocument struct {
		Index  *int     `json:"index"`
		Score  *float64 `json:"score"`
		Reason string   `json:"reason"`
	}
	synthesizeInput struct {
		ABI      int               `json:"abi"`
		Query    queryDocument     `json:"query"`
		Passages []passageDocument `json:"passages"`
		Config   jsontext.Value    `json:"config,omitempty"`
	}
	synthesizeOutput struct {
		Answer    *string            `json:"answer"`
		Citations []citationDocument `json:"citations"`
	}
	citationDocument struct {
		Index *int    `json:"index"`
		Start *int    `json:"start"`
		End   *int    `json:"end"`
		Quote *string `json:"quote"`
	}
)

// passages makes the documents of candidates. A guest names each by its index.
func passages(candidates []query.Candidate) []passageDocument {
	documents := make([]passageDocument, len(candidates))
	for i, c := range candidates {
		documents[i] = passageDocument{
			Index: i, ID: string(c.ID), Collection: string(c.Collection),
			Text: c.Text, Score: c.Score, Metadata: c.Metadata,
		}
	}
	return documents
}

// encode makes a document for a guest, of at most so many bytes: what is longer
// is given up while it is written, for candidates may be far larger than what a
// guest takes. The same document gives the same bytes. The error wraps
// [vmhost.ErrInput].
func encode(document any, most int64) ([]byte, error) {
	w := &boundedBuffer{most: most}
	if err := json.MarshalWrite(w, document, json.Deterministic(true)); err != nil {
		return nil, fmt.Errorf("input: %w", err)
	}
	return w.Bytes(), nil
}

// boundedBuffer takes no more than most bytes.
type boundedBuffer struct {
	bytes.Buffer
	most int64
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if int64(b.Len()+len(p)) > b.most {
		return 0, fmt.Errorf("%w: at most %d bytes are allowed", vmhost.ErrInput, b.most)
	}
	return b.Buffer.Write(p)
}

// decodeRank reads what a rank plugin gave for n candidates: the score of each
// index that it named, in its order. It returns an error made for the plugin's
// owner.
func decodeRank(data []byte, n int) (map[int]float64, error) {
	var out rankOutput
	if err := strict(data, &out); err != nil {
		return nil, err
	}
	if out.Scores == nil {
		return nil, errors.New("scores: is missing")
	}
	scores := make(map[int]float64, len(out.Scores))
	for i, s := range out.Scores {
		switch {
		case s.Index == nil || s.Score == nil:
			return nil, fmt.Errorf("scores[%d]: lacks index or score", i)
		case *s.Index < 0 || *s.Index >= n:
			return nil, fmt.Errorf("scores[%d].index: is %d, of %d candidates", i, *s.Index, n)
		case math.IsNaN(*s.Score) || math.IsInf(*s.Score, 0):
			return nil, fmt.Errorf("scores[%d].score: is not finite", i)
		case utf8.RuneCountInString(s.Reason) > maxReason:
			return nil, fmt.Errorf("scores[%d].reason: has over %d characters", i, maxReason)
		}
		if _, twice := scores[*s.Index]; twice {
			return nil, fmt.Errorf("scores[%d].index: %d comes twice", i, *s.Index)
		}
		scores[*s.Index] = *s.Score
	}
	return scores, nil
}

// decodeSynthesize reads what a synthesize plugin gave for these passages.
// Quotes are not compared here: the engine verifies them.
func decodeSynthesize(data []byte, passages []query.Candidate) (query.Draft, error) {
	var out synthesizeOutput
	if err := strict(data, &out); err != nil {
		return query.Draft{}, err
	}
	switch {
	case out.Answer == nil:
		return query.Draft{}, errors.New("answer: is missing")
	case len(*out.Answer) > maxAnswer:
		return query.Draft{}, fmt.Errorf("answer: has %d bytes; at most %d are allowed", len(*out.Answer), maxAnswer)
	case out.Citations == nil:
		return query.Draft{}, errors.New("citations: is missing")
	case len(out.Citations) > maxCitations:
		return query.Draft{}, fmt.Errorf("citations: has %d entries; at most %d are allowed", len(out.Citations), maxCitations)
	}
	draft := query.Draft{Text: *out.Answer}
	for i, c := range out.Citations {
		if err := c.check(passages); err != nil {
			return query.Draft{}, fmt.Errorf("citations[%d]%w", i, err)
		}
		draft.Citations = append(draft.Citations, query.DraftCitation{Index: *c.Index, Start: *c.Start, End: *c.End, Quote: *c.Quote})
	}
	return draft, nil
}

func (c citationDocument) check(passages []query.Candidate) error {
	if c.Index == nil || c.Start == nil || c.End == nil || c.Quote == nil {
		return errors.New(": lacks index, start, end or quote")
	}
	if *c.Index < 0 || *c.Index >= len(passages) {
		return fmt.Errorf(".index: is %d, of %d passages", *c.Index, len(passages))
	}
	text := passages[*c.Index].Text
	switch {
	case *c.Quote == "":
		return errors.New(".quote: is empty")
	case *c.Start < 0 || *c.End > len(text) || *c.End <= *c.Start:
		return fmt.Errorf(": start %d and end %d are no range of a text of %d bytes", *c.Start, *c.End, len(text))
	case !onBoundary(text, *c.Start) || !onBoundary(text, *c.End):
		return fmt.Errorf(": start %d or end %d is inside a character", *c.Start, *c.End)
	}
	return nil
}

func onBoundary(text string, i int) bool { return i == len(text) || utf8.RuneStart(text[i]) }

// strict decodes a guest's document: one JSON value of valid UTF-8, no unknown
// and no repeated member.
func strict(data []byte, into any) error {
	if err := json.Unmarshal(data, into, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("output is not the document of this capability: %s", jsonFault(err))
	}
	return nil
}

// jsonFault says where a document is wrong, without repeating its values.
func jsonFault(err error) string {
	var syntactic *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case errors.As(err, &semantic):
		return fmt.Sprintf("wrong kind of value or unknown member at %.200q, byte %d", semantic.JSONPointer, semantic.ByteOffset)
	case errors.As(err, &syntactic):
		return fmt.Sprintf("not JSON, or a repeated member, at %.200q, byte %d", syntactic.JSONPointer, syntactic.ByteOffset)
	default:
		return "not a complete JSON value"
	}
}
