package local_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed/local"
)

// versioned are texts whose vectors are held to the version.
var versioned = []string{
	document, "How do I restore to a point in time?", "the", "qzxv-1138", "Don’t “quote” naïve ﬁles…", "数据库复制", "Как восстановить базу?", "👍",
	strings.Repeat("to be or not to be ", 1000),
}

// Vectors are stored: when this fails, either the change was not meant or
// local.Version must be raised, with the new sums, and testdata/vectors.json made
// anew. Processors differ in the last bits, so the vectors are compared by cosine.
func TestVectorsOfThisVersion(t *testing.T) {
	const version = "use-glove-1"
	if local.Version != version {
		t.Errorf("Version = %q, want %q", local.Version, version)
	}
	for file, want := range map[string]string{
		"encoder.bin":    "1017fd1b615cbb650ccf314b5612a452efc14b35cb3803295ba126b59f407cc0",
		"pieces.txt":     "4ed3d085a5ee639abf6952baa9856872611e0673da3f4e751d59686746a72afb",
		"projection.bin": "19cf945f115c4a13aa7ef5046b108fd49f16c675ce2a3648489ebbd339e8b8bc",
	} {
		data, err := os.ReadFile("data/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != want {
			t.Errorf("SHA-256 of %s = %x, want %s", file, sum, want)
		}
	}
	var want [][]float32
	readJSON(t, "testdata/vectors.json", &want)
	got := embed(t, open(t), versioned)
	if len(want) != len(got) {
		t.Fatalf("%d vectors are recorded, want %d", len(want), len(got))
	}
	for i, vector := range got {
		if cosine := dot(vector, want[i]); !(cosine > 0.99999) {
			t.Errorf("vector of %.40q has cosine %g with what was recorded, want 1", versioned[i], cosine)
		}
	}
}

