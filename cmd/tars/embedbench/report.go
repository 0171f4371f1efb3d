package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/tars-project/tars/knowledge/embed/local"
	"github.com/tars-project/tars/knowledge/query"
)

// report is everything that was measured.
type report struct {
	Summary   summary    `json:"summary"`
	Machine   machine    `json:"machine"`
	Sources   []source   `json:"sources"`
	Corpora   []size     `json:"corpora"`
	Ingest    []ingested `json:"ingest"`
	Retrieval []answered `json:"retrieval"`
	Macro     []answered `json:"retrieval_macro"` // over the sets, each counting as much as another
	Speed     []speed    `json:"speed"`
	Loads     []speed    `json:"loads"` // of processes that did nothing else
	Bytes     sizes      `json:"bytes"`
}

// machine says what was measured where.
type machine struct {
	Commit    string `json:"commit"`
	Date      string `json:"date"`
	Go        string `json:"go"`
	CPU       string `json:"cpu"`
	Cores     int    `json:"cores"`
	Isolation string `json:"isolation"` // of plugins, on the server that was measured
	Short     bool   `json:"short"`
}

// size is how large a corpus is.
type size struct {
	Name      string         `json:"name"`
	Passages  int            `json:"passages"`
	Words     int            `json:"words"`
	Questions map[string]int `json:"questions"` // by set
}

// sizes are those of files.
type sizes struct {
	Binary int64 `json:"binary"` // as it is shipped, stripped
	Data   int64 `json:"embedder_data"`
}

// summary is the last line: retrieval in shares of 1, as a macro average over the
// sets; speed on one core.
type summary struct {
	DenseR1     float64 `json:"dense_r1"`
	DenseNDCG   float64 `json:"dense_ndcg10"`
	LexicalNDCG float64 `json:"lexical_ndcg10"`
	HybridNDCG  float64 `json:"hybrid_ndcg10"`
	ShortMS     float64 `json:"short_query_ms"`  // median
	Doc60       float64 `json:"doc60_per_cpu_s"` // in batches
	LoadMS      float64 `json:"load_ms"`         // median of processes
	RSS         float64 `json:"rss_mb"`          // the most of a process that embeds on all cores
	BinaryMB    float64 `json:"binary_mb"`
}

func describe(commit, grade string, short bool) machine {
	cpu, err := procField("/proc/cpuinfo", "model name")
	if err != nil {
		cpu = "unknown"
	}
	return machine{commit, time.Now().UTC().Format(time.RFC3339), runtime.Version(), cpu, runtime.NumCPU(), grade, short}
}

func sizeOf(c corpus) size {
	s := size{Name: c.name, Passages: len(c.passages), Questions: map[string]int{}}
	for _, p := range c.passages {
		s.Words += words(p)
	}
	for _, q := range c.questions {
		s.Questions[q.set]++
	}
	return s
}

// sizesOf reads the sizes of the shipped binary and of the embedders' data, which it
// carries as they are.
func sizesOf(executable, data string) (s sizes, err error) {
	is, err := os.Stat(executable)
	if err != nil {
		return s, err
	}
	s.Binary = is.Size()
	files, err := filepath.Glob(filepath.Join(data, "*"))
	if err != nil || len(files) == 0 {
		return s, fmt.Errorf("no data of the embedders in %s: %w", data, err)
	}
	for _, file := range files {
		if is, err = os.Stat(file); err != nil {
			return s, err
		}
		s.Data += is.Size()
	}
	return s, nil
}

// averages makes the macro averages, of each embedder and mode that was asked.
func (r *report) averages(embedders []string) {
	for _, m := range modes {
		for _, e := range embedders {
			var sets []quality
			passages := 0
			for _, a := range r.Retrieval {
				if a.Embedder == e && a.Mode == m && a.Set != manualsName {
					sets = append(sets, a.quality)
					passages = max(passages, a.Passages)
				}
			}
			if len(sets) > 0 {
				r.Macro = append(r.Macro, answered{"macro", passages, e, m, macro(sets)})
			}
		}
	}
}

// summarise takes the figures of the embedder that is the default.
func (r *report) summarise() error {
	var missing []string
	find := func(mode query.Mode) quality {
		for _, a := range r.Macro {
			if a.Mode == string(mode) && (a.Embedder == local.ID || mode == query.Lexical) {
				return a.quality
			}
		}
		missing = append(missing, string(mode))
		return quality{}
	}
	s := &r.Summary
	dense := find(query.Vector)
	s.DenseR1, s.DenseNDCG = round(dense.First), round(dense.NDCG)
	s.LexicalNDCG, s.HybridNDCG = round(find(query.Lexical).NDCG), round(find(query.Hybrid).NDCG)
	var loads []float64
	for _, x := range r.Loads {
		if x.Embedder == local.ID {
			loads = append(loads, x.LoadMS)
		}
	}
	s.LoadMS = median(loads)
	for _, x := range r.Speed {
		if x.Embedder != local.ID {
			continue
		}
		s.RSS = max(s.RSS, x.Peak)
		for _, p := range x.Paces {
			switch {
			case x.Cores > 1:
			case p.Name == workShort:
				s.ShortMS = p.Median
			case p.Name == workDoc60 && p.Batch > 1:
				s.Doc60 = p.PerCPU
			}
		}
	}
	s.BinaryMB = round(float64(r.Bytes.Binary) / 1e6)
	if s.ShortMS == 0 || s.Doc60 == 0 || s.LoadMS == 0 {
		missing = append(missing, "speed")
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s was not measured: %v", local.ID, missing)
	}
	return nil
}

// keep writes all figures to a file, if it is named.
func (r *report) keep(file string) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// print writes the last line.
func (r *report) print(w io.Writer) error { return json.NewEncoder(w).Encode(r.Summary) }
