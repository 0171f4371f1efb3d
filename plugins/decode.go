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
	// maxPassagesDocument is the most bytes of candidates' documents: what a guest
	// takes is less, or it is refused.
	maxPassagesDocument = 64 << 20
)

// The documents of abi 1, as plugins/wit/schema defines them.
type (
	rankOutput struct {
		Scores []scoreDocument `json:"scores"`
	}
	scoreDocument struct {
		Index  *int     `json:"index"`
		Score  *float64 `json:"score"`
		Reason string   `json:"reason"`
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
		return 0, tooLong(b.most)
	}
	return b.Buffer.Write(p)
}

func tooLong(most int64) error {
	return fmt.Errorf("%w: at most %d bytes are allowed", vmhost.ErrInput, most)
}

// decodeRank reads what a rank or merge plugin gave for n candidates: the score of
// each index that it named, in its order. It returns an error made for the
// plugin's owner.
func decodeRank(data []byte, n int) ([]query.Scored, error) {
	var out rankOutput
	if err := strict(data, &out); err != nil {
		return nil, err
	}
	if out.Scores == nil {
		return nil, errors.New("scores: is missing")
	}
	scores, seen := make([]query.Scored, 0, min(n, len(out.Scores))), make([]bool, n)
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
		case seen[*s.Index]:
			return nil, fmt.Errorf("scores[%d].index: %d comes twice", i, *s.Index)
		}
		seen[*s.Index] = true
		scores = append(scores, query.Scored{Index: *s.Index, Score: *s.Score, Reason: s.Reason})
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
	if *c.Quote == "" {
		return errors.New(".quote: is empty")
	}
	return checkRange(passages[*c.Index].Text, *c.Start, *c.End)
}

// checkRange refuses what is no part of a text.
func checkRange(text string, start, end int) error {
	switch {
	case start < 0 || end > len(text) || end <= start:
		return fmt.Errorf(": start %d and end %d are no range of a text of %d bytes", start, end, len(text))
	case !onBoundary(text, start) || !onBoundary(text, end):
		return fmt.Errorf(": start %d or end %d is inside a character", start, end)
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
