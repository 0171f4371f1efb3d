// Package lexicon reads and writes the word table of the local embedder: for
// each of the most frequent English words its vector, its weight and its stem.
//
// Numbers are integers in fixed point, so that sums over them do not depend
// on their order or on the processor, and vectors are the same everywhere.
package lexicon

// Units of the fixed-point numbers.
const (
	ScaleUnit = 1 << 28 // Scale of 1.0
	IDFUnit   = 1 << 8  // IDF of one nat
)

// Entry is one word as the generator makes it.
type Entry struct {
	Word   string // as words.Splitter yields it
	Stem   string // words.Stem of Word
	Scale  uint32 // what a component of 1 in Vector stands for, in 1/ScaleUnit
	IDF    uint16 // inverse frequency, ln(1/p), in 1/IDFUnit
	Vector []int8 // components, each -127 to 127
}

// Lexicon is a table of words, read from the form that [Encode] writes. A word
// is named by its number, 0 to Len()-1. Immutable, so safe for concurrent use.
type Lexicon struct {
	dimension int
	numbers   map[string]int32
	scales    []uint32
	idfs      []uint16
	stems     []uint64 // StemHash of each word's stem
	vectors   string   // Len() rows of dimension bytes
	maxIDF    uint16
}

// Len returns the number of words.
func (l *Lexicon) Len() int { return len(l.scales) }

// Dimension returns the length of each vector.
func (l *Lexicon) Dimension() int { return l.dimension }

// Find returns the number of a word. It does not allocate.
func (l *Lexicon) Find(word []byte) (number int32, ok bool) {
	number, ok = l.numbers[string(word)]
	return number, ok
}

// Scale returns what a component of 1 in the word's vector stands for, in
// 1/[ScaleUnit].
func (l *Lexicon) Scale(number int32) uint32 { return l.scales[number] }

// IDF returns the word's inverse frequency in 1/[IDFUnit] nat.
func (l *Lexicon) IDF(number int32) uint16 { return l.idfs[number] }

// MaxIDF returns the inverse frequency of the rarest word of the table, which
// is also the best guess for a word that is not in it.
func (l *Lexicon) MaxIDF() uint16 { return l.maxIDF }

// Stem returns the [StemHash] of the word's stem.
func (l *Lexicon) Stem(number int32) uint64 { return l.stems[number] }

// Vector returns the word's vector, one int8 a byte.
func (l *Lexicon) Vector(number int32) string {
	start := int(number) * l.dimension
	return l.vectors[start : start+l.dimension]
}

// FNV-1a, 64 bits.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// StemHash returns the hash that stands for a stem. Equal stems have equal
// hashes, today and in any later release: vectors depend on it.
func StemHash(stem string) uint64 { return hashOn(fnvOffset, stem) }

func hashOn(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}
