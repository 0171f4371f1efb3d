package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed/embedtest"
	"github.com/tars-project/tars/migrations/pgtest"
)

// embedProgram is the built binary with arguments, and nothing of this environment
// that names a server.
func embedProgram(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), path, append([]string{"embed"}, args...)...)
	command.Env = []string{"PATH=" + os.Getenv("PATH")}
	return command
}

// embedded runs the built binary.
func embedded(t *testing.T, in string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	command := embedProgram(t, args...)
	var out, errs bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(in), &out, &errs
	err = command.Run()
	return out.String(), errs.String(), err
}

// vectorsOf reads lines of JSON.
func vectorsOf(t *testing.T, text string) (all [][]float32) {
	t.Helper()
	for line := range strings.Lines(text) {
		var v []float32
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("line %.80q: %v, want a JSON array", line, err)
		}
		all = append(all, v)
	}
	return all
}

func TestEmbedInProcess(t *testing.T) {
	t.Parallel()
	set, err := builtInEmbedders()
	if err != nil {
		t.Fatal(err)
	}
	local, err := set.Get(t.Context(), "", "local")
	if err != nil {
		t.Fatal(err)
	}
	texts := make([]string, 600) // more than two batches
	for i := range texts {
		texts[i] = fmt.Sprintf("text %d is about bread", i)
	}
	want, err := local.Embed(t.Context(), knowledge.EmbedDocument, texts)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "texts")
	if err := os.WriteFile(file, []byte(strings.Join(texts, "\r\n")), 0o600); err != nil { // the last line has no end
		t.Fatal(err)
	}
	for what, ask := range map[string]func() (string, string, error){
		"standard input": func() (string, string, error) { return embedded(t, strings.Join(texts, "\n")+"\n") },
		"a file":         func() (string, string, error) { return embedded(t, "", "--local", "-f", file, "--progress") },
		"arguments":      func() (string, string, error) { return embedded(t, "", texts...) },
		"packed": func() (string, string, error) {
			out, errs, err := embedded(t, strings.Join(texts, "\n")+"\n", "--output", "base64")
			return unpacked(t, out), errs, err
		},
		"empty lines": func() (string, string, error) {
			return embedded(t, "\n"+strings.Join(texts, "\n \n")+"\n\n", "--skip-empty")
		},
	} {
		stdout, stderr, err := ask()
		got := vectorsOf(t, stdout)
		if err != nil || len(got) != len(want) {
			t.Errorf("embed of %s = %d vectors, %v, want %d\n%s", what, len(got), err, len(want), stderr)
			continue
		}
		for i := range want {
			if !alike(got[i], want[i]) {
				t.Errorf("embed of %s: vector %d is not that of its text", what, i)
				break
			}
		}
		if shown := strings.Contains(stderr, "embedded 600 texts"); shown != (what == "a file") {
			t.Errorf("embed of %s says %q, want the progress where it was asked for alone", what, stderr)
		}
	}
}

// unpacked turns lines of base64 into lines of JSON.
func unpacked(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(text) {
		data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("line %.80q: %v", line, err)
		}
		v := make([]float32, len(data)/4)
		for i := range v {
			v[i] = math.Float32frombits(uint32(data[4*i]) | uint32(data[4*i+1])<<8 | uint32(data[4*i+2])<<16 | uint32(data[4*i+3])<<24)
		}
		if !bytes.Equal(body.PackF32(v), data) {
			t.Fatalf("line %.80q is not whole components", line)
		}
		one, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(one, '\n'))
	}
	return out.String()
}

// alike allows for batches that sum in another order.
func alike(a, b []float32) bool {
	var dot, aa, bb float64
	for i := range min(len(a), len(b)) {
		dot, aa, bb = dot+float64(a[i]*b[i]), aa+float64(a[i]*a[i]), bb+float64(b[i]*b[i])
	}
	return len(a) == len(b) && dot/math.Sqrt(aa*bb) > 0.99999
}

func TestEmbedRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what, in string
		args     []string
		lines    int // of vectors before the fault
		says     string
	}{
		{"an empty line", "a\nb\n\nc\n", nil, 2, "line 3"},
		{"white space", "a\n \t\n", nil, 1, "line 2"},
		{"not UTF-8", "a\n\xff\n", nil, 1, "line 2"},
		{"NUL", "a\x00\n", nil, 0, "line 1"},
		{"a long line", "a\n" + strings.Repeat("b", 3<<20) + "\n", nil, 1, "line 2"},
		{"an unknown embedder", "a\n", []string{"--embedder", "other"}, 0, "local"},
		{"a server without a key", "a\n", []string{"--server", "http://127.0.0.1:1"}, 0, "--key"},
		{"texts and a file", "", []string{"-f", "x", "text"}, 0, "--file"},
		{"no such file", "", []string{"-f", "/nonexistent/file"}, 0, "no such file"},
	} {
		stdout, stderr, err := embedded(t, test.in, test.args...)
		if err == nil || !strings.Contains(stderr, test.says) || strings.Count(stdout, "\n") != test.lines {
			t.Errorf("embed of %s = %d lines, %v, %q; want %d lines and an error with %q", test.what, strings.Count(stdout, "\n"), err, stderr, test.lines, test.says)
		}
	}
}

// Whoever writes lines one by one gets an answer to each, and can end it by a signal.
func TestEmbedStreams(t *testing.T) {
	t.Parallel()
	command := embedProgram(t)
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(out)
	for range 3 {
		if _, err := io.WriteString(in, "a line\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := answers.ReadString('\n'); err != nil || line[0] != '[' {
			t.Fatalf("answer = %.80q, %v, want a vector before the next line", line, err)
		}
	}
	if err := command.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := command.Wait(); !errors.As(err, &exit) { // and does not hang, while the input is open
		t.Errorf("embed after an interrupt = %v, want an exit code", err)
	}
}

// Whoever has read enough goes away, and the program ends.
func TestEmbedIntoClosedPipe(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command := embedProgram(t)
	command.Stdin, command.Stdout = strings.NewReader(strings.Repeat("a line\n", 5000)), write
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	if line, err := bufio.NewReader(read).ReadString('\n'); err != nil || line[0] != '[' {
		t.Errorf("first line = %.80q, %v, want a vector", line, err)
	}
	_ = read.Close()
	if err := command.Wait(); err == nil {
		t.Error("embed into a closed pipe = no error, want that it was ended early")
	}
}

// By a server, with an embedder of the tenant's own.
func TestEmbedByServer(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t), "TARS_EMBEDDER_HOSTS=127.0.0.1")
	acme, remote := s.tenant(t, "acme"), embedtest.NewServer(t)
	definition := map[string]any{"base_url": remote.URL + "/v1", "model": "m", "api_key": remote.Key}
	if _, err := acme.Do(t.Context(), http.MethodPut, "/v1/embedders/mine", definition, nil); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--server", s.url, "--key", acme.Token, "--embedder", "mine"}
	stdout, stderr, err := embedded(t, "one\ntwo\n", flags...)
	if got := vectorsOf(t, stdout); err != nil || len(got) != 2 || len(got[0]) != embedtest.ServerDimension {
		t.Errorf("embed = %v, %v, want 2 vectors of %d\n%s", got, err, embedtest.ServerDimension, stderr)
	}
	if _, stderr, err = embedded(t, "one\nrefuse this\n", flags...); err == nil || !strings.Contains(stderr, "line 2") {
		t.Errorf("embed of a text that the model refuses = %v, %q, want an error about line 2", err, stderr)
	}
	if _, _, err := embedded(t, "one\n", "--server", s.url, "--key", acme.Token); err != nil {
		t.Errorf("embed by the node's embedder = %v, want no error", err)
	}
}

func FuzzLines(f *testing.F) {
	f.Add("a\nb\r\n\n \nc", true)
	f.Add(strings.Repeat("x", batchBytes+1)+"\ny", false)
	f.Fuzz(func(t *testing.T, text string, skip bool) {
		var got []string
		var fault error
		for b := range batches(context.Background(), strings.NewReader(text), skip) {
			if len(b.texts) > batchTexts || len(b.texts) > 1 && b.bytes > batchBytes || len(b.texts) != len(b.lines) {
				t.Errorf("batch of %d texts, %d lines and %d bytes, want it within the bounds", len(b.texts), len(b.lines), b.bytes)
			}
			got, fault = append(got, b.texts...), b.err
		}
		var want []string
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
			if strings.TrimSpace(line) != "" {
				want = append(want, line)
			}
		}
		if fault == nil && strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("batches(%.200q) = %.200q, want %.200q", text, got, want)
		}
	})
}
