package wire

import "time"

// MaxTaskName bounds the name of a task, bytes.
const MaxTaskName = 64

// Task asks a cell that was started for it to do a piece of work of the binary's own.
type Task struct {
	Remaining time.Duration // time left for it
	Output    int64         // most bytes that it may give
	Name      string        // of the work
	Input     []byte        // not copied
}

// Append appends the encoded message, without the input, to b. The input follows as
// the rest of the body.
func (m Task) Append(b []byte) []byte {
	b = appendI64(appendI64(b, int64(m.Remaining)), m.Output)
	return appendText(b, m.Name, MaxTaskName)
}

// DecodeTask decodes a Task. Its input is part of body.
func DecodeTask(body []byte) (Task, error) {
	f := fields{b: body}
	m := Task{Remaining: time.Duration(f.i64()), Output: f.i64(), Name: f.text(MaxTaskName)}
	m.Input = f.rest()
	return m, f.end("task")
}
