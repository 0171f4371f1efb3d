package tars

import (
	"encoding/json"
	"fmt"
)

// Registered is what a registration returns, so that it can stand in a
// declaration: var _ = tars.Rank(rank).
type Registered struct{}

// Handler does one call of a capability on the documents as bytes. The input
// is valid until it returns; the output should be a document in UTF-8.
type Handler func(ctx *Context, input []byte) (output []byte, err error)

// plugin is what the module's exports serve. Registrations fill it while
// package variables are initialised; from then on it is only read. It is a
// package variable because an export of a module has no receiver.
var plugin registry

// Rank registers the function that scores candidates. It must be called while
// package variables are initialised, and panics if rank has a function
// already.
func Rank(fn func(ctx *Context, in RankInput) (RankOutput, error)) Registered {
	plugin.warm = append(plugin.warm, warmRank)
	return Handle("rank", rankHandler(fn))
}

// Merge registers the function that fuses what the legs of a query found. It must
// be called while package variables are initialised, and panics if merge has a
// function already.
func Merge(fn func(ctx *Context, in MergeInput) (MergeOutput, error)) Registered {
	plugin.warm = append(plugin.warm, warmMerge)
	return Handle("merge", mergeHandler(fn))
}

// Synthesize registers the function that answers from passages. It must be
// called while package variables are initialised, and panics if synthesize has
// a function already.
func Synthesize(fn func(ctx *Context, in SynthesizeInput) (SynthesizeOutput, error)) Registered {
	plugin.warm = append(plugin.warm, warmSynthesize)
	return Handle("synthesize", synthesizeHandler(fn))
}

// Chunk registers the function that cuts documents into passages. It must be
// called while package variables are initialised, and panics if chunk has a
// function already.
func Chunk(fn func(ctx *Context, in ChunkInput) (ChunkOutput, error)) Registered {
	plugin.warm = append(plugin.warm, warmChunk)
	return Handle("chunk", chunkHandler(fn))
}

// Handle registers a handler for a capability by name, for those that the SDK
// has no structs for; the name "*" stands for every capability that has none of
// its own. It must be called while package variables are initialised, and
// panics if the capability has a handler already.
func Handle(capability string, h Handler) Registered {
	plugin.add(capability, h)
	return Registered{}
}

// anyCapability is the name under which a handler serves all that have none.
const anyCapability = "*"

// registry holds the handlers of a plugin by capability.
type registry struct {
	handlers map[string]Handler
	stages   map[string]Handler // of guard
	warm     []func()           // what warms up for their documents
}

func (r *registry) add(capability string, h Handler) {
	if _, ok := r.handlers[capability]; ok {
		panic(fmt.Sprintf("tars: capability %q has two handlers", capability))
	}
	if r.handlers == nil {
		r.handlers = make(map[string]Handler)
	}
	r.handlers[capability] = h
}

// call runs the handler of the capability. A panic of the handler becomes an
// error; what Go cannot recover from (a stack or a heap that is exhausted, a
// panic in another goroutine) ends the module, and the host sees a trap.
func (r *registry) call(capability string, input []byte) (output []byte, failure *Error) {
	h, ok := r.handlers[capability]
	if !ok {
		h, ok = r.handlers[anyCapability]
	}
	if !ok {
		return nil, &Error{Code: CodeUnsupported, Message: fmt.Sprintf("no capability %q", capability)}
	}
	defer func() {
		if v := recover(); v != nil {
			output, failure = nil, asError(&Error{Code: CodePanic, Message: fmt.Sprint(v)})
		}
	}()
	output, err := h(&Context{Capability: capability}, input)
	if err != nil {
		return nil, asError(err)
	}
	return output, nil
}

func rankHandler(fn func(*Context, RankInput) (RankOutput, error)) Handler {
	return typed(fn, func(in *RankInput) *int { return &in.ABI }, func(out *RankOutput) { present(&out.Scores) })
}

func mergeHandler(fn func(*Context, MergeInput) (MergeOutput, error)) Handler {
	return typed(fn, func(in *MergeInput) *int { return &in.ABI }, func(out *MergeOutput) { present(&out.Scores) })
}

func synthesizeHandler(fn func(*Context, SynthesizeInput) (SynthesizeOutput, error)) Handler {
	return typed(fn, func(in *SynthesizeInput) *int { return &in.ABI }, func(out *SynthesizeOutput) { present(&out.Citations) })
}

func chunkHandler(fn func(*Context, ChunkInput) (ChunkOutput, error)) Handler {
	return typed(fn, func(in *ChunkInput) *int { return &in.ABI }, func(out *ChunkOutput) { present(&out.Passages) })
}

// typed makes a handler of a function over a capability's structs. abi is where an
// input's version stands; complete, if not nil, fills in what an output must have.
func typed[In, Out any](fn func(*Context, In) (Out, error), abi func(*In) *int, complete func(*Out)) Handler {
	return func(ctx *Context, input []byte) ([]byte, error) {
		var in In
		if err := decode(input, &in, abi(&in)); err != nil {
			return nil, err
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		if complete != nil {
			complete(&out)
		}
		return encode(out)
	}
}

// present makes a list an array, which is never null.
func present[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}

// decode reads a document into a struct; abi is where its version comes to stand. Unknown
// members are let through: minor versions add some.
func decode(input []byte, into any, abi *int) error {
	var err error
	if d, ok := into.(document); ok {
		err = (&reader{data: input}).document(d)
	} else {
		err = json.Unmarshal(input, into)
	}
	if err != nil {
		return &Error{Code: CodeBadInput, Message: err.Error()}
	}
	if *abi != ABI {
		return &Error{Code: CodeUnsupported, Message: fmt.Sprintf("documents of abi %d; this plugin speaks %d", *abi, ABI)}
	}
	return nil
}

func encode(document any) ([]byte, error) {
	output, err := json.Marshal(document)
	if err != nil {
		return nil, &Error{Code: CodeBadOutput, Message: err.Error()}
	}
	return output, nil
}
