package main

import (
	"math"
	"strings"
	"unicode"
)

// cosine returns the cosine of the angle between two vectors. There is none if
// they differ in length or one of them is zero.
func cosine(a, b []float32) (float64, bool) {
	if len(a) != len(b) {
		return 0, false
	}
	var product, squaresA, squaresB float64
	for i, x := range a {
		x, y := float64(x), float64(b[i])
		product += x * y
		squaresA += x * x
		squaresB += y * y
	}
	if squaresA == 0 || squaresB == 0 {
		return 0, false
	}
	return product / math.Sqrt(squaresA*squaresB), true
}

// counts is how often each word comes in a text, without regard to case.
type counts map[string]float64

func count(text string) counts {
	c := counts{}
	for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }) {
		c[word]++
	}
	return c
}

// cosine is that of the angle between the counts as vectors; 0 if one is empty.
func (c counts) cosine(other counts) float64 {
	var product float64
	for word, n := range c {
		product += n * other[word]
	}
	if product == 0 {
		return 0
	}
	return product / math.Sqrt(c.squares()*other.squares())
}

func (c counts) squares() float64 {
	var sum float64
	for _, n := range c {
		sum += n * n
	}
	return sum
}
