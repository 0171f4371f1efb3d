package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The component found is the direction in which the rows were stretched.
func TestPrincipalComponent(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	rows := make([][dimension]float32, 2000)
	for i := range rows {
		for j := range rows[i] {
			rows[i][j] = 5 + float32(random.NormFloat64())
		}
		stretch := float32(10 * random.NormFloat64())
		rows[i][3] += 0.6 * stretch
		rows[i][70] -= 0.8 * stretch
	}
	centre(rows)
	sum := 0.0
	for i := range rows {
		sum += float64(rows[i][3])
	}
	if mean := sum / float64(len(rows)); math.Abs(mean) > 1e-4 {
		t.Errorf("mean after centre = %g, want 0", mean)
	}
	component, err := principalComponent(rows)
	if err != nil {
		t.Fatalf("principalComponent = %v, want no error", err)
	}
	if along := math.Abs(0.6*component[3] - 0.8*component[70]); along < 0.99 {
		t.Errorf("component has cosine %g with the stretched direction, want 1", along)
	}
	project(rows, component)
	for i := range rows[:10] {
		along := 0.0
		for j, x := range rows[i] {
			along += float64(x) * component[j]
		}
		if math.Abs(along) > 1e-4 {
			t.Errorf("row %d after project has %g along the component, want 0", i, along)
		}
	}
}

func TestIsWord(t *testing.T) {
	for word, want := range map[string]bool{
		"server": true, "2024": true, "café": true, ",": false, "'s": false, "n't": false, "well-known": false,
		"The": false, "u.s.": false, "": false, "$": false, "ﬁ": false,
	} {
		if got := isWord(word); got != want {
			t.Errorf("isWord(%q) = %t, want %t", word, got, want)
		}
	}
}

func TestQuantise(t *testing.T) {
	var row [dimension]float32
	row[0], row[1], row[2] = 2, -1, 0.5
	entry, err := quantise(&row, 0.25)
	if err != nil {
		t.Fatalf("quantise = %v, want no error", err)
	}
	if got, want := entry.Vector[:4], []int8{127, -64, 32, 0}; !slices.Equal(got, want) {
		t.Errorf("quantise(2, -1, 0.5, 0) = %d, want %d", got, want)
	}
	const unit = 1 << 28
	if got := float64(entry.Scale) * 127 / unit; math.Abs(got-0.5) > 1e-6 {
		t.Errorf("largest component times scale = %g, want 2 * 0.25", got)
	}
	if _, err := quantise(new([dimension]float32), 1); err == nil {
		t.Error("quantise(zero vector) = nil, want an error")
	}
}

func TestDecodeRefuses(t *testing.T) {
	row := strings.TrimSuffix(strings.Repeat("1,", dimension+1), ",")
	words := make([]string, fitted)
	for i := range words {
		words[i] = fmt.Sprint("w", i)
	}
	list, err := json.Marshal(words)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"not JSON":            "{",
		"no vectors":          `{"words":["a"]}`,
		"vectors before":      `{"vectors":{}}`,
		"too few words":       `{"words":["a"],"vectors":{}}`,
		"short row":           `{"words":` + string(list) + `,"vectors":{"w0":[1,2]}}`,
		"index of other word": `{"words":` + string(list) + `,"vectors":{"w0":[` + row + `,1]}}`,
		"index out of range":  `{"words":` + string(list) + `,"vectors":{"w0":[` + row + `,-1]}}`,
		"too few rows":        `{"words":` + string(list) + `,"vectors":{"w0":[` + row + `,0]}}`,
	} {
		if _, err := decode(t.Context(), strings.NewReader(text)); err == nil {
			t.Errorf("%s: decode = nil, want an error", name)
		}
	}
}

func TestReadPackageRefusesAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "other.tgz")
	if err := os.WriteFile(file, []byte("not the package"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readWords(t.Context(), file); err == nil || !strings.Contains(err.Error(), "SHA-512") {
		t.Errorf("readWords(another) = %v, want an error about SHA-512", err)
	}
}
