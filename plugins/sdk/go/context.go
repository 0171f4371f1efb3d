package tars

import "math/rand/v2"

// Context belongs to one call and must not be kept after it.
type Context struct {
	Capability string // what the plugin was called for

	random *rand.Rand
}

// Rand returns the call's random numbers, seeded by the host for this call.
// The generators of math/rand are seeded when the plugin's image is made, and
// so give the same numbers in each call. It panics if the host grants no
// random numbers.
func (c *Context) Rand() *rand.Rand {
	if c.random == nil {
		var seed [32]byte
		if err := fillRandom(seed[:]); err != nil {
			panic("tars: random seed: " + err.Error())
		}
		c.random = rand.New(rand.NewChaCha8(seed))
	}
	return c.random
}
