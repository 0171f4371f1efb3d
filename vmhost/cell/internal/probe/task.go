//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/seal"
	"github.com/tars-project/tars/vmhost/cell/worker"
)

// tasks are what a task cell that was taken over does.
func tasks(left *seal.Report) map[string]worker.Task {
	return map[string]worker.Task{
		"echo": func(_ context.Context, in []byte) ([]byte, error) { return in, nil },
		"refuse": func(_ context.Context, in []byte) ([]byte, error) {
			return nil, &vmhost.RefusedError{Offset: -1, Detail: string(in)}
		},
		"fail":  func(context.Context, []byte) ([]byte, error) { return nil, errors.New("secret reason") },
		"panic": func(context.Context, []byte) ([]byte, error) { panic("secret reason") },
		"sleep": func(context.Context, []byte) ([]byte, error) {
			time.Sleep(time.Hour)
			return nil, nil
		},
		"spin": func(context.Context, []byte) ([]byte, error) {
			for n := 0; ; n++ {
				if n < 0 {
					return nil, nil
				}
			}
		},
		"eat": func(context.Context, []byte) ([]byte, error) {
			all := make([]byte, 1<<20)
			for len(all) < 1<<40 {
				all = append(all, bytes.Repeat([]byte{1}, len(all))...)
			}
			return all, nil
		},
		"flood": func(context.Context, []byte) ([]byte, error) { return make([]byte, 64<<20), nil },
		"attempt": func(_ context.Context, in []byte) ([]byte, error) {
			got, err := try(*left, strings.TrimSpace(string(in)))
			if err != nil {
				return nil, &vmhost.RefusedError{Offset: -1, Detail: err.Error()}
			}
			return []byte(got), nil
		},
	}
}
