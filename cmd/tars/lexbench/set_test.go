// Package lexbench measures searches by words, and what fusing them with searches
// by vectors gains: how good they are, on questions made of the PostgreSQL manual,
// and how fast. It has benchmarks alone; docs/benchmarks/lexical.md has their
// figures, and how to run them.
package lexbench

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/cmd/tars/demo/corpus"
	"github.com/tars-project/tars/knowledge"
)

// passage is a passage of the manual without the headings above it: a question made
// of its heading would find these words at once.
type passage struct{ id, section, text string }

// question is a heading that stands on one page alone; its section's passages
// answer it.
type question struct {
	text, section string
	answers       int
}

// manual is the set: all passages, and each question once, in the manual's order.
func manual(b *testing.B) (passages []passage, questions []question) {
	b.Helper()
	pages, sizes := map[string][]string{}, map[string]int{}
	var headings []string
	for p, err := range corpus.Passages() {
		if err != nil {
			b.Fatal(err)
		}
		_, body, _ := strings.Cut(p.Text, "\n\n")
		section := p.Metadata.Page + "\n" + p.Metadata.Heading
		passages = append(passages, passage{p.ID, section, body})
		sizes[section]++
		if known := pages[p.Metadata.Heading]; !slices.Contains(known, p.Metadata.Page) {
			pages[p.Metadata.Heading] = append(known, p.Metadata.Page)
		}
		if !slices.Contains(headings, p.Metadata.Heading) {
			headings = append(headings, p.Metadata.Heading)
		}
	}
	for _, heading := range headings {
		if len(pages[heading]) == 1 {
			section := pages[heading][0] + "\n" + heading
			questions = append(questions, question{heading, section, sizes[section]})
		}
	}
	return passages, questions
}

// quality gathers how good answers are.
type quality struct{ questions, first, five, ndcg float64 }

// add counts one answer: the sections of what was found, best first.
func (q *quality) add(asked question, sections []string) {
	q.questions++
	var gain, ideal float64
	for i, section := range sections[:min(10, len(sections))] {
		if section == asked.section {
			gain += 1 / math.Log2(float64(i)+2)
			if i == 0 {
				q.first++
			}
		}
	}
	if slices.Contains(sections[:min(5, len(sections))], asked.section) {
		q.five++
	}
	for i := range min(10, asked.answers) {
		ideal += 1 / math.Log2(float64(i)+2)
	}
	q.ndcg += gain / ideal
}

func (q *quality) report(b *testing.B) {
	b.ReportMetric(q.first/q.questions, "R@1")
	b.ReportMetric(q.five/q.questions, "R@5")
	b.ReportMetric(q.ndcg/q.questions, "nDCG@10")
	b.ReportMetric(0, "ns/op")
}

// sectionsOf turns matches into the sections of their passages.
func sectionsOf[M any](matches []M, id func(M) knowledge.RecordID, section map[knowledge.RecordID]string) []string {
	list := make([]string, len(matches))
	for i, m := range matches {
		list[i] = section[id(m)]
	}
	return list
}
