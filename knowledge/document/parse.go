package document

import (
	"context"
	"fmt"
	"mime"
	"path"
	"slices"
	"strings"

	"github.com/tars-project/tars/knowledge"
)

// The media types that Parse reads.
const (
	Plain    = "text/plain"
	Markdown = "text/markdown"
	HTML     = "text/html"
	PDF      = "application/pdf"
	DOCX     = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

	xhtml = "application/xhtml+xml" // as HTML
)

// Supported lists the media types that [Parse] reads.
func Supported() []string { return []string{Plain, Markdown, HTML, xhtml, PDF, DOCX} }

// Limits bound what is read of one document. A zero field means its default.
type Limits struct {
	Source   int // bytes of the document; 32 MiB
	Text     int // bytes of its text, and of each stream or file that it packs; 16 MiB
	Blocks   int // 500,000
	Segments int // 4,000,000
	Pages    int // of a PDF; 10,000
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{{&l.Source, 32 << 20}, {&l.Text, 16 << 20}, {&l.Blocks, 500_000}, {&l.Segments, 4_000_000}, {&l.Pages, 10_000}} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return l
}

// MediaType checks a media type, with parameters, and returns it without these and in
// lower case, xhtml as [HTML]. It returns an [knowledge.InvalidError] without a field
// for one that Parse does not read.
func MediaType(s string) (mediaType string, parameters map[string]string, err error) {
	mediaType, parameters, err = mime.ParseMediaType(s)
	if err != nil || !slices.Contains(Supported(), mediaType) {
		return "", nil, knowledge.Invalid("", "is not a type of document that is read; need one of %s", strings.Join(Supported(), ", "))
	}
	if mediaType == xhtml {
		mediaType = HTML
	}
	return mediaType, parameters, nil
}

// MediaTypeOf tells the media type of a file by the end of its name, and whether it
// is known.
func MediaTypeOf(name string) (string, bool) {
	switch strings.ToLower(path.Ext(name)) {
	case ".txt", ".text", ".log":
		return Plain, true
	case ".md", ".markdown", ".mdown":
		return Markdown, true
	case ".html", ".htm", ".xhtml":
		return HTML, true
	case ".pdf":
		return PDF, true
	case ".docx":
		return DOCX, true
	}
	return "", false
}

// Parse reads the text of a document. It returns an [knowledge.InvalidError] without
// a field for one that is not what its media type says, is broken or encrypted, has no
// text, or passes a limit; and ctx's error when that ends first. It may use several
// times the memory that the limits give the text. Formats other than plain text and
// Markdown are read by code that trusts its input too much for a process that does
// anything else: run it where it can do no harm.
func Parse(ctx context.Context, mediaType string, source []byte, limits Limits) (t Text, err error) {
	limits = limits.withDefaults()
	kind, parameters, err := MediaType(mediaType)
	if err != nil {
		return Text{}, err
	}
	switch {
	case len(source) == 0:
		return Text{}, knowledge.Invalid("", "is empty")
	case len(source) > limits.Source:
		return Text{}, knowledge.Invalid("", "has %d bytes; at most %d are allowed", len(source), limits.Source)
	}
	defer func() { // libraries that read hostile files panic now and then
		if v := recover(); v != nil {
			t, err = Text{}, broken(kind, fmt.Sprint(v))
		}
	}()
	b := &builder{ended: ctx.Err, limits: limits}
	switch kind {
	case PDF:
		err = b.readPDF(source)
	case DOCX:
		err = b.readDOCX(source)
	default:
		err = b.readText(kind, parameters["charset"], source)
	}
	if err == nil {
		err = b.err
	}
	if err != nil {
		return Text{}, err
	}
	return b.finish(kind)
}

// broken is the error of a document that cannot be read.
func broken(kind, why string) error {
	const most = 200
	if len(why) > most {
		why = why[:most]
	}
	return knowledge.Invalid("", "cannot be read as %s: %s", kind, strings.ToValidUTF8(why, "?"))
}

// finish checks the text that was built.
func (b *builder) finish(kind string) (Text, error) {
	t := Text{Title: oneLine(b.title), Text: b.text.String(), Blocks: b.blocks, Segments: b.segments}
	if !slices.ContainsFunc(t.Blocks, func(x Block) bool { return strings.TrimSpace(t.Text[x.Start:x.End]) != "" }) {
		if kind == PDF {
			return Text{}, knowledge.Invalid("", "has no text; the pages of a scanned PDF are pictures, which are not read")
		}
		return Text{}, knowledge.Invalid("", "has no text")
	}
	if err := t.Check(); err != nil {
		return Text{}, broken(kind, err.Error())
	}
	return t, nil
}

// oneLine has the words of a title, with one space between them.
func oneLine(s string) string {
	const most = 500
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "�")), " ")
	s = strings.ReplaceAll(s, "\x00", "")
	for i := range s {
		if i > most {
			return strings.TrimSpace(s[:i]) + "…"
		}
	}
	return s
}
