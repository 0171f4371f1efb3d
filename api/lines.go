package api

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ingest"
)

// maxLine is the most bytes of one line of an import.
const maxLine = 8 << 20

// lineReader gives the lines of an import. Its memory is that of one line.
type lineReader struct {
	r      *bufio.Reader
	whole  bool // a whole tenant is imported
	sum    hash.Hash
	number int64 // lines read
	bytes  int64 // bytes read
	buffer []byte
}

func newLineReader(r io.Reader, whole bool) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10), whole: whole, sum: sha256.New()}
}

// skip passes over what is done of an import. It returns an InvalidError when the
// body does not begin with it.
func (l *lineReader) skip(x knowledge.Import) error {
	n, err := io.CopyN(l.sum, l.r, x.Bytes)
	if err != nil && (!errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		return err
	}
	if n != x.Bytes || !bytes.Equal(l.sum.Sum(nil), x.Digest[:]) {
		return knowledge.Invalid("", "the body does not begin with the %d bytes that the import has done: it is another one", x.Bytes)
	}
	l.number, l.bytes = x.Lines, x.Bytes
	return nil
}

// same reads the rest of the body and reports whether it is the one that an import
// has finished.
func (l *lineReader) same(x knowledge.Import) (bool, error) {
	n, err := io.Copy(l.sum, io.LimitReader(l.r, x.Bytes+1))
	return n == x.Bytes && bytes.Equal(l.sum.Sum(nil), x.Digest[:]), err
}

// Next implements [ingest.Lines].
func (l *lineReader) Next() (ingest.Line, error) {
	for {
		text, tooLong, err := l.read()
		if err != nil {
			return ingest.Line{}, err
		}
		if len(text) == 0 && !tooLong {
			continue
		}
		line := ingest.Line{Number: l.number, Bytes: l.bytes}
		l.sum.Sum(line.Digest[:0])
		if tooLong {
			line.Err = knowledge.Invalid("", "is longer than %d MiB", maxLine>>20)
			return line, nil
		}
		l.decode(text, &line)
		return line, nil
	}
}

// read returns the next line without white space around it, which stays good
// until the next call. A line without its end counts only at the end of the body.
func (l *lineReader) read() (text []byte, tooLong bool, err error) {
	l.buffer = l.buffer[:0]
	read := 0
	for {
		piece, err := l.r.ReadSlice('\n')
		read += len(piece)
		l.sum.Write(piece)
		l.bytes += int64(len(piece))
		if read > maxLine+1 {
			tooLong = true
		} else {
			l.buffer = append(l.buffer, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && read > 0:
		case err != nil:
			return nil, false, err
		}
		l.number++
		return bytes.TrimSpace(l.buffer), tooLong, nil
	}
}

// decode sets what the line says, or what is wrong with it.
func (l *lineReader) decode(text []byte, line *ingest.Line) {
	var given body.ImportLine
	line.Err = body.Decode(bytes.NewReader(text), &given)
	switch {
	case line.Err != nil:
	case l.whole && (l.number == 1) != (given.Format != 0):
		line.Err = knowledge.Invalid("", "is not the first line of an export, or not where that must be")
	case !l.whole && given.Format != 0:
		line.Err = knowledge.Invalid("", "begins the export of a whole tenant; need that of a collection")
	default:
		line.Record, line.Collection, line.Alias, line.View = given.Record, given.Collection, given.Alias, given.View
		line.Last, line.Records = given.End, given.Count
		line.Source, line.Text = given.Source, given.Text
		if x := given.Document; x != nil {
			line.Document = &ingest.DocumentLine{Document: x.Document, SourceBytes: x.SourceBytes, TextBytes: x.TextBytes}
		}
	}
}
