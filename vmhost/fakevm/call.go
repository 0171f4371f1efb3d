package fakevm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/tars-project/tars/vmhost"
)

// Call is one call of a [Func], and what the function may ask of its host. It
// belongs to the goroutine that runs the function.
type Call struct {
	Capability string
	Input      []byte

	src       vmhost.Source
	host      vmhost.HostFunc
	log       *vmhost.LogBook
	hostCalls int
	ended     error // what ended the call, whatever the function returns
}

func newCall(src vmhost.Source, req vmhost.Request) *Call {
	logs := src.Limits.Logs
	if !src.Grants.Log {
		logs = 0
	}
	return &Call{
		Capability: req.Capability,
		Input:      append([]byte(nil), req.Input...),
		src:        src,
		host:       req.Host,
		log:        vmhost.NewLogBook(logs),
	}
}

// Log adds a message to the call's log.
func (c *Call) Log(level int, text string) { c.log.Add(level, text) }

// Search is the host function of that name. The error is a *[vmhost.GuestError],
// or one that has ended the call: the function should return it.
func (c *Call) Search(ctx context.Context, request string) ([]byte, error) {
	return c.ask(ctx, c.src.Grants.Search, vmhost.HostCall{Func: "search", Text: request})
}

// Embed is the host function of that name, with errors as for [Call.Search].
func (c *Call) Embed(ctx context.Context, text string) ([]float32, error) {
	return floats(c.ask(ctx, c.src.Grants.Embed, vmhost.HostCall{Func: "embed", Text: text}))
}

// Vectors is the host function of that name, with errors as for [Call.Search].
func (c *Call) Vectors(ctx context.Context, leg, first, count uint32) ([]float32, error) {
	return floats(c.ask(ctx, c.src.Grants.Vectors, vmhost.HostCall{Func: "vectors", Leg: leg, First: first, Count: count}))
}

func (c *Call) ask(ctx context.Context, granted bool, call vmhost.HostCall) ([]byte, error) {
	switch {
	case c.ended != nil:
		return nil, c.ended
	case !granted:
		c.ended = fmt.Errorf("%w: %s is not granted", vmhost.ErrTrapped, call.Func)
		return nil, c.ended
	case c.hostCalls >= c.src.Limits.HostCalls:
		spent := vmhost.BudgetError{Budget: vmhost.BudgetHostCalls, Used: int64(c.hostCalls) + 1, Allowed: int64(c.src.Limits.HostCalls)}
		return nil, &vmhost.GuestError{Code: vmhost.CodeOverBudget, Message: spent.Error()}
	case c.host == nil:
		return nil, &vmhost.GuestError{Code: vmhost.CodeUnavailable, Message: "nothing answers host functions in this call"}
	}
	c.hostCalls++
	b, err := c.host(ctx, call)
	var refusal *vmhost.GuestError
	switch {
	case err == nil:
		return b, nil
	case errors.As(err, &refusal):
		return nil, refusal
	default:
		c.ended = err
		return nil, err
	}
}

// floats reads little-endian f32s.
func floats(b []byte, err error) ([]float32, error) {
	const size = 4
	if err != nil {
		return nil, err
	}
	list := make([]float32, len(b)/size)
	for i := range list {
		list[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[i*size:]))
	}
	return list, nil
}