// Vectors of the fast one are the same everywhere, so its sum is.
func TestFastVectorsOfThisVersion(t *testing.T) {
	const (
		version = "glove-sif-1"
		data    = "4fa49fd949c599411bd9d67342b9865332c5e8c9bf64fed91abaeb32daff7dcf"
		vectors = "08d001b24ce4c6109675a3172233a71041a3c5c546f69550fdc6afeed6cd38ab"
	)
	if local.FastVersion != version {
		t.Errorf("FastVersion = %q, want %q", local.FastVersion, version)
	}
	file, err := os.ReadFile("data/lexicon.bin")
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(file); hex.EncodeToString(sum[:]) != data {
		t.Errorf("SHA-256 of the word table = %x, want %s", sum, data)
	}
	sum := sha256.New()
	for _, vector := range embed(t, openFast(t), versioned) {
		for _, x := range vector {
			_ = binary.Write(sum, binary.LittleEndian, x)
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != vectors {
		t.Errorf("SHA-256 of the vectors = %s, want %s", got, vectors)
	}
}

func TestVectorsHaveLengthOne(t *testing.T) {
	texts := []string{document, "the", "of and", "qzxv", "a", "?", strings.Repeat("word and another ", 5000)}
	onBoth(t, func(t *testing.T, e knowledge.Embedder) {
		for i, vector := range embed(t, e, texts) {
			checkUnit(t, e, texts[i], vector)
		}
	})
}

func TestKindDoesNotMatter(t *testing.T) {
	onBoth(t, func(t *testing.T, e knowledge.Embedder) {
		query, err := e.Embed(t.Context(), knowledge.EmbedQuery, []string{document})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(query[0], embed(t, e, []string{document})[0]) {
			t.Error("Embed(query) differs from Embed(document), want the same vector")
		}
	})
}

func TestSpellingThatDoesNotMatter(t *testing.T) {
	e := openFast(t)
	for _, pair := range [][2]string{
		{"Restore THE Database", "restore the database!"},
		{"the server's log", "the server log"},
		{"the server’s log", "the server log"},
		{"ﬁle", "file"},
		{"cafe\u0301", "café"},
		{"a\u00a0b", "a b"},
		{"a\x00b\u200bc", "a b c"},
		{"word order does not matter", "matter not does order word"},
	} {
		vectors := embed(t, e, pair[:])
		if !slices.Equal(vectors[0], vectors[1]) {
			t.Errorf("vectors of %q have cosine %.4f, want the same vector", pair, dot(vectors[0], vectors[1]))
		}
	}
}

// Terms that no table has, and other scripts, match by themselves.
func TestUnknownTermsMatch(t *testing.T) {
	onBoth(t, func(t *testing.T, e knowledge.Embedder) {
		for _, pair := range [][2]string{
			{"error ERR-QX77A in pump", "what does qx77a mean"},
			{"数据库复制", "如何配置数据库"},
			{"восстановить базу данных", "как восстановить"},
		} {
			if cosine := similarity(t, e, pair); cosine < 0.25 {
				t.Errorf("cosine of %q = %.3f, want at least 0.25", pair, cosine)
			}
		}
		if cosine := similarity(t, e, [2]string{"数据库复制", "восстановить базу"}); math.Abs(cosine) > 0.25 {
			t.Errorf("cosine of unrelated scripts = %.3f, want within 0.25 of 0", cosine)
		}
	})
}

func TestRefusesTextWithNothingToCount(t *testing.T) {
	onBoth(t, func(t *testing.T, e knowledge.Embedder) {
		for _, bad := range []string{"\x00", "\u200b\u200d", "\x01 \x02", "\ue000"} {
			_, err := e.Embed(t.Context(), knowledge.EmbedDocument, []string{"good", bad, bad})
			var invalid *knowledge.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != "texts[1]" {
				t.Errorf("Embed(texts[1] = %q) = %v, want an InvalidError about texts[1]", bad, err)
			}
		}
	})
}

// A text with more distinct unknown words than a bench holds is added up in
// parts, without losing one.
func TestVeryLongText(t *testing.T) {
	onBoth(t, func(t *testing.T, e knowledge.Embedder) {
		var text strings.Builder
		for i := range 100_000 {
			text.WriteString(strings.Repeat("q", i%7) + "x" + string(rune('a'+i%26)) + hex.EncodeToString(binary.BigEndian.AppendUint32(nil, uint32(i))) + " ")
		}
		for range 2 { // the bench is clean again afterwards
			vectors := embed(t, e, []string{text.String(), "after", strings.Repeat("a", 1<<20)})
			checkUnit(t, e, "long text", vectors[0])
			if alone := embed(t, e, []string{"after"}); !slices.Equal(vectors[1], alone[0]) {
				t.Error("vector after a long text differs from the same alone, want the same")
			}
		}
	})
}

// expiring is a context that ends once it was asked calls times.
type expiring struct {
	context.Context
	calls int
}

func (e *expiring) Err() error {
	if e.calls--; e.calls < 0 {
		return context.Canceled
	}
	return nil
}

func TestCancelledInsideALongText(t *testing.T) {
	onBoth(t, func(t *testing.T, e knowledge.Embedder) {
		want := embed(t, e, []string{document})[0]
		ctx := &expiring{Context: t.Context(), calls: 2}
		vectors, err := e.Embed(ctx, knowledge.EmbedDocument, []string{strings.Repeat("unbelievable length ", 1<<16)})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Embed = %d vectors, %v, want context.Canceled", len(vectors), err)
		}
		for range 10 { // whichever bench it was on is clean
			if got := embed(t, e, []string{document})[0]; !slices.Equal(got, want) {
				t.Fatal("vector after a cancelled call differs from that before, want the same")
			}
		}
	})
}

func TestAllocations(t *testing.T) {
	e := openFast(t)
	texts := slices.Repeat([]string{"the quick brown fox jumps over the lazy dog"}, 100)
	allocations := testing.AllocsPerRun(10, func() { embed(t, e, texts) })
	if perText := allocations / float64(len(texts)); perText > 3.1 {
		t.Errorf("%.1f allocations for each text of known words, want at most 3, of which one is the vector", perText)
	}
}

// Any string gives a vector of length 1 or an InvalidError.
func FuzzEmbed(f *testing.F) {
	for _, text := range []string{document, "", " ", "\x00", "\xff", "👍", "数据库", "e\u0301", "ﷺ", "don't", "'", strings.Repeat("\u0301", 100)} {
		f.Add(text)
	}
	e := open(f)
	f.Fuzz(func(t *testing.T, text string) {
		vectors, err := e.Embed(t.Context(), knowledge.EmbedDocument, []string{text})
		if err != nil {
			var invalid *knowledge.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != "texts[0]" {
				t.Errorf("Embed(%q) = %v, want a vector or an InvalidError about texts[0]", text, err)
			}
			return
		}
		checkUnit(t, e, text, vectors[0])
	})
}

func checkUnit(t *testing.T, e knowledge.Embedder, text string, vector []float32) {
	t.Helper()
	if want := e.Info().Dimension; len(vector) != want {
		t.Fatalf("Embed(%.50q) has %d dimensions, want %d", text, len(vector), want)
	}
	// Written so that NaN fails too.
	if length := math.Sqrt(dot(vector, vector)); !(math.Abs(length-1) < 1e-6) {
		t.Errorf("Embed(%.50q) has length %g, want 1", text, length)
	}
}
