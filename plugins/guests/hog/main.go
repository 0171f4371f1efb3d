// Hog is a plugin for tests that allocates memory and writes to each page of
// it, until it is stopped.
package main

import tars "github.com/tars-project/tars/plugins/sdk/go"

const (
	step = 1 << 20 // bytes allocated at once
	page = 4096    // bytes; one written byte makes a page resident
)

var _ = tars.Handle("*", func(*tars.Context, []byte) ([]byte, error) {
	var held [][]byte
	for {
		b := make([]byte, step)
		for i := 0; i < len(b); i += page {
			b[i] = byte(len(held)) | 1
		}
		held = append(held, b)
	}
})

func main() {}
