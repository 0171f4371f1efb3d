//go:build linux && (amd64 || arm64)

package cell_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
)

// task is one with limits that a busy machine keeps.
func task(name, input string) cell.TaskRequest {
	return cell.TaskRequest{
		Account: "test", Name: name, Input: []byte(input),
		Limits: cell.TaskLimits{Memory: 256 << 20, CPU: 20 * time.Second, Wall: 30 * time.Second, Output: 4 << 20},
	}
}

func TestTask(t *testing.T) {
	d := newDriver(t, binProbe, nil)
	big := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16) // as large as the answer may be
	for _, input := range [][]byte{nil, []byte("hello"), big} {
		req := task("echo", string(input))
		if got, err := d.Do(t.Context(), req); err != nil || !bytes.Equal(got, input) {
			t.Errorf("Do(echo) = %d bytes, %v, want the %d of the input", len(got), err, len(input))
		}
	}
	noCells(t)
}

// noCells fails when a cell is left.
func noCells(t *testing.T) {
	t.Helper()
	if left := children(os.Getpid()); len(left) != 0 {
		t.Errorf("cells %v are left, want none", left)
	}
}

// TestTaskRefusals: whatever its input makes of a task, the answer says what passed
// which limit, and nothing of what went on inside.
func TestTaskRefusals(t *testing.T) {
	d := newDriver(t, binProbe, nil)
	for _, test := range []struct {
		name, input string
		change      func(*cell.TaskLimits)
		want        string
	}{
		{"refuse", "page 7 is torn", nil, "page 7 is torn"},
		{"fail", "", nil, "it cannot be read"},
		{"panic", "", nil, "what it was read by died of it"},
		{"sleep", "", func(l *cell.TaskLimits) { l.Wall = 300 * time.Millisecond }, "took longer than 300ms"},
		{"spin", "", func(l *cell.TaskLimits) { l.CPU = 300 * time.Millisecond }, "of CPU time, 300ms are allowed"},
		{"eat", "", func(l *cell.TaskLimits) { l.Memory = 64 << 20 }, "67108864 bytes of memory that are allowed"},
		{"flood", "", nil, "more than the 4194304 bytes that are allowed"},
		{"echo", "12345", func(l *cell.TaskLimits) { l.Output = 4 }, "more than the 4 bytes that are allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := task(test.name, test.input)
			if test.change != nil {
				test.change(&req.Limits)
			}
			got, err := d.Do(t.Context(), req)
			var no *vmhost.RefusedError
			if got != nil || !errors.As(err, &no) || !strings.Contains(no.Detail, test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("Do(%s) = %d bytes, %v, want a RefusedError with %q", test.name, len(got), err, test.want)
			}
			noCells(t)
		})
	}
	if _, err := d.Do(t.Context(), task("no-such-task", "")); !errors.Is(err, vmhost.ErrUnavailable) {
		t.Errorf("Do of a task that the binary lacks = %v, want ErrUnavailable", err)
	}
	if _, err := d.Do(t.Context(), cell.TaskRequest{Account: "test", Name: "echo"}); err == nil {
		t.Error("Do without limits = nil, want an error")
	}
}

func TestTaskCancelled(t *testing.T) {
	d := newDriver(t, binProbe, func(o *cell.Options) { o.Tasks = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for range 3 { // one runs, two wait for their turn
		wait.Go(func() {
			if _, err := d.Do(ctx, task("sleep", "")); !errors.Is(err, context.Canceled) {
				t.Errorf("Do(cancelled) = %v, want context.Canceled", err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // for one of them to run; without it the test is only weaker
	cancel()
	wait.Wait()
	noCells(t)
	if got, err := d.Do(t.Context(), task("echo", "x")); err != nil || string(got) != "x" {
		t.Errorf("Do after it = %q, %v, want x", got, err)
	}
}

// TestTasksAtOnce: many tasks of some accounts all get their own answers.
func TestTasksAtOnce(t *testing.T) {
	d := newDriver(t, binProbe, func(o *cell.Options) { o.Tasks = 3 })
	var wait sync.WaitGroup
	for i := range 24 {
		wait.Go(func() {
			req := task("echo", fmt.Sprint(i))
			req.Account = vmhost.Account(fmt.Sprint("account-", i%4))
			if got, err := d.Do(t.Context(), req); err != nil || string(got) != fmt.Sprint(i) {
				t.Errorf("Do(%d) = %q, %v, want the number", i, got, err)
			}
		})
	}
	wait.Wait()
	noCells(t)
}

// TestTaskEscapes: code that has taken over a task cell gets no further than in one
// that runs guests.
func TestTaskEscapes(t *testing.T) {
	for _, lite := range []bool{false, true} {
		t.Run(map[bool]string{false: "here", true: "without namespaces"}[lite], func(t *testing.T) {
			if lite {
				runHost(t, "task-escapes", withoutNamespaces)
				return
			}
			testTaskEscapes(t, newDriver(t, binProbe, nil))
		})
	}
}

func testTaskEscapes(t testing.TB, d *cell.Driver) {
	for want := range fates {
		for _, attempt := range attemptsWith(want) {
			if attempt == "threads" || attempt == "memory" || attempt == "stderr-flood" {
				continue // what the limits are for; the last one's fate is not seen here
			}
			req := task("attempt", attempt)
			got, err := d.Do(context.Background(), req)
			var no *vmhost.RefusedError
			held := errors.As(err, &no)
			if strings.Contains(want, "SIGSYS") {
				held = held && strings.Contains(no.Detail, "died of it")
			} else if held {
				held = false
				for _, end := range strings.Split(want+"|denied: EPERM", "|") { // it may open no file at all
					held = held || strings.HasSuffix(no.Detail, end)
				}
			}
			if !held {
				t.Errorf("%s in a task = %q, %v, want %s", attempt, got, err, want)
			}
		}
	}
}
