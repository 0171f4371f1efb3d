package vmhost_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/fakevm"
)

// BenchmarkHostCall is what the host adds to a call of a guest that does nothing:
// one caller, several with slots for all, and more callers of several accounts
// than there are slots.
func BenchmarkHostCall(b *testing.B) {
	for _, c := range []struct {
		name            string
		slots, accounts int
		callers         int // for each processor; 0: one, and no more
	}{
		{"alone", 8, 1, 0},
		{"uncontended", 256, 4, 4},
		{"contended", 1, 8, 32},
	} {
		b.Run(c.name, func(b *testing.B) {
			module := fakevm.Module("f")
			driver := fakevm.New(map[string]fakevm.Func{"f": func(_ context.Context, c *fakevm.Call) ([]byte, error) { return c.Input, nil }})
			host, err := vmhost.New(driver, vmhost.Options{Slots: c.slots, MaxLimits: limits()})
			if err != nil {
				b.Fatal(err)
			}
			defer host.Close(context.Background()) //nolint:errcheck // of functions
			guests := make([]*vmhost.Guest, c.accounts)
			for i := range guests {
				src := vmhost.Source{Account: vmhost.Account(fmt.Sprint("account ", i)), Module: module, Digest: vmhost.DigestOf(module), Limits: limits()}
				if guests[i], err = host.Load(context.Background(), src); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			if c.callers == 0 {
				for b.Loop() {
					if _, err := guests[0].Call(context.Background(), request("x")); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			var next atomic.Int64
			b.SetParallelism(c.callers)
			b.RunParallel(func(pb *testing.PB) {
				guest := guests[int(next.Add(1))%len(guests)]
				for pb.Next() {
					if _, err := guest.Call(context.Background(), request("x")); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
