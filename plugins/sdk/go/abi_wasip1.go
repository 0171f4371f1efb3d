package tars

// shared is what the host holds addresses of. It is a package variable because
// an export of a module has no receiver.
var shared memory

// cabiRealloc lets the host put values into the module's memory.
//
//go:wasmexport cabi_realloc
func cabiRealloc(old, oldSize, align, newSize uint32) uint32 {
	return uint32(shared.realloc(address(old), oldSize, align, newSize))
}

// handle is the world's export: two strings in, as address and length each, and
// the address of a result<string, error> out. The result is the host's until
// it calls cabi_post_handle.
//
//go:wasmexport handle
func handle(capability, capabilityLen, input, inputLen uint32) uint32 {
	name := shared.take(address(capability), uint64(capabilityLen))
	document := shared.take(address(input), uint64(inputLen))
	return uint32(shared.lower(plugin.call(string(name), document)))
}

// warmUp lets the host make the module ready before it takes the image that
// every call starts from.
//
//go:wasmexport warm_up
func warmUp() { plugin.warmUp() }

// cabiPostHandle ends a call: the host has read the result.
//
//go:wasmexport cabi_post_handle
func cabiPostHandle(uint32) { shared.release() }
