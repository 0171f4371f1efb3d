package plugins

import (
	"context"
	"encoding/binary"
	"errors"
	"math"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/vmhost"
)

// hostCalls answers what a plugin asks of its host during one call. It goes the
// same ways as the REST API does, under the call's context: a plugin sees no more
// than who called it. That a function is granted and how often it may be called
// is vmhost's to see to.
type hostCalls struct {
	rest    rest
	tenant  knowledge.TenantID
	handout *query.Handout // nil outside of a query
}

// answer is a [vmhost.HostFunc]. The arguments come from a guest.
func (h hostCalls) answer(ctx context.Context, call vmhost.HostCall) ([]byte, error) {
	var (
		out []byte
		err error
	)
	switch {
	case call.Func == "search" && h.rest != nil:
		out, err = h.rest.Search(ctx, h.tenant, []byte(call.Text))
	case call.Func == "embed" && h.handout != nil:
		var vector []float32
		vector, err = h.handout.Embed(ctx, call.Text)
		out = littleEndian(vector)
	case call.Func == "vectors" && h.handout != nil:
		out, err = h.handout.Vectors(call.Leg, call.First, call.Count)
	default:
		return nil, &vmhost.GuestError{Code: vmhost.CodeInvalid, Message: "only a query answers this"}
	}
	if err != nil {
		return nil, hostError(ctx, err)
	}
	return out, nil
}

// hostError is what a guest hears of an error. What it can do nothing about ends
// its call instead, and the query with it: the store must answer.
func hostError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	var (
		invalid *knowledge.InvalidError
		denied  *knowledge.ForbiddenError
		unknown *knowledge.NotFoundError
	)
	switch {
	case errors.As(err, &invalid):
		return &vmhost.GuestError{Code: vmhost.CodeInvalid, Message: invalid.Error()}
	case errors.As(err, &denied):
		return &vmhost.GuestError{Code: vmhost.CodeInvalid, Message: denied.Error()}
	case errors.As(err, &unknown):
		return &vmhost.GuestError{Code: vmhost.CodeNotFound, Message: "there is no such " + unknown.Kind}
	case errors.Is(err, knowledge.ErrNotFound):
		return &vmhost.GuestError{Code: vmhost.CodeNotFound, Message: "there is no such thing"}
	case errors.Is(err, knowledge.ErrLimit), errors.Is(err, knowledge.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return &vmhost.GuestError{Code: vmhost.CodeUnavailable, Message: "it may succeed later"}
	default:
		return err
	}
}

func littleEndian(vector []float32) []byte {
	out := make([]byte, 0, 4*len(vector))
	for _, x := range vector {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
	}
	return out
}
