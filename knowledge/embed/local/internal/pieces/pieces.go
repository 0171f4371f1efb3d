// Package pieces cuts text into pieces of words, as the sentence encoder knows them:
// SentencePiece's unigram model (Kudo, 2018), the likeliest of all ways to cut.
package pieces

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"
)

const (
	// Unknown is the id of what no piece stands for; runs of it are one.
	Unknown = 0
	// reserved ids stand for no text.
	reserved = 6
	// space is how pieces write a space.
	space = '▁'
)

// Vocabulary has the pieces. Immutable, so safe for concurrent use.
type Vocabulary struct {
	next  map[step]int32 // the trie: from node and character to node; 0 is the root
	nodes []node
	sizes []int32 // of each piece, in characters
}

type step struct {
	node int32
	char rune
}

type node struct {
	id    int32 // of the piece that ends here; Unknown for none
	score float64
}

// Open reads a vocabulary: a line for each id, in order, with the piece, a tab, and
// the logarithm of its probability.
func Open(data string) (*Vocabulary, error) {
	v := &Vocabulary{next: make(map[step]int32, 32_000), nodes: make([]node, 1, 32_000)}
	for line := range strings.Lines(data) {
		piece, score, found := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		p, err := strconv.ParseFloat(score, 64)
		if !found || piece == "" || err != nil {
			return nil, fmt.Errorf("pieces: line %d is damaged", len(v.sizes)+1)
		}
		v.add(piece, p)
	}
	if len(v.sizes) <= reserved {
		return nil, errors.New("pieces: there are none")
	}
	v.sizes[Unknown] = 1
	return v, nil
}

// add gives the next id to a piece.
func (v *Vocabulary) add(piece string, score float64) {
	id, at, size := int32(len(v.sizes)), int32(0), int32(0)
	for _, char := range piece {
		size++
		if id < reserved {
			continue
		}
		to, ok := v.next[step{at, char}]
		if !ok {
			to = int32(len(v.nodes))
			v.next[step{at, char}] = to
			v.nodes = append(v.nodes, node{})
		}
		at = to
	}
	v.sizes = append(v.sizes, size)
	if id >= reserved {
		v.nodes[at] = node{id, score}
	}
}

// Len is the number of ids: they are 0 to Len()-1.
func (v *Vocabulary) Len() int { return len(v.sizes) }

// Cutter cuts texts, one at a time. It keeps its buffers between them. One goroutine
// at a time.
type Cutter struct {
	*Vocabulary
	chars []rune
	best  []float64 // of the cuts up to each character; 0 where there is none yet
	last  []int32   // the piece that ends there
}

// Cut appends the ids of a text's pieces. Its time and memory grow with the text's
// length: the caller bounds it.
func (c *Cutter) Cut(text string, ids []int32) []int32 {
	if text = norm.NFKC.String(text); text == "" {
		return ids
	}
	c.chars = append(c.chars[:0], space)
	for _, char := range text {
		if char == ' ' {
			char = space
		}
		c.chars = append(c.chars, char)
	}
	n := len(c.chars)
	c.best, c.last = zeroed(c.best, n+1), zeroed(c.last, n+1)
	for i := range n {
		c.extend(i)
	}
	start := len(ids)
	for i := n; i > 0; {
		id := c.last[i]
		if id != Unknown || len(ids) == start || ids[len(ids)-1] != Unknown {
			ids = append(ids, id)
		}
		i -= int(c.sizes[id])
	}
	for i, j := start, len(ids)-1; i < j; i, j = i+1, j-1 {
		ids[i], ids[j] = ids[j], ids[i]
	}
	return ids
}

// extend tries all pieces that begin at character i, up to which the best cut is
// known. Where none does, the character is an unknown one, at no cost.
func (c *Cutter) extend(i int) {
	at, found := int32(0), false
	for j := i; j < len(c.chars); j++ {
		to, ok := c.next[step{at, c.chars[j]}]
		if !ok {
			break
		}
		at = to
		if n := c.nodes[at]; n.id != Unknown {
			found = true
			c.offer(j+1, c.best[i]+n.score, n.id)
		}
	}
	if !found {
		c.offer(i+1, c.best[i], Unknown)
	}
}

// offer takes a cut up to a character when it is the first, or as likely as the one
// before. A likelihood of 0 counts as none, as in the model's own tokenizer.
func (c *Cutter) offer(end int, score float64, id int32) {
	if c.best[end] == 0 || score >= c.best[end] {
		c.best[end], c.last[end] = score, id
	}
}

// zeroed returns n zeros, in buffer if it is large enough.
func zeroed[T int32 | float64](buffer []T, n int) []T {
	if cap(buffer) < n {
		return make([]T, n)
	}
	buffer = buffer[:n]
	clear(buffer)
	return buffer
}
