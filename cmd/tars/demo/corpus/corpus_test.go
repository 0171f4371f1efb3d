package corpus

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

// bounds of the passages that tests and documents rely on.
const (
	fewest  = 2000
	longest = 4096 // bytes of a text
	wordy   = 300  // words of a text, headings included
)

func TestPassages(t *testing.T) {
	seen := make(map[string]bool)
	var words, n int
	for p, err := range Passages() {
		if err != nil {
			t.Fatalf("Passages() yields %v after %d passages", err, n)
		}
		n++
		if seen[p.ID] {
			t.Errorf("two passages have the id %q", p.ID)
		}
		seen[p.ID] = true
		heading, body, ok := strings.Cut(p.Text, "\n\n")
		w := len(strings.Fields(p.Text))
		words += w
		switch {
		case p.ID == "" || len(p.ID) > 200:
			t.Errorf("passage %d has the id %q, want 1 to 200 bytes", n, p.ID)
		case !ok || strings.TrimSpace(body) == "" || strings.TrimSpace(heading) == "":
			t.Errorf("passage %s = %q, want headings, a blank line and words", p.ID, p.Text)
		case len(p.Text) > longest || w > wordy:
			t.Errorf("passage %s has %d bytes in %d words, want at most %d in %d", p.ID, len(p.Text), w, longest, wordy)
		case !utf8.ValidString(p.Text) || strings.ContainsAny(p.Text, "\x00\u00A0\r"):
			t.Errorf("passage %s = %q, want UTF-8 with plain white space", p.ID, p.Text)
		case p.Metadata.Heading == "" || p.Metadata.Chapter == "" || !strings.HasSuffix(p.Metadata.Page, ".html"):
			t.Errorf("passage %s has metadata %+v, want each member", p.ID, p.Metadata)
		case !strings.HasPrefix(p.Metadata.URL, "https://www.postgresql.org/docs/17/"+p.Metadata.Page):
			t.Errorf("passage %s has the address %q, want one of its page %s", p.ID, p.Metadata.URL, p.Metadata.Page)
		}
	}
	if n < fewest {
		t.Errorf("there are %d passages, want at least %d", n, fewest)
	}
	if mean := words / max(n, 1); mean < 60 || mean > 180 {
		t.Errorf("passages have %d words on average, want 60 to 180", mean)
	}
}

func TestPassagesHoldWhatTheDemoAsks(t *testing.T) {
	const id = "continuous-archiving#BACKUP-PITR-RECOVERY/"
	var text strings.Builder
	for p, err := range Passages() {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(p.ID, id) {
			text.WriteString(p.Text)
		}
	}
	for _, want := range []string{
		"Backup and Restore > Continuous Archiving and Point-in-Time Recovery (PITR) > Recovering Using a Continuous Archive Backup",
		"1. Stop the server, if it's running.",
		"restore_command = 'cp /mnt/server/archivedir/%f %p'",
		"If you want to recover to some previous point in time",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the passages %s* lack %q", id, want)
		}
	}
}

func TestVersionNamesTheContent(t *testing.T) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, z); err != nil {
		t.Fatal(err)
	}
	if want := hex.EncodeToString(h.Sum(nil)[:6]); !strings.HasSuffix(Version, "-"+want) {
		t.Errorf("Version = %q, want it to end in %q", Version, want)
	}
}

func TestLicenseHasTheNotice(t *testing.T) {
	for _, want := range []string{"PostgreSQL Global Development Group", "The Regents of the University of California", "without a written agreement"} {
		if !strings.Contains(License, want) {
			t.Errorf("License lacks %q", want)
		}
	}
}

func TestReadOfBrokenBytes(t *testing.T) {
	pack := func(s string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, data := range map[string][]byte{
		"no gzip":   []byte("{}"),
		"truncated": packed[:len(packed)/2],
		"no JSON":   pack(`{"id":"a"}` + "\n{"),
	} {
		t.Run(name, func(t *testing.T) {
			var last error
			for _, err := range read(bytes.NewReader(data)) {
				if last != nil {
					t.Fatalf("read goes on after the error %v", last)
				}
				last = err
			}
			if last == nil {
				t.Error("read ends without an error, want one")
			}
		})
	}
}

func TestPassagesStopWhenAsked(t *testing.T) {
	n := 0
	for range Passages() {
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("Passages() yielded %d passages before the break, want 3", n)
	}
}
