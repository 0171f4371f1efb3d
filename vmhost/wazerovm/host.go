package wazerovm

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/wasm"
)

// hostFunction is the body of a function that guests import. The arguments are
// at the front of stack, and the result goes to stack[0].
type hostFunction func(ctx context.Context, v *vm, stack []uint64)

// link makes the modules that guests import from: WASI whole, of the host's
// functions those that are granted, and what the meter calls.
func (p *program) link(ctx context.Context, metered bool) error {
	types := wasm.PluginImports()
	if metered {
		if err := p.export(ctx, wasm.MeterModule, wasm.MeterImports(), meterFunctions()); err != nil {
			return err
		}
	}
	if err := p.export(ctx, wasm.WASIModule, types[wasm.WASIModule], wasiFunctions()); err != nil {
		return err
	}
	return p.export(ctx, wasm.HostModule, types[wasm.HostModule], granted(p.src.Grants))
}

// export makes one module of host functions.
func (p *program) export(ctx context.Context, module string, types map[string]wasm.FuncType, functions map[string]hostFunction) error {
	if len(functions) == 0 {
		return nil
	}
	builder := p.runtime.NewHostModuleBuilder(module)
	for name, f := range functions {
		t, ok := types[name]
		if !ok {
			return fmt.Errorf("%s.%s has no type", module, name)
		}
		body := api.GoFunc(func(ctx context.Context, stack []uint64) { f(ctx, vmOf(ctx), stack) })
		builder = builder.NewFunctionBuilder().
			WithGoFunction(body, valueTypes(t.Params), valueTypes(t.Results)).Export(name)
	}
	_, err := builder.Instantiate(ctx)
	return err
}

// granted returns the host functions that a program may import.
func granted(g vmhost.Grants) map[string]hostFunction {
	functions := make(map[string]hostFunction)
	for _, f := range []struct {
		name string
		ok   bool
		body hostFunction
	}{
		{"search", g.Search, hostSearch},
		{"embed", g.Embed, hostEmbed},
		{"vectors", g.Vectors, hostVectors},
		{"log", g.Log, hostLog},
	} {
		if f.ok {
			functions[f.name] = f.body
		}
	}
	return functions
}

// hostSearch is search: func(request: string) -> result<string, error>.
func hostSearch(ctx context.Context, v *vm, stack []uint64) {
	v.serve(ctx, uint32(stack[2]), stringAlign, func(view view) (vmhost.HostCall, error) {
		text, err := v.text(view, stack)
		return vmhost.HostCall{Func: "search", Text: text}, err
	})
}

// hostEmbed is embed: func(text: string) -> result<list<f32>, error>.
func hostEmbed(ctx context.Context, v *vm, stack []uint64) {
	v.serve(ctx, uint32(stack[2]), floatSize, func(view view) (vmhost.HostCall, error) {
		text, err := v.text(view, stack)
		return vmhost.HostCall{Func: "embed", Text: text}, err
	})
}

// hostVectors is vectors: func(leg: u32, first: u32, count: u32) ->
// result<list<f32>, error>.
func hostVectors(ctx context.Context, v *vm, stack []uint64) {
	v.serve(ctx, uint32(stack[3]), floatSize, func(view) (vmhost.HostCall, error) {
		return vmhost.HostCall{Func: "vectors", Leg: uint32(stack[0]), First: uint32(stack[1]), Count: uint32(stack[2])}, nil
	})
}

// hostLog is log: func(level: u8, message: string). Of a message only as much
// is looked at as a log line holds.
func hostLog(_ context.Context, v *vm, stack []uint64) {
	if v.phase != phaseRun && v.phase != phaseInit {
		v.end(v.trap("log called from inside the allocator or after the result"))
	}
	message, err := v.memory.view().span(uint32(stack[1]), uint32(stack[2]))
	if err != nil {
		v.end(v.trap("log: %v", err))
	}
	v.log.Add(int(uint8(stack[0])), string(cut(message, vmhost.MaxLogText)))
}

