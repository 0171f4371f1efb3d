package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// decode returns the vectors of an answer by their index, which must be 0 to
// count-1, each once. Every number is finite as a float32, and no vector is
// empty or all zero. With them come the tokens that the server says it counted, 0 if
// it says nothing that can be.
func decode(data []byte, count int) (vectors [][]float32, tokens int64, err error) {
	var answer struct {
		Data []struct {
			Index     *int            `json:"index"`
			Embedding json.RawMessage `json:"embedding"`
		} `json:"data"`
		Usage json.RawMessage `json:"usage"` // servers differ; what cannot be read is no fault
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		err = fmt.Errorf("answer is not an embedding list: %w", err)
		if cutShort(err, len(data)) {
			return nil, 0, &passingError{err: err}
		}
		return nil, 0, err
	}
	if len(answer.Data) != count {
		return nil, 0, fmt.Errorf("answer has %d vectors, want %d", len(answer.Data), count)
	}
	vectors = make([][]float32, count)
	for i, item := range answer.Data {
		switch {
		case item.Index == nil:
			return nil, 0, fmt.Errorf("vector %d has no index", i)
		case *item.Index < 0 || *item.Index >= count:
			return nil, 0, fmt.Errorf("vector %d has index %d, want 0 to %d", i, *item.Index, count-1)
		case vectors[*item.Index] != nil:
			return nil, 0, fmt.Errorf("index %d comes twice", *item.Index)
		}
		vector, err := decodeVector(item.Embedding)
		if err != nil {
			return nil, 0, fmt.Errorf("vector with index %d: %w", *item.Index, err)
		}
		vectors[*item.Index] = vector
	}
	return vectors, tokensOf(answer.Usage), nil
}

// tokensOf reads prompt_tokens of a usage.
func tokensOf(usage []byte) int64 {
	const most = 1 << 32 // more is no count of one request
	var u struct {
		PromptTokens float64 `json:"prompt_tokens"`
	}
	if json.Unmarshal(usage, &u) != nil || !(u.PromptTokens >= 0 && u.PromptTokens <= most) {
		return 0
	}
	return int64(u.PromptTokens)
}

// cutShort reports whether JSON ended too early, as after a lost connection,
// rather than being wrong.
func cutShort(err error, size int) bool {
	var syntax *json.SyntaxError
	return errors.As(err, &syntax) && syntax.Offset >= int64(size)
}

// decodeVector reads a JSON array of numbers. It does not use encoding/json for
// that: into floats, it reads null, which some servers send for NaN, as 0.
func decodeVector(array []byte) ([]float32, error) {
	inner, isArray := bytes.CutPrefix(bytes.TrimSpace(array), []byte("["))
	inner, closed := bytes.CutSuffix(inner, []byte("]"))
	if !isArray || !closed {
		return nil, errors.New("is not an array")
	}
	vector := make([]float32, 0, bytes.Count(inner, []byte(","))+1)
	zero := true
	for number := range bytes.SplitSeq(inner, []byte(",")) {
		x, err := strconv.ParseFloat(string(bytes.TrimSpace(number)), 32)
		// ParseFloat takes words for infinity and NaN; JSON has none, but
		// a check costs less than the proof.
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("component %d is not a finite 32-bit number", len(vector))
		}
		zero = zero && x == 0
		vector = append(vector, float32(x))
	}
	if zero {
		return nil, errors.New("is all zero")
	}
	return vector, nil
}
