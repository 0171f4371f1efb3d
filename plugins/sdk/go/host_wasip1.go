package tars

import (
	"runtime"
	"unsafe"
)

// The host's functions as the canonical ABI flattens them: strings are address
// and length, and a result that does not fit into one number is written to an
// address that the caller gives. The linker keeps the imports of those that are
// called, and no others.

//go:wasmimport tars:plugin/host@0.1.0 log
func importLog(level uint32, message unsafe.Pointer, n uint32)

//go:wasmimport tars:plugin/host@0.1.0 search
func importSearch(request unsafe.Pointer, n uint32, result unsafe.Pointer)

//go:wasmimport tars:plugin/host@0.1.0 embed
func importEmbed(text unsafe.Pointer, n uint32, result unsafe.Pointer)

//go:wasmimport tars:plugin/host@0.1.0 vectors
func importVectors(leg, first, count uint32, result unsafe.Pointer)

const (
	charSize  = 1 // bytes of an element of a string
	floatSize = 4 // bytes of an f32
)

func hostLog(level Level, message string) {
	importLog(uint32(level), unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
	runtime.KeepAlive(message)
}

func hostSearch(request []byte) ([]byte, error) {
	var r result
	importSearch(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)), unsafe.Pointer(&r))
	runtime.KeepAlive(request)
	return shared.lift(&r, charSize)
}

func hostEmbed(text string) ([]float32, error) {
	var r result
	importEmbed(unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)), unsafe.Pointer(&r))
	runtime.KeepAlive(text)
	return floats(shared.lift(&r, floatSize))
}

func hostVectors(leg, first, count uint32) ([]float32, error) {
	var r result
	importVectors(leg, first, count, unsafe.Pointer(&r))
	return floats(shared.lift(&r, floatSize))
}

// floats sees bytes that memory made, and that are therefore aligned, as f32.
func floats(b []byte, err error) ([]float32, error) {
	if err != nil || len(b) == 0 {
		return nil, err
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/floatSize), nil
}
