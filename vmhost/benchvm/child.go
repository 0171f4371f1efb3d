package main

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// Each subject runs in a process of its own, so that one's garbage is not
// collected at the other's cost and memory can be told apart. The parent sends a
// setup, then orders; the child answers each.

// setup is the first thing that a child is told.
type setup struct {
	Subject string
	Job     job
}

// ready is its answer.
type ready struct {
	Compile time.Duration // to compile and make ready for calls
	Output  []byte        // of one call
	Err     string
}

// order asks for calls.
type order struct {
	Callers int
	Lasts   time.Duration
}

// batch is what came of an order. The series belong together by index.
type batch struct {
	Took                  time.Duration
	Inner, Outer, Restore []time.Duration
	Errors                int
	First                 string // the first of them
	PeakRSS               int64  // bytes, of the child and its cells together, since its start
}

// childFlag is the argument that makes this program a child.
const childFlag = "-child"

// runChild serves a parent until it closes the stream.
func runChild(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	decode, encode := gob.NewDecoder(in), gob.NewEncoder(out)
	var s setup
	if err := decode.Decode(&s); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	start := time.Now()
	r, err := open(ctx, s.Subject, s.Job)
	if err != nil {
		return encode.Encode(ready{Err: err.Error()})
	}
	defer func() { err = errors.Join(err, r.close()) }()
	compile := time.Since(start)
	first, err := r.call(ctx)
	if err != nil {
		return encode.Encode(ready{Err: err.Error()})
	}
	if err := encode.Encode(ready{Compile: compile, Output: first.output}); err != nil {
		return err
	}
	for {
		var o order
		if err := decode.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("order: %w", err)
		}
		b := obey(ctx, r, o, first.output)
		if b.PeakRSS, err = peakRSS(); err != nil {
			return err
		}
		if err := encode.Encode(b); err != nil {
			return err
		}
	}
}

// obey makes calls in a closed loop for a while. Each output must be want.
func obey(ctx context.Context, r runner, o order, want []byte) batch {
	parts := make([]batch, o.Callers)
	start := time.Now()
	end := start.Add(o.Lasts)
	var group sync.WaitGroup
	for i := range parts {
		group.Go(func() {
			for b, now := &parts[i], time.Now(); now.Before(end); {
				a, err := r.call(ctx)
				after := time.Now()
				if err == nil && !bytes.Equal(a.output, want) {
					err = fmt.Errorf("output %.100q, want %.100q", a.output, want)
				}
				if err != nil {
					b.Errors++
					b.First = err.Error()
				} else {
					b.Inner = append(b.Inner, a.inner)
					b.Outer = append(b.Outer, after.Sub(now))
					b.Restore = append(b.Restore, a.restore)
				}
				now = after
			}
		})
	}
	group.Wait()
	all := batch{Took: time.Since(start)}
	for _, b := range parts {
		all.add(b)
	}
	return all
}

// add takes over what another batch has, but for its time and its memory.
func (b *batch) add(other batch) {
	b.Inner = append(b.Inner, other.Inner...)
	b.Outer = append(b.Outer, other.Outer...)
	b.Restore = append(b.Restore, other.Restore...)
	b.Errors += other.Errors
	if b.First == "" {
		b.First = other.First
	}
}

// child is the parent's end of a child.
type child struct {
	subject string
	ready   ready
	cmd     *exec.Cmd
	in      io.WriteCloser
	encode  *gob.Encoder
	decode  *gob.Decoder
}

// startChild starts a child and waits until it takes orders.
func startChild(ctx context.Context, subject string, j job) (*child, error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", childFlag)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a child: %w", err)
	}
	c := &child{subject: subject, cmd: cmd, in: in, encode: gob.NewEncoder(in), decode: gob.NewDecoder(out)}
	err = c.encode.Encode(setup{subject, j})
	if err == nil {
		err = c.decode.Decode(&c.ready)
	}
	if err == nil && c.ready.Err != "" {
		err = errors.New(c.ready.Err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", subject, errors.Join(err, c.stop()))
	}
	return c, nil
}

// order has the child make calls.
func (c *child) order(o order) (batch, error) {
	var b batch
	err := c.encode.Encode(o)
	if err == nil {
		err = c.decode.Decode(&b)
	}
	if err != nil {
		return b, fmt.Errorf("%s: %w", c.subject, err)
	}
	return b, nil
}

// stop ends the child and waits for it.
func (c *child) stop() error {
	c.in.Close()
	return c.cmd.Wait()
}
