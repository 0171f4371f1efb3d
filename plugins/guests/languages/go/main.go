// A plugin in Go by the SDK. It ranks by shared words, answers what it was
// told, and does work for tests; see ../languages.md.
package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

var (
	_ = tars.Handle("rank", rank)
	_ = tars.Handle("echo", func(_ *tars.Context, input []byte) ([]byte, error) { return input, nil })
	_ = tars.Handle("stress", stress)
	_ = tars.Handle("*", func(*tars.Context, []byte) ([]byte, error) {
		return nil, &tars.Error{Code: tars.CodeUnsupported, Message: "no such capability"}
	})
)

// words returns the words of a text, with A to Z made small.
func words(text string) []string {
	lower := strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, text)
	return strings.FieldsFunc(lower, func(c rune) bool {
		return c < 0x80 && (c < 'a' || c > 'z') && (c < '0' || c > '9')
	})
}

func rank(_ *tars.Context, input []byte) ([]byte, error) {
	var in tars.RankInput
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, &tars.Error{Code: tars.CodeBadInput, Message: "not a document to rank"}
	}
	asked := make(map[string]bool)
	for _, word := range words(in.Query.Text) {
		asked[word] = true
	}
	out := tars.RankOutput{Scores: []tars.Score{}}
	for _, c := range in.Candidates {
		all := words(c.Text)
		shared := 0
		for _, word := range all {
			if asked[word] {
				shared++
			}
		}
		out.Scores = append(out.Scores, tars.Score{Index: c.Index, Score: float64(shared * 1000 / max(1, len(all)))})
	}
	return json.Marshal(out)
}

func sorted(n uint32) uint32 {
	list := make([]uint32, n)
	x, sum := uint32(1), uint32(0)
	for i := range list {
		x = x*1664525 + 1013904223
		list[i] = x
	}
	slices.Sort(list)
	for _, x := range list {
		sum = sum*31 + x
	}
	return sum
}

func hold(n uint32) uint32 {
	var held []string
	for i := range n {
		held = append(held, fmt.Sprintf("item-%d", i))
	}
	sum := 0
	for _, item := range held {
		sum += len(item)
	}
	return uint32(sum)
}

func fibonacci(n uint32) uint32 {
	if n < 2 {
		return n
	}
	return fibonacci(n-1) + fibonacci(n-2)
}

func dive(n uint32) uint32 {
	if n == 0 {
		return 0
	}
	return dive(n-1) + 1
}

func sum(n uint32) string {
	sum := 0.0
	for i := range n {
		sum += 1 / float64(i+1)
	}
	return strconv.FormatFloat(sum, 'g', -1, 64)
}

func stress(_ *tars.Context, input []byte) ([]byte, error) {
	work, number, _ := strings.Cut(string(input), " ")
	n, _ := strconv.ParseUint(number, 10, 32)
	switch work {
	case "sort":
		return fmt.Append(nil, sorted(uint32(n))), nil
	case "hold":
		return fmt.Append(nil, hold(uint32(n))), nil
	case "recurse":
		return fmt.Append(nil, fibonacci(uint32(n))), nil
	case "float":
		return []byte(sum(uint32(n))), nil
	case "dive":
		return fmt.Append(nil, dive(uint32(n))), nil
	case "spin":
		for { //nolint:staticcheck // is what it is for
		}
	}
	return nil, &tars.Error{Code: tars.CodeBadInput, Message: "no such work"}
}

func main() {}
