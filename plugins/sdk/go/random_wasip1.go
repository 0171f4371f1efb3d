package tars

import (
	"fmt"
	"unsafe"
)

// randomGet is called rather than crypto/rand because that package makes the
// module several hundred kilobytes larger.
//
//go:wasmimport wasi_snapshot_preview1 random_get
func randomGet(p unsafe.Pointer, n uint32) (errno uint32)

// fillRandom fills b, which must not be empty, with random bytes of the host.
func fillRandom(b []byte) error {
	if errno := randomGet(unsafe.Pointer(&b[0]), uint32(len(b))); errno != 0 {
		return fmt.Errorf("random_get: errno %d", errno)
	}
	return nil
}
