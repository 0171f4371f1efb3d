//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/tars-project/tars/vmhost"
)

// behaviour is a guest or a taken-over worker that does something to the host.
type behaviour func(ctx context.Context, req vmhost.Request) (vmhost.Reply, error)

func behaviours() map[string]behaviour {
	return map[string]behaviour{
		"ask":         ask,
		"stuck":       func(context.Context, vmhost.Request) (vmhost.Reply, error) { select {} },
		"flood-wire":  raw(strings.Repeat("x", 1<<20)),
		"huge-frame":  raw("\xff\xff\xff\xff\x06\x00\x00\x00\x01\x00\x00\x00"),
		"unknown-id":  raw("\x00\x00\x00\x00\x06\x00\x00\x00\x77\x00\x00\x00"),
		"more-logs":   raw(strings.Repeat("\x40\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00"+strings.Repeat("l", 64), 1000)),
		"second-hi":   raw("\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"),
		"pong":        raw("\x00\x00\x00\x00\x0d\x00\x00\x00\x00\x00\x00\x00"),
		"close-wire":  closeWire,
		"panic":       func(context.Context, vmhost.Request) (vmhost.Reply, error) { return vmhost.Reply{}, panicElsewhere() },
		"false-usage": falseUsage,
		"burn-on":     burnOn,
		"spin":        func(context.Context, vmhost.Request) (vmhost.Reply, error) { return vmhost.Reply{}, atLoad("spin") },
	}
}

func ask(ctx context.Context, req vmhost.Request) (vmhost.Reply, error) {
	out, err := req.Host(ctx, vmhost.HostCall{Func: "search", Text: string(req.Input)})
	return vmhost.Reply{Output: out}, err
}

// raw writes bytes to the wire past all rules, then waits for what comes of it.
func raw(bytes string) behaviour {
	return func(ctx context.Context, _ vmhost.Request) (vmhost.Reply, error) {
		b := []byte(bytes)
		for len(b) > 0 {
			n, err := unix.Write(3, b)
			if errors.Is(err, unix.EAGAIN) {
				continue
			}
			if err != nil {
				return vmhost.Reply{}, err
			}
			b = b[n:]
		}
		<-ctx.Done()
		return vmhost.Reply{}, ctx.Err()
	}
}

func closeWire(ctx context.Context, _ vmhost.Request) (vmhost.Reply, error) {
	if err := unix.Close(3); err != nil {
		return vmhost.Reply{}, err
	}
	<-ctx.Done()
	return vmhost.Reply{}, ctx.Err()
}

// panicElsewhere dies in a goroutine that nobody guards.
func panicElsewhere() error {
	var g sync.WaitGroup
	g.Go(func() { panic("the engine is broken") })
	g.Wait()
	return nil
}

func falseUsage(_ context.Context, req vmhost.Request) (vmhost.Reply, error) {
	const lie = 1 << 62
	return vmhost.Reply{
		Output: req.Input,
		Usage:  vmhost.Usage{VM: -lie, CPU: lie, PeakMemory: lie, HostCalls: lie, LogsDropped: -lie},
	}, nil
}

// burnOn answers and goes on computing.
func burnOn(_ context.Context, req vmhost.Request) (vmhost.Reply, error) {
	go func() {
		for {
			spin()
		}
	}()
	return vmhost.Reply{Output: req.Input}, nil
}

// atLoad does what a module does to the one who compiles it. The module's text
// says what.
func atLoad(module string) error {
	switch module {
	case "spin":
		for {
			spin()
		}
	case "eat":
		return eat()
	case "sleep":
		select {}
	case "panic":
		return panicElsewhere()
	case "refused":
		return &vmhost.RefusedError{Section: "code", Offset: 42, Detail: "too much of it"}
	default:
		return nil
	}
}

// eat takes memory as a compiler does, from the runtime, until there is none.
func eat() error {
	var held [][]byte
	for range 1 << 10 {
		b := make([]byte, 16<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		held = append(held, b)
	}
	return fmt.Errorf("there were %d pieces of 16 MiB", len(held))
}

// spin keeps a processor busy for a while.
//
//go:noinline
func spin() {
	x := 1
	for i := range 1 << 20 {
		x = x*31 + i
	}
	if x == 0 {
		panic("spin")
	}
}
