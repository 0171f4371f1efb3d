package main

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/tars-project/tars/vmhost/wasm"
)

// The plugin world's exports.
const (
	exportMemory     = "memory"
	exportInitialize = "_initialize"
	exportRealloc    = "cabi_realloc"
	exportHandle     = "handle"
	exportPost       = "cabi_post_handle"
)

// exported is an instance of another engine, as far as a call needs it.
type exported interface {
	// function calls an export of at most one result; one that is not there
	// gives zero.
	function(name string, args ...uint32) (uint32, error)
	// memory is the linear memory as it is now.
	memory() []byte
}

// callHandle does what a call is: the canonical ABI of the plugin world, on
// whichever engine.
func callHandle(m exported, capability string, input []byte) ([]byte, error) {
	if _, err := m.function(exportInitialize); err != nil {
		return nil, fmt.Errorf("initialise: %w", err)
	}
	return handleOnly(m, capability, input)
}

// handleOnly is callHandle on an instance that is initialised.
func handleOnly(m exported, capability string, input []byte) ([]byte, error) {
	name, err := lower(m, []byte(capability))
	if err != nil {
		return nil, err
	}
	document, err := lower(m, input)
	if err != nil {
		return nil, err
	}
	ret, err := m.function(exportHandle, name, uint32(len(capability)), document, uint32(len(input)))
	if err != nil {
		return nil, fmt.Errorf("handle: %w", err)
	}
	place, err := span(m, ret, 12)
	if err != nil {
		return nil, err
	}
	if place[0] != 0 {
		return nil, fmt.Errorf("handle returned case %d, want 0", place[0])
	}
	out, err := span(m, binary.LittleEndian.Uint32(place[4:]), binary.LittleEndian.Uint32(place[8:]))
	if err != nil {
		return nil, err
	}
	output := slices.Clone(out)
	if _, err := m.function(exportPost, ret); err != nil {
		return nil, fmt.Errorf("end of the call: %w", err)
	}
	return output, nil
}

func lower(m exported, b []byte) (uint32, error) {
	ptr, err := m.function(exportRealloc, 0, 0, 1, uint32(len(b)))
	if err != nil {
		return 0, fmt.Errorf("allocate: %w", err)
	}
	place, err := span(m, ptr, uint32(len(b)))
	if err != nil {
		return 0, err
	}
	copy(place, b)
	return ptr, nil
}

func span(m exported, ptr, n uint32) ([]byte, error) {
	memory := m.memory()
	if end := uint64(ptr) + uint64(n); end > uint64(len(memory)) {
		return nil, fmt.Errorf("%d bytes at %d lie outside the memory", n, ptr)
	}
	return memory[ptr : ptr+n], nil
}

// importsOf are the functions that a module imports, by module.
func importsOf(module []byte) (map[string][]wasm.Import, error) {
	inspection, err := wasm.Check(module, wasm.DefaultLimits())
	if err != nil {
		return nil, fmt.Errorf("check the module: %w", err)
	}
	imports := make(map[string][]wasm.Import)
	for _, i := range inspection.Imports {
		imports[i.Module] = append(imports[i.Module], i)
	}
	return imports, nil
}
