package openai

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/embed/embedtest"
	"github.com/tars-project/tars/knowledge/embed/outbound"
)

func policy(t *testing.T, list string) outbound.Policy {
	t.Helper()
	p, err := outbound.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func atServer(s *embedtest.Server) embed.Definition {
	return embed.Definition{Name: "mine", Provider: embed.ProviderOpenAI, BaseURL: s.URL + "/v1", Model: "m", Options: embed.Options{Timeout: 200 * time.Millisecond}}
}

func TestOpenerConformance(t *testing.T) {
	embedtest.Run(t, func(t *testing.T) knowledge.Embedder {
		s := embedtest.NewServer(t)
		d := atServer(s)
		d.Options.Timeout = 0
		c, err := Opener(policy(t, "127.0.0.1"))(t.Context(), d, s.Key)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	})
}

// With a dimension that is known nothing is asked, and an answer of another length is
// refused: the collections' vectors have the known one.
func TestOpenerPinsTheDimension(t *testing.T) {
	s := embedtest.NewServer(t)
	d := atServer(s)
	d.Dimension = embedtest.ServerDimension + 1
	c, err := Opener(policy(t, "127.0.0.1"))(t.Context(), d, s.Key)
	if err != nil || s.Requests() != 0 || c.Info().Dimension != d.Dimension {
		t.Fatalf("open with a known dimension = %v after %d requests, want none, and the dimension", err, s.Requests())
	}
	defer c.Close()
	if v, err := c.Embed(t.Context(), knowledge.EmbedDocument, []string{"a"}); !errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("Embed with an answer of another length = %v, %v, want ErrUnavailable", v, err)
	}
}

// What a tenant is told of a server that is not as it should be: the field at fault or
// that it failed, and nothing that the server said.
func TestProbeErrors(t *testing.T) {
	const inside = "root:x:0:0"
	say := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = fmt.Fprintf(w, `{"error":{"message":%q}}`, inside)
		}
	}
	other := embedtest.NewServer(t)
	for _, test := range []struct {
		what   string
		answer http.HandlerFunc
		kind   error
		says   string
	}{
		{"401", say(401), knowledge.ErrInvalid, "api_key"},
		{"403", say(403), knowledge.ErrInvalid, "api_key"},
		{"400", say(400), knowledge.ErrInvalid, "model"},
		{"422", say(422), knowledge.ErrInvalid, "model"},
		{"404", say(404), knowledge.ErrInvalid, "base_url"},
		{"429", say(429), knowledge.ErrUnavailable, "429"},
		{"500", say(500), knowledge.ErrUnavailable, "500"},
		{"another document", say(200), knowledge.ErrUnavailable, "none"},
		{"a redirect to another host", http.RedirectHandler(other.URL+"/v1/embeddings", http.StatusTemporaryRedirect).ServeHTTP, knowledge.ErrUnavailable, "reached"},
		{"a redirect inside", http.RedirectHandler("http://169.254.169.254/latest", http.StatusPermanentRedirect).ServeHTTP, knowledge.ErrUnavailable, "reached"},
		{"silence", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, knowledge.ErrUnavailable, ""},
		{"200 MB", func(w http.ResponseWriter, _ *http.Request) {
			chunk := []byte(strings.Repeat("1,", 1<<19))
			_, _ = io.WriteString(w, `{"data":[{"index":0,"embedding":[`)
			for range 200 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, knowledge.ErrUnavailable, "none"},
		{"a vector that is too long", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"data":[{"index":0,"embedding":[1`+strings.Repeat(",1", knowledge.MaxDimension)+`]}]}`)
		}, knowledge.ErrUnavailable, "none"},
	} {
		t.Run(test.what, func(t *testing.T) {
			s := embedtest.NewServer(t)
			s.Answer(test.answer)
			_, err := Opener(policy(t, "127.0.0.1"))(t.Context(), atServer(s), s.Key)
			if !errors.Is(err, test.kind) {
				t.Fatalf("open = %v, want %v", err, test.kind)
			}
			shown := ""
			var invalid *knowledge.InvalidError
			var lack *knowledge.UnavailableError
			switch {
			case errors.As(err, &invalid):
				shown = invalid.Error()
			case errors.As(err, &lack):
				shown = lack.Error()
			}
			if !strings.Contains(shown, test.says) || strings.Contains(shown, inside) || strings.Contains(shown, "169.254") || strings.Contains(err.Error(), s.Key) {
				t.Errorf("open says %q, want %q in it, and nothing of the server's or the key", shown, test.says)
			}
		})
	}
	if n := other.Requests(); n != 0 {
		t.Errorf("the server that a redirect names got %d requests, want none", n)
	}
}

func TestOpenerRefusesAddresses(t *testing.T) {
	s := embedtest.NewServer(t)
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	for _, base := range []string{
		s.URL, "http://example.com", "https://127.0.0.1:" + port, "https://localhost:" + port, "https://[::1]:" + port,
		"https://[::ffff:127.0.0.1]:" + port, "https://0.0.0.0:" + port, "https://169.254.169.254",
	} {
		d := atServer(s)
		d.BaseURL = base
		for _, known := range []int{0, 8} { // at PUT, and when it is used
			d.Dimension = known
			c, err := Opener(policy(t, ""))(t.Context(), d, s.Key)
			if err == nil {
				_, err = c.Embed(t.Context(), knowledge.EmbedQuery, []string{"a"})
				c.Close()
			}
			var invalid *knowledge.InvalidError
			if known == 0 && (!errors.As(err, &invalid) || invalid.Field != "base_url") || known > 0 && !errors.Is(err, knowledge.ErrInvalid) && !errors.Is(err, knowledge.ErrUnavailable) {
				t.Errorf("%s, known dimension %d = %v, want it refused, at first as an InvalidError about base_url", base, known, err)
			}
		}
	}
	if n := s.Requests(); n != 0 {
		t.Errorf("the server got %d requests, want none", n)
	}
}

// Batches are cut so that no answer may be long.
func TestBatchesOfLongVectors(t *testing.T) {
	c := &Client{config: Config{BatchSize: 2048}, info: knowledge.EmbedderInfo{Dimension: knowledge.MaxDimension}}
	if got := c.batchSize(); got*knowledge.MaxDimension*maxNumberSize > maxAnswer || got < 1 {
		t.Errorf("batchSize() = %d, want 1 or more whose answer has at most %d bytes", got, maxAnswer)
	}
}
