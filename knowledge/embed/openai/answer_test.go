package openai

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

func list(items ...string) string {
	return `{"object":"list","data":[` + strings.Join(items, ",") + `]}`
}

func vector(index int, components string) string {
	return fmt.Sprintf(`{"object":"embedding","index":%d,"embedding":[%s]}`, index, components)
}

// eight gives a vector of testDimension components, the last of which is x.
func eight(x string) string { return strings.Repeat("0.5,", testDimension-1) + x }

// An answer that is wrong is refused, without a second attempt and without a
// vector.
func TestWrongAnswers(t *testing.T) {
	good := vector(0, eight("1"))
	for _, test := range []struct{ name, body, want string }{
		{"duplicate index", list(good, good), "index 0 comes twice"},
		{"index too large", list(good, vector(2, eight("1"))), "index 2"},
		{"index below zero", list(good, vector(-1, eight("1"))), "index -1"},
		{"missing index", list(good, `{"embedding":[`+eight("1")+`]}`), "has no index"},
		{"too few", list(good), "1 vectors, want 2"},
		{"too many", list(good, good, good), "3 vectors, want 2"},
		{"no data", `{}`, "0 vectors"},
		{"data of another type", `{"data":"x"}`, "not an embedding list"},
		{"wrong dimension", list(good, vector(1, "1,2,3")), "3 dimensions, want 8"},
		{"empty vector", list(good, vector(1, "")), "component 0"},
		{"no embedding", list(good, `{"index":1}`), "is not an array"},
		{"null embedding", list(good, `{"index":1,"embedding":null}`), "is not an array"},
		{"base64", list(good, `{"index":1,"embedding":"AACAPw=="}`), "is not an array"},
		{"NaN", list(good, vector(1, eight("NaN"))), "not an embedding list"},
		{"null for NaN", list(good, vector(1, eight("null"))), "component 7"},
		{"huge", list(good, vector(1, eight("1e39"))), "component 7"},
		{"string", list(good, vector(1, eight(`"1"`))), "component 7"},
		{"nested", list(good, vector(1, eight("[1]"))), "component 7"},
		{"all zero", list(good, vector(1, strings.Repeat("0,", 7)+"-0")), "all zero"},
		{"HTML", `<html>` + strings.Repeat(" ", 50), "not an embedding list"},
		{"more after it", list(good, vector(1, eight("1"))) + "{}", "not an embedding list"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeServer(t)
			c, waits := open(t, f, nil)
			f.script = []http.HandlerFunc{ok(test.body)}
			vectors, err := c.Embed(t.Context(), knowledge.EmbedDocument, []string{"a", "b"})
			if vectors != nil || !errors.Is(err, knowledge.ErrUnavailable) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Embed = %v, %v, want ErrUnavailable with %q", vectors, err, test.want)
			}
			if len(waits.waits) > 0 {
				t.Errorf("waits = %v, want none", waits.waits)
			}
		})
	}
}

func TestOversizedAnswer(t *testing.T) {
	f := newFakeServer(t)
	c, _ := open(t, f, nil)
	var sent int
	var writeErr error
	done := make(chan struct{})
	f.script = []http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) {
		defer close(done)
		for sent < 1<<30 && writeErr == nil {
			var n int
			n, writeErr = io.WriteString(w, strings.Repeat(" ", 1<<16))
			sent += n
		}
	}}
	_, err := c.Embed(t.Context(), knowledge.EmbedDocument, []string{"a"})
	if !errors.Is(err, knowledge.ErrUnavailable) || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("Embed = %v, want ErrUnavailable about the length", err)
	}
	<-done
	if writeErr == nil {
		t.Errorf("server could send %d bytes, want the client to hang up", sent)
	}
}

func TestErrorAnswers(t *testing.T) {
	for _, test := range []struct {
		name, body string
		want       StatusError
	}{
		{
			"OpenAI's object", `{"error":{"message":"Incorrect API key provided: ` + testKey + `.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`,
			StatusError{401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: [API key]."},
		},
		{"number as code", `{"error":{"message":"no","code":401}}`, StatusError{401, "", "401", "no"}},
		{"string", `{"error":"no such model"}`, StatusError{401, "", "", "no such model"}},
		{"message", `{"message":"no"}`, StatusError{401, "", "", "no"}},
		{"detail", `{"detail":"Unauthorized"}`, StatusError{401, "", "", "Unauthorized"}},
		{"HTML", "<h1>\n\tNo\x00\x1b[31m</h1>", StatusError{401, "", "", "<h1> No [31m</h1>"}},
		{"empty", "", StatusError{401, "", "", ""}},
		{"null", "null", StatusError{401, "", "", ""}},
		{"array", `[1]`, StatusError{401, "", "", "[1]"}},
		{"long", strings.Repeat("é", 1000), StatusError{401, "", "", strings.Repeat("é", 150) + "…"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeServer(t)
			c, _ := open(t, f, nil)
			f.script = []http.HandlerFunc{status(401, "", test.body)}
			_, err := c.Embed(t.Context(), knowledge.EmbedDocument, []string{"a"})
			var got *StatusError
			if !errors.As(err, &got) || *got != test.want {
				t.Errorf("Embed = %v, want %+v", err, test.want)
			}
			if !errors.Is(err, knowledge.ErrUnavailable) {
				t.Errorf("Embed = %v, want ErrUnavailable", err)
			}
			checkNoKey(t, err)
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(list(vector(1, "1,2"), vector(0, " 3 , -4e-2 "))), 2)
	f.Add([]byte(list(vector(0, "null"))), 1)
	f.Add([]byte(`{"data":[{"index":0,"embedding":[[1]]}]}`), 1)
	f.Fuzz(func(t *testing.T, data []byte, count int) {
		if count < 1 || count > 100 {
			return
		}
		vectors, _, err := decode(data, count)
		if err != nil {
			return
		}
		if len(vectors) != count {
			t.Fatalf("decode(%q, %d) = %d vectors, want %d", data, count, len(vectors), count)
		}
		for i, v := range vectors {
			bad := func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }
			if len(v) == 0 || slices.ContainsFunc(v, bad) {
				t.Errorf("decode(%q, %d): vector %d = %v, want finite numbers", data, count, i, v)
			}
		}
	})
}

func FuzzErrorAnswer(f *testing.F) {
	f.Add([]byte(`{"error":{"message":"` + testKey + `","type":7,"code":[null]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if text := parseStatusError(500, body, testKey).Error(); strings.Contains(text, testKey) || len(text) > 1100 {
			t.Errorf("parseStatusError(%q) = %q, want at most 1100 bytes without the key", body, text)
		}
	})
}
