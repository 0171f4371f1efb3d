package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tars-project/tars/cmd/tars/rig"
)

// How much is sent at once: within what a server's time-outs allow on a busy machine.
const (
	writeBatch = 100
	askBatch   = 25
)

// ingested says what writing a corpus's texts over REST cost.
type ingested struct {
	Corpus   string  `json:"corpus"`
	Embedder string  `json:"embedder"`
	Texts    int     `json:"texts"`
	Words    int     `json:"words"`
	Bytes    int     `json:"bytes"`
	Seconds  float64 `json:"seconds"`
	CPU      float64 `json:"server_cpu_seconds"` // without PostgreSQL's
}

func (i ingested) String() string {
	return fmt.Sprintf("%-8s %-10s ingest over REST, batches of %d, one client: %d texts of %d words on average, %.1f texts/s, %.1f texts/cpu-s of the server",
		i.Corpus, i.Embedder, writeBatch, i.Texts, i.Words/max(i.Texts, 1), float64(i.Texts)/i.Seconds, float64(i.Texts)/max(i.CPU, 0.01))
}

// answered says how good the answers to a set's questions were.
type answered struct {
	Set      string `json:"set"`
	Passages int    `json:"passages"` // that were looked among
	Embedder string `json:"embedder"`
	Mode     string `json:"mode"`
	quality
}

func (a answered) String() string {
	return fmt.Sprintf("%-10s %-10s %-8s R@1 %5.1f  R@5 %5.1f  nDCG@10 %5.1f  (%d questions, %d passages)",
		a.Set, a.Embedder, a.Mode, 100*a.First, 100*a.Five, 100*a.NDCG, a.Questions, a.Passages)
}

// collectionOf is the name of the collection of a corpus by an embedder.
func collectionOf(c corpus, embedder string) string { return c.name + "-" + embedder }

// ingest writes a corpus into a new collection without an index, so that searches
// compare all vectors, and the embedder alone is measured.
func ingest(ctx context.Context, s *rig.Server, c corpus, embedder string) (ingested, error) {
	path := "/v1/collections/" + collectionOf(c, embedder)
	definition := map[string]any{"embedder": embedder, "language": "english", "index": map[string]any{"kind": "none"}}
	if _, err := s.Client.Do(ctx, http.MethodPut, path, definition, nil); err != nil {
		return ingested{}, fmt.Errorf("make collection %s: %w", collectionOf(c, embedder), err)
	}
	i := ingested{Corpus: c.name, Embedder: embedder, Texts: len(c.passages)}
	before, err := cpuOf(s.PID())
	if err != nil {
		return i, err
	}
	start := time.Now()
	for first := 0; first < len(c.passages); first += writeBatch {
		var records []any
		for n, text := range c.passages[first:min(first+writeBatch, len(c.passages))] {
			records = append(records, map[string]any{"id": strconv.Itoa(first + n), "text": text})
			i.Words += words(text)
			i.Bytes += len(text)
		}
		if _, err := s.Client.Do(ctx, http.MethodPost, path+"/records", map[string]any{"records": records}, nil); err != nil {
			return i, fmt.Errorf("write to %s: %w", collectionOf(c, embedder), err)
		}
	}
	i.Seconds = round(time.Since(start).Seconds())
	after, err := cpuOf(s.PID())
	i.CPU = round((after - before).Seconds())
	return i, err
}

// placesOf asks all questions of a corpus and returns the place of each one's passage
// among the matches, -1 where it is not.
func placesOf(ctx context.Context, s *rig.Server, c corpus, embedder, mode string) ([]int, error) {
	places := make([]int, 0, len(c.questions))
	for asked := range slices.Chunk(c.questions, askBatch) {
		var searches []any
		for _, q := range asked {
			searches = append(searches, map[string]any{"text": q.text, "mode": mode, "limit": depth})
		}
		var answer struct {
			Results []struct {
				Result *struct {
					Matches []struct {
						ID string `json:"id"`
					} `json:"matches"`
				} `json:"result"`
				Problem *struct {
					Title  string `json:"title"`
					Detail string `json:"detail"`
				} `json:"problem"`
			} `json:"results"`
		}
		path := "/v1/collections/" + collectionOf(c, embedder) + "/search/batch"
		if _, err := s.Client.Do(ctx, http.MethodPost, path, map[string]any{"searches": searches}, &answer); err != nil {
			return nil, fmt.Errorf("search %s: %w", collectionOf(c, embedder), err)
		}
		if len(answer.Results) != len(asked) {
			return nil, fmt.Errorf("search %s: %d answers to %d questions", collectionOf(c, embedder), len(answer.Results), len(asked))
		}
		for n, r := range answer.Results {
			if r.Result == nil {
				return nil, fmt.Errorf("search %s for %q: %+v", collectionOf(c, embedder), asked[n].text, r.Problem)
			}
			want, place := strconv.Itoa(asked[n].answer), -1
			for i, m := range r.Result.Matches {
				if m.ID == want {
					place = i
				}
			}
			places = append(places, place)
		}
	}
	return places, nil
}

// bySet parts a corpus's answers by the set that each question is of, in order, and
// adds those of the whole corpus if it has several.
func bySet(c corpus, places []int, embedder, mode string) []answered {
	parts := map[string][]int{}
	var names []string
	for i, q := range c.questions {
		if _, known := parts[q.set]; !known {
			names = append(names, q.set)
		}
		parts[q.set] = append(parts[q.set], places[i])
	}
	var all []answered
	for _, name := range names {
		all = append(all, answered{name, len(c.passages), embedder, mode, qualityOf(parts[name])})
	}
	if len(names) > 1 {
		all = append(all, answered{c.name, len(c.passages), embedder, mode, qualityOf(places)})
	}
	return all
}
