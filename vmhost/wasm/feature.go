package wasm

// Feature is a proposal that became part of WebAssembly after its first
// version, by the name that its specification has.
type Feature string

// The features that are accepted.
const (
	BulkMemory     Feature = "bulk-memory"
	ExtendedConst  Feature = "extended-const"
	MultiValue     Feature = "multi-value"
	ReferenceTypes Feature = "reference-types"
	SatFloatToInt  Feature = "nontrapping-float-to-int-conversions"
	SignExtension  Feature = "sign-extension-ops"
	SIMD           Feature = "simd"
	TailCall       Feature = "tail-call"
)

// featureSet is a set of accepted features, by bit.
type featureSet uint8

const (
	usesBulkMemory featureSet = 1 << iota
	usesExtendedConst
	usesMultiValue
	usesReferenceTypes
	usesSatFloatToInt
	usesSignExtension
	usesSIMD
	usesTailCall
)

// list returns the names of the features in the set.
func (s featureSet) list() []Feature {
	names := [...]Feature{
		BulkMemory, ExtendedConst, MultiValue, ReferenceTypes,
		SatFloatToInt, SignExtension, SIMD, TailCall,
	}
	var used []Feature
	for bit, name := range names {
		if s&(1<<bit) != 0 {
			used = append(used, name)
		}
	}
	return used
}

// Proposals that are refused, as they are named to the module's owner.
const (
	noThreads     = "the threads proposal (shared memory, atomics)"
	noMemory64    = "the memory64 proposal (64-bit memories and tables)"
	noMultiMemory = "the multi-memory proposal (more than one memory)"
	noGC          = "the garbage collection proposal (struct, array and sub types)"
	noExceptions  = "the exception handling proposal (tags, try_table, throw)"
	noLegacyEH    = "the legacy exception handling proposal (try, catch, rethrow)"
	noStackSwitch = "the stack switching proposal (continuations)"
	noFuncRefs    = "the typed function references proposal (call_ref, ref types)"
	noRelaxedSIMD = "the relaxed SIMD proposal, whose results differ from machine to machine"
	noWide        = "the wide arithmetic proposal"
	noPageSizes   = "the custom page sizes proposal"
)
