package wasm_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tars-project/tars/vmhost/vmhosttest"
	"github.com/tars-project/tars/vmhost/wasm"
)

// TestLanguageModules: what every toolchain makes is accepted, and refused when
// it is cut off, at the end of a section or elsewhere.
func TestLanguageModules(t *testing.T) {
	for _, language := range vmhosttest.Languages() {
		module := vmhosttest.Language(t, language)
		got, err := wasm.Check(module, wasm.DefaultLimits())
		if err != nil {
			t.Errorf("Check(%s) = %v, want no error", language, err)
			continue
		}
		for _, i := range got.Imports {
			if i.Module != wasm.WASIModule {
				t.Errorf("%s imports %s of %s, want WASI alone: the plugin asks nothing of the host", language, i.Name, i.Module)
			}
		}
		sections := ends(module)
		const spread = 50
		for i := range spread {
			if n := len(module) * i / spread; !sections[n] {
				refusal(t, module[:n], wasm.DefaultLimits())
			}
		}
		for n := range sections {
			refusal(t, module[:n-1], wasm.DefaultLimits())
		}
	}
}

// TestFlippedBitsOfLanguages: a module of each toolchain with one bit flipped, a
// thousand times over in all, is accepted or refused as any, and so by the meter.
func TestFlippedBitsOfLanguages(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for language, flips := range map[string]int{"assemblyscript": 400, "c": 300, "micropython": 30, "quickjs": 10, "rust": 150, "zig": 150} {
		module := slices.Clone(vmhosttest.Language(t, language))
		for i := range flips {
			bit := random.IntN(8 * len(module))
			module[bit/8] ^= 1 << (bit % 8)
			checkAny(t, module)
			if i%10 == 0 {
				meterAny(t, module)
			}
			module[bit/8] ^= 1 << (bit % 8)
		}
	}
}