// text reads the string argument that stack begins with. A string over the
// input cap is the guest's error to handle, anything else ends the call.
func (v *vm) text(view view, stack []uint64) (string, error) {
	b, err := view.span(uint32(stack[0]), uint32(stack[1]))
	if err != nil {
		return "", v.trap("argument of a host function: %v", err)
	}
	if limit := v.program.src.Limits.Input; int64(len(b)) > limit {
		return "", &vmhost.GuestError{Code: vmhost.CodeInvalid, Message: fmt.Sprintf("%d bytes, at most %d", len(b), limit)}
	}
	if !utf8.Valid(b) {
		return "", v.trap("argument of a host function: not UTF-8")
	}
	return string(b), nil
}

// serve answers one call of a host function: it reads the arguments, asks the
// host within the budget, and puts the result, whose elements are aligned to
// align bytes, at ret.
func (v *vm) serve(ctx context.Context, ret, align uint32, read func(view) (vmhost.HostCall, error)) {
	if v.phase != phaseRun {
		// Also what keeps the depth of calls between host and guest at
		// two: a cabi_realloc that calls host functions would go on for
		// ever otherwise.
		v.end(v.trap("host function called outside handle"))
	}
	if _, err := v.memory.view().result(ret); err != nil {
		v.end(v.trap("host function: %v", err))
	}
	call, err := read(v.memory.view())
	var answer []byte
	if err == nil {
		answer, err = v.ask(ctx, call)
	}
	if err == nil {
		err = v.checkAnswer(call, answer)
	}
	var refusal *vmhost.GuestError
	switch {
	case err == nil:
		err = v.giveOK(ctx, ret, align, answer)
	case errors.As(err, &refusal):
		err = v.giveError(ctx, ret, refusal)
	}
	if err != nil {
		v.end(err)
	}
}

// ask hands a call to the host. The budget counts calls that are let through; of
// their size and their time the host itself keeps account.
func (v *vm) ask(ctx context.Context, call vmhost.HostCall) (answer []byte, err error) {
	switch limit := v.program.src.Limits.HostCalls; {
	case v.hostCalls >= limit:
		spent := vmhost.BudgetError{Budget: vmhost.BudgetHostCalls, Used: int64(v.hostCalls) + 1, Allowed: int64(limit)}
		return nil, &vmhost.GuestError{Code: vmhost.CodeOverBudget, Message: spent.Error()}
	case v.host == nil:
		return nil, &vmhost.GuestError{Code: vmhost.CodeUnavailable, Message: "nothing answers host functions in this call"}
	}
	v.hostCalls++
	v.cpu.without(func() { answer, err = v.host(ctx, call) })
	return answer, err
}

// checkAnswer holds the host to the types of the world.
func (v *vm) checkAnswer(call vmhost.HostCall, answer []byte) error {
	switch {
	case call.Func == "search" && !utf8.Valid(answer):
		return errors.New("host function search: the answer is not UTF-8")
	case call.Func != "search" && len(answer)%floatSize != 0:
		return fmt.Errorf("host function %s: %d bytes are no list of f32", call.Func, len(answer))
	default:
		return nil
	}
}

func (v *vm) giveOK(ctx context.Context, ret, align uint32, answer []byte) error {
	ptr, err := v.lower(ctx, align, answer)
	if err != nil {
		return err
	}
	place, err := v.memory.view().result(ret) // anew: lower may have grown the memory
	if err != nil {
		return v.trap("host function: %v", err)
	}
	storeOK(place, ptr, uint32(len(answer))/align)
	return nil
}

func (v *vm) giveError(ctx context.Context, ret uint32, e *vmhost.GuestError) error {
	code := []byte(vmhost.CutText(e.Code, vmhost.MaxErrorCode))
	message := []byte(vmhost.CutText(e.Message, vmhost.MaxErrorMessage))
	codePtr, err := v.lower(ctx, stringAlign, code)
	if err != nil {
		return err
	}
	messagePtr, err := v.lower(ctx, stringAlign, message)
	if err != nil {
		return err
	}
	place, err := v.memory.view().result(ret)
	if err != nil {
		return v.trap("host function: %v", err)
	}
	storeError(place, codePtr, uint32(len(code)), messagePtr, uint32(len(message)))
	return nil
}
