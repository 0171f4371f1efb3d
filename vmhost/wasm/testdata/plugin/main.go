// The plugin of the tests: enough of Go's standard library for a module of a
// realistic size and shape, and the exports that a plugin needs.
package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"
	"unsafe"
)

//go:wasmimport tars:plugin/host@0.1.0 search
func search(request unsafe.Pointer, size uint32, result unsafe.Pointer)

//go:wasmimport tars:plugin/host@0.1.0 log
func log(level uint32, message unsafe.Pointer, size uint32)

// live keeps what was handed out from being collected.
var live = map[unsafe.Pointer][]byte{}

//go:wasmexport cabi_realloc
func realloc(_ unsafe.Pointer, _, _, size uint32) unsafe.Pointer {
	b := make([]byte, size+1)
	live[unsafe.Pointer(&b[0])] = b
	return unsafe.Pointer(&b[0])
}

//go:wasmexport handle
func handle(capability unsafe.Pointer, capabilitySize uint32, input unsafe.Pointer, inputSize uint32) unsafe.Pointer {
	var document map[string]any
	if err := json.Unmarshal(unsafe.Slice((*byte)(input), inputSize), &document); err != nil {
		message := time.Now().String() + strings.ToUpper(err.Error())
		log(2, unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
	}
	name := unsafe.String((*byte)(capability), capabilitySize)
	if regexp.MustCompile("^(rank|merge)$").MatchString(name) {
		var result [4]uint32
		search(input, inputSize, unsafe.Pointer(&result))
	}
	return realloc(nil, 0, 1, 16)
}

//go:wasmexport cabi_post_handle
func post(unsafe.Pointer) { clear(live) }

func main() {}
