package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/tars-project/tars/knowledge"
)

// Bounds of a batch: one that is full has less than 8 MiB in JSON, whatever is in it.
const (
	batchTexts = 256
	batchBytes = 1 << 20
)

// lineBatch is some lines in a row.
type lineBatch struct {
	texts []string
	lines []int // number of each, from 1
	bytes int
	err   error // why there is no line after these; nil at the end, and when more follow
}

// batches reads lines, each a text, in order. A batch ends where the next line has not
// come yet, so that whoever writes lines one by one gets an answer to each. Reading
// stops with ctx or the loop: a reader that is blocked then is left to the end of the
// process, for nothing can wake it.
func batches(ctx context.Context, from io.Reader, skipEmpty bool) iter.Seq[lineBatch] {
	return func(yield func(lineBatch) bool) {
		next := make(chan lineBatch, 1)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer close(next)
			l := lines{from: bufio.NewReaderSize(from, batchBytes), skipEmpty: skipEmpty}
			for !l.ended {
				select {
				case next <- l.batch():
				case <-ctx.Done():
					return
				}
			}
		}()
		for {
			select {
			case b, ok := <-next:
				if !ok || !yield(b) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// lines are the lines of a reader.
type lines struct {
	from      *bufio.Reader
	skipEmpty bool
	number    int
	held      string // read, but for the next batch
	ended     bool
}

// batch reads the next batch, which is empty only with an error or at the end.
func (l *lines) batch() (b lineBatch) {
	for len(b.texts) < batchTexts && (len(b.texts) == 0 || l.held != "" || l.waiting()) {
		text := l.held
		l.held = ""
		if text == "" {
			var err error
			if text, err = l.next(); err != nil {
				l.ended = true
				if !errors.Is(err, io.EOF) {
					b.err = err
				}
				return b
			}
		}
		if b.bytes+len(text) > batchBytes && len(b.texts) > 0 {
			l.held = text
			return b
		}
		b.texts, b.lines, b.bytes = append(b.texts, text), append(b.lines, l.number), b.bytes+len(text)
	}
	return b
}

// waiting reports that another line is there already.
func (l *lines) waiting() bool {
	there, err := l.from.Peek(l.from.Buffered())
	return err == nil && bytes.IndexByte(there, '\n') >= 0
}

// next reads the next line that is a text. The last may lack its end.
func (l *lines) next() (string, error) {
	for {
		text, err := l.read()
		if err != nil {
			return "", err
		}
		l.number++
		switch {
		case len(text) > knowledge.MaxText:
			return "", fmt.Errorf("line %d: has more than %d bytes", l.number, knowledge.MaxText)
		case !utf8.ValidString(text):
			return "", fmt.Errorf("line %d: is not valid UTF-8", l.number)
		case strings.IndexByte(text, 0) >= 0:
			return "", fmt.Errorf("line %d: has a NUL character", l.number)
		case strings.TrimSpace(text) != "":
			return text, nil
		case !l.skipEmpty:
			return "", fmt.Errorf("line %d: is empty or white space; pass over such lines with --skip-empty", l.number)
		}
	}
}

// read reads up to the end of a line, and no more of a line that is too long than
// shows that it is.
func (l *lines) read() (string, error) {
	var line []byte
	for {
		part, err := l.from.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(line) <= knowledge.MaxText:
			continue
		case errors.Is(err, bufio.ErrBufferFull), err == nil, errors.Is(err, io.EOF) && len(line) > 0:
			return string(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))), nil
		}
		return "", err
	}
}
