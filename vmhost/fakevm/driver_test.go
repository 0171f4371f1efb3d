package fakevm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/fakevm"
	"github.com/tars-project/tars/vmhost/vmhosttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDriver(t *testing.T) {
	vmhosttest.Run(t, vmhosttest.Harness{
		New: func(testing.TB) vmhost.Driver { return fakevm.New(guests()) },
		Module: func(_ testing.TB, name string) []byte {
			imports := map[string][]string{
				"log": {"log"}, "logflood": {"log"}, "search": {"search"}, "searches": {"search"},
				"searchlong": {"search"}, "searchloop": {"search"}, "embed": {"embed"}, "vectors": {"vectors"},
			}
			return fakevm.Module(name, imports[name]...)
		},
	})
}

// guests do in Go what the guests of the suite do.
func guests() map[string]fakevm.Func {
	return map[string]fakevm.Func{
		"echo": func(_ context.Context, c *fakevm.Call) ([]byte, error) { return c.Input, nil },
		// A function of Go keeps nothing from call to call unless it tries.
		"state": func(context.Context, *fakevm.Call) ([]byte, error) { return []byte("11"), nil },
		"trap":  when(func(context.Context) ([]byte, error) { panic("as asked") }),
		"loop":  when(func(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }),
		"hog":   when(func(context.Context) ([]byte, error) { return nil, vmhost.ErrMemory }),
		"flood": when(func(context.Context) ([]byte, error) { return make([]byte, 1<<20), nil }),
		"binary": when(func(context.Context) ([]byte, error) {
			return []byte("ab\xff\xfe"), nil
		}),
		"refusal": when(func(context.Context) ([]byte, error) {
			return nil, &vmhost.GuestError{Code: "bad-config", Message: "no weight"}
		}),
		"log": func(_ context.Context, c *fakevm.Call) ([]byte, error) {
			c.Log(9, string(c.Input))
			c.Log(0, "")
			return c.Input, nil
		},
		"logflood": func(_ context.Context, c *fakevm.Call) ([]byte, error) {
			for range 10_000 {
				c.Log(1, string(c.Input))
			}
			return c.Input, nil
		},
		"search": func(ctx context.Context, c *fakevm.Call) ([]byte, error) { return c.Search(ctx, string(c.Input)) },
		"searches": func(ctx context.Context, c *fakevm.Call) (b []byte, err error) {
			for range 6 {
				b, err = c.Search(ctx, string(c.Input))
			}
			return b, err
		},
		"searchlong": func(ctx context.Context, c *fakevm.Call) ([]byte, error) {
			return c.Search(ctx, strings.Repeat("\x00", 64<<10+1))
		},
		"searchloop": func(ctx context.Context, c *fakevm.Call) ([]byte, error) {
			if _, err := c.Search(ctx, string(c.Input)); err != nil {
				return nil, err
			}
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"embed":   func(ctx context.Context, c *fakevm.Call) ([]byte, error) { return text(c.Embed(ctx, string(c.Input))) },
		"vectors": func(ctx context.Context, c *fakevm.Call) ([]byte, error) { return text(c.Vectors(ctx, 7, 1<<32-1, 3)) },
	}
}

// when is a guest that does something if its input begins with "!", else echoes.
func when(f func(context.Context) ([]byte, error)) fakevm.Func {
	return func(ctx context.Context, c *fakevm.Call) ([]byte, error) {
		if bytes.HasPrefix(c.Input, []byte("!")) {
			return f(ctx)
		}
		return c.Input, nil
	}
}

// text is floats as the bytes that they are in memory.
func text(list []float32, err error) ([]byte, error) {
	var b []byte
	for _, f := range list {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b, err
}
