package wazerovm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tars-project/tars/vmhost/vmhosttest"
	"github.com/tars-project/tars/vmhost/wasm"
	wt "github.com/tars-project/tars/vmhost/wasm/wasmtest"
)

// judge asks the engine whether a module is valid. The interpreter validates as
// the compiler does, and then costs little.
type judge struct{ wazero.Runtime }

func newJudge(tb testing.TB) judge {
	tb.Helper()
	background := context.Background()
	runtime := wazero.NewRuntimeWithConfig(background, wazero.NewRuntimeConfigInterpreter().
		WithCoreFeatures(api.CoreFeaturesV2|experimental.CoreFeaturesExtendedConst|experimental.CoreFeaturesTailCall).
		WithDebugInfoEnabled(false))
	tb.Cleanup(func() {
		if err := runtime.Close(background); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return judge{runtime}
}

// verdict returns why the engine refuses a module. It may panic over one.
func (j judge) verdict(module []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	compiled, err := j.CompileModule(context.Background(), module)
	if err != nil {
		return err
	}
	return compiled.Close(context.Background())
}

// What the parser and the engine may disagree on.
var (
	// engineOnly are reasons of the engine's that the parser leaves to it: the
	// types and numbers of operands, and which functions a ref.func may name.
	engineOnly = regexp.MustCompile(`cannot pop|trying to pop|missing$|type mismatch|too many results|not enough (results|params)|` +
		`cannot use \w+ as result type|undeclared function index \d+ for ref.func`)
	// parserOnly are reasons of the parser's for modules that the engine takes:
	// its limits and features, what a plugin must be, and numbers with bits set
	// beyond their size, which the specification forbids and the engine drops.
	parserOnly = regexp.MustCompile(`over the limit|is not accepted|the module must export|cannot be imported from|number over \d+ bits`)
	// lengths are the parser's reasons that have to do with how long things are.
	// A module that lies there may make the engine ask for all memory there is,
	// and is not shown to it.
	lengths = regexp.MustCompile(`ends too early|bytes are left|left over`)
)

// agreement counts what the two said.
type agreement struct{ accepted, refused, unseen int }

// compare checks that the parser and the engine agree on a module, but for what
// they may disagree on.
func (a *agreement) compare(tb testing.TB, j judge, what string, module []byte, limits wasm.Limits) {
	tb.Helper()
	_, err := wasm.Check(module, limits)
	var refused *wasm.Error
	if errors.As(err, &refused) && lengths.MatchString(refused.Detail) {
		a.unseen++
		return
	}
	engineErr := j.verdict(module)
	switch {
	case err == nil && engineErr == nil:
		a.accepted++
	case err != nil && engineErr != nil:
		a.refused++
	case err == nil && !engineOnly.MatchString(engineErr.Error()):
		tb.Errorf("%s: the parser accepts it, the engine says: %.300v", what, engineErr)
	case err != nil && !parserOnly.MatchString(err.Error()):
		tb.Errorf("%s: the engine accepts it, the parser says: %.300v", what, err)
	}
}

// mutants calls f with n mutants of a module, each of one to three changes that
// depend on the seed alone.
func mutants(module []byte, n int, seed uint64, f func(i int, mutant []byte)) {
	random := rand.New(rand.NewPCG(seed, uint64(len(module))))
	for i := range n {
		mutant := slices.Clone(module)
		for range 1 + random.IntN(3) {
			at := random.IntN(len(mutant))
			switch random.IntN(5) {
			case 0, 1:
				mutant[at] ^= 1 << random.IntN(8)
			case 2:
				mutant[at] = byte(random.Uint32())
			case 3:
				mutant = slices.Delete(mutant, at, min(len(mutant), at+1+random.IntN(4)))
			default:
				mutant = slices.Insert(mutant, at, byte(random.Uint32()))
			}
			if len(mutant) == 0 {
				break
			}
		}
		f(i, mutant)
	}
}

// TestParserAgreesWithEngine: over plugins of every toolchain, over random
// programs, and over mutants of both, the parser refuses what the engine refuses
// and nothing else, but for what they may disagree on.
func TestParserAgreesWithEngine(t *testing.T) {
	j := newJudge(t)
	var total agreement
	for language, n := range map[string]int{
		"assemblyscript": 300, "c": 200, "go": 2, "micropython": 20, "micropython-exceptions": 5, "quickjs": 10, "rust": 200, "zig": 200,
	} {
		module := vmhosttest.Language(t, language)
		limits := wasm.DefaultLimits()
		total.compare(t, j, language, module, limits)
		mutants(module, n, 1, func(i int, mutant []byte) {
			total.compare(t, j, fmt.Sprintf("%s, mutant %d", language, i), mutant, limits)
		})
	}
	limits := openLimits(nil)
	for seed := range uint64(100) {
		module := newProgram(seed).encode()
		total.compare(t, j, fmt.Sprintf("program %d", seed), module, limits)
		mutants(module, 30, seed, func(i int, mutant []byte) {
			total.compare(t, j, fmt.Sprintf("program %d, mutant %d", seed, i), mutant, limits)
		})
	}
	t.Logf("%+v", total)
	const least = 1_000
	if total.accepted < least || total.refused < least {
		t.Errorf("%d modules were accepted and %d refused by both, want at least %d of each", total.accepted, total.refused, least)
	}
}

// withShortData gives a random program data segments of one byte, so that it is
// the code that is mutated.
func withShortData(module []byte) []byte {
	data := func(segments ...[]byte) []byte {
		for i, s := range segments {
			segments[i] = append([]byte{1}, wt.Sized(s)...)
		}
		return wt.Section(wt.Data, wt.Vec(segments...))
	}
	large, small := segments()
	code := bytes.TrimSuffix(module, data(large, small))
	return append(code, data([]byte{1}, []byte{2})...)
}

// FuzzMeterKeepsValidity: what the engine takes, it takes with the meter in it,
// and what it refuses it refuses.
func FuzzMeterKeepsValidity(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(withShortData(newProgram(seed).encode()))
	}
	j := newJudge(f)
	limits := openLimits(nil)
	f.Fuzz(func(t *testing.T, module []byte) {
		if _, err := wasm.Check(module, limits); err != nil {
			return
		}
		want := j.verdict(module)
		metered, err := wasm.Meter(module, wasm.MeterOptions{Limits: limits, Stack: testStack})
		if err == nil {
			if _, err := wasm.Check(metered.Module, wasm.MeteredLimits(limits)); err != nil {
				t.Errorf("Check(metered) = %v, want no error", err)
			}
			err = j.verdict(metered.Module)
		}
		if (err == nil) != (want == nil) {
			t.Errorf("with the meter: %v, without: %v; want both or neither", err, want)
		}
	})
}
