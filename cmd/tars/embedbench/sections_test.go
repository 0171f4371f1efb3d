package main

import (
	"slices"
	"strings"
	"testing"
)

func TestReadSections(t *testing.T) {
	for _, test := range []struct {
		name, page string
		want       []section
	}{
		{"numbers and navigation of PostgreSQL", `<body><div class="navheader"><h2>Up</h2>Prev</div>
			<div class="sect1"><div class="titlepage"><h2 class="title">30.1. Reliability</h2></div><div class="toc">30.1.1</div>
			<p>Power <em class="x">fail</em>s.</p><p>Disks too.</p>
			<h3>30.1.1. Caches</h3><p>Write-back.</p></div><div class="navfooter">Next</div></body>`, []section{
			{"Reliability", "Power fails. Disks too."}, {"Caches", "Write-back."},
		}},
		{"marks and side bars of Python", `<title>x</title><div class="sphinxsidebar"><h3>This Page</h3><p>Show</p></div>
			<div class="body"><h1><code>pathlib</code> — Paths<a class="headerlink" href="#">¶</a></h1><p>Some text.</p></div>
			<div class="footer">Copyright</div>`, []section{{"pathlib — Paths", "Some text."}}},
		{"titles of SQLite", `<div class="menu mainmenu"><ul><li>Home</li></ul></div><div class="fancy_title">Write-Ahead Logging</div>
			<div class="fancy_toc">1.</div><p>Intro.</p><h1 id="o"><span>1. </span>Overview</h1><script>x()</script>Text.`, []section{
			{"Write-Ahead Logging", "Intro."}, {"Overview", "Text."},
		}},
		{"text before the first heading, headings without text", "lost <h1>a</h1> <h2>b</h2> kept", []section{{"b", "kept"}}},
		{"no heading", "<p>text</p>", nil},
		{"empty", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := readSections(strings.NewReader(test.page))
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("readSections(%q) = %q, %v, want %q", test.page, got, err, test.want)
			}
		})
	}
}

func FuzzReadSections(f *testing.F) {
	f.Add("<h1>a</h1>b<h2>1. c</h2>d<pre>e")
	f.Add(`<div class="fancy_title">a<h1>b</h1></div>c<svg><h1>d`)
	f.Fuzz(func(t *testing.T, page string) {
		sections, err := readSections(strings.NewReader(page))
		if err != nil {
			return
		}
		for _, s := range sections {
			if s.heading == "" || s.text == "" || s.text != squeeze(s.text) {
				t.Errorf("readSections(%q) gave %q, want heading and text, squeezed", page, s)
			}
		}
	})
}
