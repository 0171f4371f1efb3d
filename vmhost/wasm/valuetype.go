package wasm

// Bytes that stand where a type is expected in proposals that are refused.
const (
	refNullable    = 0x63 // typed function references: (ref null ht)
	refNonNullable = 0x64 // (ref ht)
	firstHeapType  = 0x68 // abstract heap types: contref 0x68, exnref 0x69, arrayref 0x6a … nofuncref 0x73, nocontref 0x75
	lastHeapType   = 0x75
	packedI16      = 0x77
	packedI8       = 0x78
)

// valueType reads the type of a value.
func (r *reader) valueType() (ValueType, error) {
	start := r.pos
	b, err := r.byte()
	if err != nil {
		return 0, err
	}
	return r.checkValueType(start, b)
}

// checkValueType returns the value type of that encoding, read at offset.
func (r *reader) checkValueType(offset int, b byte) (ValueType, error) {
	switch t := ValueType(b); t {
	case I32, I64, F32, F64, V128, FuncRef, ExternRef:
		return t, nil
	}
	switch {
	case b == refNullable || b == refNonNullable:
		return 0, r.unsupported(offset, noFuncRefs)
	case b == 0x69 || b == 0x74:
		return 0, r.unsupported(offset, noExceptions)
	case b == 0x68 || b == 0x75:
		return 0, r.unsupported(offset, noStackSwitch)
	case b >= firstHeapType && b <= lastHeapType, b == packedI8, b == packedI16:
		return 0, r.unsupported(offset, noGC)
	}
	return 0, r.fail(offset, "0x%02x is not a value type", b)
}

// refType reads a reference type.
func (r *reader) refType() (ValueType, error) {
	start := r.pos
	t, err := r.valueType()
	if err == nil && t != FuncRef && t != ExternRef {
		return 0, r.fail(start, "%v is not a reference type", t)
	}
	return t, err
}
