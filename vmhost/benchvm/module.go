package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sections of a module by id, in their order as far as they matter here.
const (
	sectionMemory = 5
	sectionGlobal = 6
)

// withMemory returns a module whose memory has so many pages at first and no
// more later.
func withMemory(module []byte, pages uint64) ([]byte, error) {
	return edit(module, sectionMemory, func([]byte) []byte {
		return binary.AppendUvarint(binary.AppendUvarint([]byte{1, 1}, pages), pages) // one memory, with a maximum
	})
}

// unrestorable returns a module that does the same and has a global that no host
// can put back, so that each of its calls gets a new instance.
func unrestorable(module []byte) ([]byte, error) {
	return edit(module, sectionGlobal, func(content []byte) []byte {
		count, n := binary.Uvarint(content)
		out := append(binary.AppendUvarint(nil, count+1), content[n:]...)
		return append(out, 0x70, 1, 0xd0, 0x70, 0x0b) // (global (mut funcref) (ref.null func))
	})
}

// edit returns a module with another content of one section, which it must have.
func edit(module []byte, section byte, change func(content []byte) []byte) ([]byte, error) {
	const preface = 8
	for at := preface; at < len(module); {
		size, n := binary.Uvarint(module[at+1:])
		content := at + 1 + n
		end := content + int(size)
		if n <= 0 || end > len(module) {
			return nil, errors.New("the module is cut off")
		}
		if module[at] == section {
			changed := change(module[content:end])
			out := append([]byte{}, module[:at+1]...)
			out = binary.AppendUvarint(out, uint64(len(changed)))
			return append(append(out, changed...), module[end:]...), nil
		}
		at = end
	}
	return nil, fmt.Errorf("the module has no section %d", section)
}
