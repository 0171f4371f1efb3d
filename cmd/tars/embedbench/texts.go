package main

import (
	_ "embed"
	"strings"
	"unicode"
)

// questionsText are 20 questions over the sets for `tars ingest`, one
// a line; lines that begin with # say which.
//
//go:embed questions.txt
var questionsText string

// shortQuestions are those.
func shortQuestions() (questions []string) {
	for line := range strings.Lines(questionsText) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			questions = append(questions, line)
		}
	}
	return questions
}

// Workloads of speed.
const (
	workShort  = "short"     // one of them: 8 to 12 pieces of words
	workDoc60  = "60 words"  // the beginning of a section, with the next where it is shorter
	workDoc150 = "150 words" // the same
	manyTexts  = 64          // in a batch
)

// workloads makes them of the manuals' prose, spread over the whole corpus.
func workloads(c corpus) []workload {
	all := []workload{{workShort, 1, shortQuestions()}}
	for _, kind := range []struct {
		name string
		n    int
	}{{workDoc60, 60}, {workDoc150, 150}} {
		var texts, now []string
		for _, p := range c.passages {
			if f := strings.Fields(p); isProse(f) {
				now = append(now, f...)
			}
			if len(now) >= kind.n {
				texts, now = append(texts, strings.Join(now[:kind.n], " ")), nil
			}
		}
		texts = spread(texts, manyTexts)
		all = append(all, workload{kind.name, 1, texts}, workload{kind.name, manyTexts, texts})
	}
	return all
}

// isProse reports that nearly all are words as they are in sentences, not code.
func isProse(fields []string) bool {
	odd := 0
	for _, f := range fields {
		if strings.ContainsFunc(strings.Trim(f, `.,:;?!()"“”`), func(r rune) bool { return !unicode.IsLetter(r) && r != '-' && r != '\'' && r != '’' }) {
			odd++
		}
	}
	return 20*odd <= len(fields)
}

// words counts the words of a text.
func words(s string) int { return len(strings.Fields(s)) }

// spread takes at most n of the values, evenly.
func spread[T any](values []T, n int) []T {
	if len(values) <= n {
		return values
	}
	taken := make([]T, n)
	for i := range taken {
		taken[i] = values[i*len(values)/n]
	}
	return taken
}

// sample keeps about one in so many of a corpus's passages, and the questions to
// these.
func (c corpus) sample(one int) corpus {
	out := corpus{name: c.name}
	for i, q := range c.questions {
		if i%one == 0 {
			out.questions = append(out.questions, question{q.set, q.text, len(out.passages)})
			out.passages = append(out.passages, c.passages[q.answer])
		}
	}
	return out
}
