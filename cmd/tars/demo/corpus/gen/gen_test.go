package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// frame is a page of the manual around a body.
const frame = `<html><body><div class="navheader"><table><tr><th colspan="5">25.3. Recovery</th></tr>
<tr><td><a accesskey="u" href="backup.html">Up</a></td><th width="60%%" align="center">Chapter&#160;25.&#160;Backup and Restore</th>
<td><a accesskey="h" href="index.html" title="PostgreSQL 17.11 Documentation">Home</a></td></tr></table><hr /></div>
%s<div class="navfooter"><p>Next</p></div></body></html>`

// passages cuts a page with the body.
func passages(t *testing.T, body string) []passage {
	t.Helper()
	file := filepath.Join(t.TempDir(), "recovery.html")
	if err := os.WriteFile(file, fmt.Appendf(nil, frame, body), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := readPage(file)
	if err != nil {
		t.Fatal(err)
	}
	if p.release != "17.11" {
		t.Errorf("the release is %q, want 17.11", p.release)
	}
	return passagesOf(p)
}

// sentences returns n sentences of ten words.
func sentences(n int) string {
	return strings.TrimSpace(strings.Repeat("One two three four five six seven eight nine ten. ", n))
}

const sect = `<div class="sect1" id="REC"><div class="titlepage"><h2 class="title">25.3. Recovery <a href="#REC" class="id_link">#</a></h2></div>%s</div>`

func TestBlocksStayReadable(t *testing.T) {
	got := passages(t, fmt.Sprintf(sect, `<div class="toc"><dl><dt>25.3.1. Steps</dt></dl></div><a class="indexterm"></a>
<p>Use
  <code class="command">cp</code>&#160;now<sup class="footnote"><a>[6]</a></sup>, 2<sup>10</sup> times:
<pre class="programlisting">cp a b
	mv b c
</pre> where <code>b</code> is <em>new</em>.</p>
<ol><li><p>Stop it.</p></li><li><p>Start it.</p></li></ol>
<div class="itemizedlist"><ul><li><p>One thing</p></li><li><p>Another</p></li></ul></div>
<div class="note"><h3 class="title">Note</h3><p>Be quick.</p></div>
<dl class="variablelist"><dt><span class="term">wal_level</span></dt><dd><p>How much is written.</p></dd></dl>
<table><tr><th>Name</th><th>Meaning</th></tr><tr><td><p>a</p></td><td>the first</td></tr></table>`))
	want := `Backup and Restore > Recovery

Use cp now, 2^10 times:

    cp a b
        mv b c

where b is new.

1. Stop it.
2. Start it.
- One thing
- Another

Note: Be quick.

wal_level
How much is written.

Name | Meaning
a | the first`
	if len(got) != 1 || got[0].Text != want {
		t.Fatalf("the page gives %q, want one passage %q", got, want)
	}
	meta := metadata{Page: "recovery.html", Heading: "Recovery", Chapter: "Backup and Restore", URL: manual + "recovery.html#REC"}
	if got[0].ID != "recovery#REC/1" || got[0].Metadata != meta {
		t.Errorf("the passage is %s with %+v, want recovery#REC/1 with %+v", got[0].ID, got[0].Metadata, meta)
	}
}

func TestSectionsGoTheirOwnWays(t *testing.T) {
	sub := `<div class="sect2" id="%s"><div class="titlepage"><h3 class="title">25.3.1. %s</h3></div><p>%s</p></div>`
	got := passages(t, fmt.Sprintf(sect, "<p>"+sentences(8)+"</p>"+fmt.Sprintf(sub, "A", "First", sentences(8))+fmt.Sprintf(sub, "B", "Second", sentences(9))))
	var ids, headings []string
	for _, p := range got {
		ids = append(ids, p.ID)
		heading, _, _ := strings.Cut(p.Text, "\n")
		headings = append(headings, heading)
	}
	if want := []string{"recovery#REC/1", "recovery#A/1", "recovery#B/1"}; !slices.Equal(ids, want) {
		t.Errorf("the ids are %v, want %v", ids, want)
	}
	if want := []string{"Backup and Restore > Recovery", "Backup and Restore > Recovery > First", "Backup and Restore > Recovery > Second"}; !slices.Equal(headings, want) {
		t.Errorf("the headings are %q, want %q", headings, want)
	}
}

func TestShortSectionsAreMerged(t *testing.T) {
	got := passages(t, `<div class="refentry" id="SQL-X"><div class="titlepage"></div><div class="refnamediv"><h2><span class="refentrytitle">X</span></h2><p>X — do it</p></div>
<div class="refsynopsisdiv"><h2>Synopsis</h2><pre class="synopsis">X name</pre></div>
<div class="refsect1" id="id-1"><h2>Description</h2><p>It does it.</p></div>
<div class="refsect1" id="id-2"><h2>See Also</h2><p>Y</p></div></div>`)
	want := "Backup and Restore > X\n\nX — do it\n\nSynopsis\n\n    X name\n\nDescription\nIt does it."
	if len(got) != 1 || got[0].Text != want {
		t.Errorf("the page gives %q, want one passage %q", got, want)
	}
}

func TestLongTextsAreCutBetweenSentences(t *testing.T) {
	long := sentences(40)
	got := passages(t, fmt.Sprintf(sect, "<p>"+long+"</p>"))
	if len(got) < 3 {
		t.Fatalf("400 words give %d passages, want 3 or more", len(got))
	}
	var bodies []string
	for _, p := range got {
		_, body, _ := strings.Cut(p.Text, "\n\n")
		if n := len(strings.Fields(body)); n < least || n > most || !strings.HasSuffix(body, "ten.") {
			t.Errorf("passage %s has %d words and ends %q, want %d to %d words and whole sentences", p.ID, n, body[len(body)-10:], least, most)
		}
		bodies = append(bodies, body)
	}
	if strings.Join(bodies, " ") != long {
		t.Errorf("the passages hold %q, want all of the text once", bodies)
	}
}

func TestCodeStaysWithWhatAnnouncesIt(t *testing.T) {
	code := strings.TrimSpace(strings.Repeat("a b c d e f g h\n", 12))
	got := passages(t, fmt.Sprintf(sect, "<p>"+sentences(11)+"</p><p>For example:</p><pre>"+code+"</pre>"))
	for _, p := range got {
		if strings.HasSuffix(p.Text, "For example:") {
			t.Errorf("passage %s ends with %q, want the code after it", p.ID, "For example:")
		}
	}
}

func TestATermBecomesAHeading(t *testing.T) {
	got := passages(t, fmt.Sprintf(sect, `<dl class="variablelist"><dt><span class="term">work_mem (integer)</span></dt><dd><p>`+sentences(9)+`</p></dd>
<dt>b</dt><dd><p>`+sentences(9)+`</p></dd></dl>`))
	if len(got) != 2 || !strings.HasPrefix(got[0].Text, "Backup and Restore > Recovery > work_mem (integer)\n\nOne two") {
		t.Errorf("the page gives %q, want two passages under their terms", got)
	}
}

func TestRunFails(t *testing.T) {
	t.Setenv("PGDOC", "")
	for name, args := range map[string][]string{
		"no folder":    nil,
		"empty folder": {"-html", t.TempDir()},
		"unknown flag": {"-nosuch"},
	} {
		if err := run(args, os.Stderr); err == nil {
			t.Errorf("run with %s succeeds, want an error", name)
		}
	}
}

func TestRunGivesTheSameBytes(t *testing.T) {
	pages := t.TempDir()
	for name, body := range map[string]string{"a.html": sentences(8), "b.html": sentences(30), "release-17.html": "No."} {
		page := fmt.Appendf(nil, frame, fmt.Sprintf(sect, "<p>"+body+"</p>"))
		if err := os.WriteFile(filepath.Join(pages, name), page, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var last string
	for range 2 {
		out := t.TempDir()
		var said strings.Builder
		if err := run([]string{"-html", pages, "-out", out}, &said); err != nil {
			t.Fatal(err)
		}
		packed, err := os.ReadFile(filepath.Join(out, "corpus.jsonl.gz"))
		if err != nil {
			t.Fatal(err)
		}
		version, err := os.ReadFile(filepath.Join(out, "version.go"))
		if err != nil {
			t.Fatal(err)
		}
		now := string(packed) + string(version)
		if last != "" && now != last {
			t.Error("the second run writes other bytes, want the same")
		}
		last = now
		if !strings.HasPrefix(said.String(), "PostgreSQL 17.11: 4 passages") || !strings.Contains(string(version), `"17.11-`) {
			t.Errorf("run says %q and writes %q, want 4 passages of 17.11", said.String(), version)
		}
	}
}
