package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tars-project/tars/migrations/pgtest"
)

// TestTransfer exports a tenant and a collection to files and restores them in
// another tenant, by the commands, over REST and PostgreSQL: what comes out is the
// same to the byte, odd vectors, half precision, numbers, versions and times too.
func TestTransfer(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t))
	first, second := s.tenant(t, "first"), s.tenant(t, "second")
	dir := t.TempDir()
	tars := func(token string, args ...string) string {
		t.Helper()
		var stderr bytes.Buffer
		env := map[string]string{"TARS_SERVER": s.url, "TARS_KEY": token}
		if err := run(t.Context(), args, func(name string) string { return env[name] }, strings.NewReader(""), &stderr, &stderr); err != nil {
			t.Fatalf("tars %q: %v\n%s", args, err, &stderr)
		}
		return stderr.String()
	}
	made, one, two := filepath.Join(dir, "made.ndjson"), filepath.Join(dir, "one.ndjson"), filepath.Join(dir, "two.ndjson")
	if err := os.WriteFile(made, oddExport(), 0o600); err != nil {
		t.Fatal(err)
	}
	tars(first.Token, "import", "--server", s.url, "--key", first.Token, made)
	tars(first.Token, "export", "--server", s.url, "--key", first.Token, one)
	tars(second.Token, "import", "--server", s.url, "--key", second.Token, one)
	said := tars(second.Token, "import", "--server", s.url, "--key", second.Token, one) // the same again is the same import
	if !strings.Contains(said, "2103 written") {
		t.Errorf("tars import again says %q, want what the first said", said)
	}
	tars(second.Token, "export", "--server", s.url, "--key", second.Token, two)
	a, b, want := read(t, one), read(t, two), string(oddExport())
	if a != want {
		t.Errorf("the export of what was made has %d bytes, want it as it was made, %d bytes; first difference: %s", len(a), len(want), differs(a, want))
	}
	if a != b {
		t.Errorf("the export of the restored tenant has %d bytes, want the same %d bytes; first difference: %s", len(b), len(a), differs(b, a))
	}
	single := filepath.Join(dir, "half.ndjson")
	tars(first.Token, "export", "--server", s.url, "--key", first.Token, "--collection", "half", single)
	if text := read(t, single); strings.Count(text, "\n") != 3 || !strings.Contains(text, "vector_f16") {
		t.Errorf("the export of collection half is %q, want two records and the last line", text)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.part-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the exports leave %q, %v, want nothing", left, err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// differs shows where two texts begin to differ.
func differs(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	from := max(0, i-60)
	return fmt.Sprintf("%.160q and %.160q", a[min(from, len(a)):], b[min(from, len(b)):])
}

// oddExport is an export of what is hard to keep, in the form that the server gives.
func oddExport() []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	f32 := func(v ...float32) string { // not by the code under test
		var data []byte
		for _, x := range v {
			u := math.Float32bits(x)
			data = append(data, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
		}
		return base64.StdEncoding.EncodeToString(data)
	}
	const (
		halfA = "AIABAP97" // -0, 2^-24, 65504
		halfB = "ADz/g//7" // 1, -1023*2^-24, -65504
	)
	times := `"version":%d,"created_at":"2001-02-03T04:05:06.789012Z","updated_at":"2026-01-01T00:00:00Z"}`
	line(`{"tars_export":1}`)
	line(`{"collection":{"name":"half","embedder":{"id":"none"},"dimension":3,"metric":"ip","precision":"float16","index":{"kind":"auto","m":16,"ef_construction":64,"quantization":"none"},"language":"simple","ttl_seconds":3600,"recall_target":0.9}}`)
	line(`{"id":"a","vector_f16":"%s",`+times, halfA, 7)
	line(`{"id":"b","vector_f16":"%s",`+times, halfB, 1)
	line(`{"collection":{"name":"odd","embedder":{"id":"none"},"dimension":3,"metric":"l2","precision":"float32","index":{"kind":"none","quantization":"none"},"fields":[{"name":"n","type":"number"},{"name":"k","type":"keyword"}],"language":"english","recall_target":0.95}}`)
	line(`{"id":"Z","text":"naïve \u003cb\u003e \u2028","vector":"%s","metadata":{"k":"x","n":1e-7,"neg":-0.1,"top":9007199254740991,"wide":1e+300},"expires_at":"2999-01-02T03:04:05.678901Z",`+times,
		f32(float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, -1e15), int64(1)<<40)
	for i := range 2100 {
		line(`{"id":"r%05d","vector":"%s","metadata":{"n":%d},`+times, i, f32(1, float32(i), 0.1), i, 1+i)
	}
	line(`{"end":true,"count":2103}`)
	return b.Bytes()
}
