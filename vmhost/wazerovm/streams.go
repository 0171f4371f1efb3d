package wazerovm

import (
	"bytes"

	"github.com/tars-project/tars/vmhost"
)

// The streams that a guest can write to.
const (
	standardOutput = iota
	standardError
	streamCount
)

// streams turns what a guest writes to standard output and standard error into
// log messages, one a line.
type streams struct {
	log   *vmhost.LogBook
	lines [streamCount][]byte // since the last line break, at most vmhost.MaxLogText bytes
}

// write takes bytes of a stream. A line is cut where log messages are cut.
func (s *streams) write(stream int, b []byte) {
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			s.keep(stream, b)
			return
		}
		s.keep(stream, b[:end])
		s.emit(stream)
		b = b[end+1:]
	}
}

func (s *streams) keep(stream int, b []byte) {
	room := vmhost.MaxLogText - len(s.lines[stream])
	s.lines[stream] = append(s.lines[stream], b[:min(len(b), room)]...)
}

// flush logs lines that were not ended.
func (s *streams) flush() {
	for i := range s.lines {
		if len(s.lines[i]) > 0 {
			s.emit(i)
		}
	}
}

func (s *streams) emit(stream int) {
	const info, warning = 1, 2
	level := info
	if stream == standardError {
		level = warning
	}
	s.log.Add(level, string(s.lines[stream]))
	s.lines[stream] = s.lines[stream][:0]
}
