//go:build !wasip1

package tars

import "crypto/rand"

// fillRandom fills b with random bytes.
func fillRandom(b []byte) error {
	_, err := rand.Read(b)
	return err
}
