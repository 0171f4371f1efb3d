package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// sectionMemory is the memory section's id.
const sectionMemory = 5

// withMemory returns a module whose memory has so many pages at first and no
// more later.
func withMemory(module []byte, pages uint64) ([]byte, error) {
	return edit(module, sectionMemory, func([]byte) []byte {
		return binary.AppendUvarint(binary.AppendUvarint([]byte{1, 1}, pages), pages) // one memory, with a maximum
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
