package lexicon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The form, little-endian, n words of d dimensions:
//
//	magic            8 bytes
//	n, d, w, s       4 x uint32: w and s are the lengths of the two texts
//	scales           n x uint32
//	idfs             n x uint16
//	stem prefixes    n x uint8: bytes that the stem shares with the word
//	vectors          n x d x int8
//	words            w bytes: each word and a newline
//	stem suffixes    s bytes: what follows the shared prefix, and a newline
//
// A stem is kept as what differs from its word: stemming the whole table takes
// longer than all else at load, and most stems are prefixes.
const (
	magic      = "TARSLEX1"
	headerSize = len(magic) + 4*4
)

// Encode writes entries in the form that [Open] reads. Equal entries give
// equal bytes.
func Encode(w io.Writer, entries []Entry) error {
	if len(entries) == 0 {
		return errors.New("lexicon: no entries")
	}
	dimension := len(entries[0].Vector)
	var scales, idfs, prefixes, vectors []byte
	var texts, suffixes strings.Builder
	for _, e := range entries {
		if len(e.Vector) != dimension {
			return fmt.Errorf("lexicon: %q has %d dimensions, want %d", e.Word, len(e.Vector), dimension)
		}
		if e.Word == "" || strings.Contains(e.Word+e.Stem, "\n") {
			return fmt.Errorf("lexicon: %q with stem %q cannot be written", e.Word, e.Stem)
		}
		shared := sharedPrefix(e.Word, e.Stem)
		scales = binary.LittleEndian.AppendUint32(scales, e.Scale)
		idfs = binary.LittleEndian.AppendUint16(idfs, e.IDF)
		prefixes = append(prefixes, byte(shared))
		for _, component := range e.Vector {
			vectors = append(vectors, byte(component))
		}
		texts.WriteString(e.Word + "\n")
		suffixes.WriteString(e.Stem[shared:] + "\n")
	}
	header := []byte(magic)
	for _, n := range []int{len(entries), dimension, texts.Len(), suffixes.Len()} {
		header = binary.LittleEndian.AppendUint32(header, uint32(n))
	}
	for _, part := range [][]byte{header, scales, idfs, prefixes, vectors, []byte(texts.String()), []byte(suffixes.String())} {
		if _, err := w.Write(part); err != nil {
			return fmt.Errorf("lexicon: %w", err)
		}
	}
	return nil
}

// sharedPrefix returns the length in bytes of the common prefix, at most 255.
func sharedPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && n < 255 && a[n] == b[n] {
		n++
	}
	return n
}

// Open returns the lexicon whose encoded form is data, which it keeps and
// shares. It returns an error if data is not what [Encode] writes.
func Open(data string) (*Lexicon, error) {
	if len(data) < headerSize || data[:len(magic)] != magic {
		return nil, errors.New("lexicon: not a word table")
	}
	u32 := func(i int) int { return int(binary.LittleEndian.Uint32([]byte(data[i : i+4]))) }
	n, d, w, s := u32(len(magic)), u32(len(magic)+4), u32(len(magic)+8), u32(len(magic)+12)
	rest := data[headerSize:]
	// Four 32-bit numbers cannot overflow these sums and products in 64 bits
	// once n and d are known to be small.
	if n == 0 || d == 0 || n > len(rest) || d > len(rest) || n*(4+2+1+d)+w+s != len(rest) {
		return nil, errors.New("lexicon: sizes do not match the data")
	}
	take := func(size int) string {
		part := rest[:size]
		rest = rest[size:]
		return part
	}
	l := &Lexicon{dimension: d, numbers: make(map[string]int32, n)}
	l.readWeights(n, take(4*n), take(2*n))
	prefixes := take(n)
	l.vectors = take(n * d)
	if err := l.readWords(n, take(w), prefixes, take(s)); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Lexicon) readWeights(n int, scales, idfs string) {
	l.scales, l.idfs = make([]uint32, n), make([]uint16, n)
	for i := range n {
		l.scales[i] = uint32(scales[4*i]) | uint32(scales[4*i+1])<<8 | uint32(scales[4*i+2])<<16 | uint32(scales[4*i+3])<<24
		l.idfs[i] = uint16(idfs[2*i]) | uint16(idfs[2*i+1])<<8
		l.maxIDF = max(l.maxIDF, l.idfs[i])
	}
}

func (l *Lexicon) readWords(n int, texts, prefixes, suffixes string) error {
	l.stems = make([]uint64, n)
	for i := range n {
		word, moreWords, foundWord := strings.Cut(texts, "\n")
		suffix, moreSuffixes, foundSuffix := strings.Cut(suffixes, "\n")
		texts, suffixes = moreWords, moreSuffixes
		shared := int(prefixes[i])
		if !foundWord || !foundSuffix || word == "" || shared > len(word) {
			return fmt.Errorf("lexicon: word %d is damaged", i)
		}
		if _, twice := l.numbers[word]; twice {
			return fmt.Errorf("lexicon: word %d appears twice", i)
		}
		l.numbers[word] = int32(i)
		l.stems[i] = hashOn(StemHash(word[:shared]), suffix)
	}
	if texts != "" || suffixes != "" {
		return errors.New("lexicon: text after the last word")
	}
	return nil
}
