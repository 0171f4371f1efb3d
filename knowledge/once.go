package knowledge

import (
	"errors"
	"time"
)

// IdempotencyLife is how long the reply to an [Attempt] is kept.
const IdempotencyLife = 24 * time.Hour

// Kinds of error of attempts.
var (
	// ErrRunning: another attempt with the same key has begun and not ended.
	ErrRunning = errors.New("a request with this key is running")
	// ErrReused: the key was used for something else.
	ErrReused = errors.New("the key was used for another request")
)

// Attempt is one sending of a request that must have its effect once, however
// often it is sent.
type Attempt struct {
	Key       string // the caller's, 1 to 255 printable ASCII characters; of one tenant
	Route     string // what is done to what
	Principal string // id of the credential
	Body      [32]byte
}

// CheckIdempotencyKey returns an [InvalidError] unless key is 1 to 255
// printable ASCII characters.
func CheckIdempotencyKey(key string) error {
	if len(key) < 1 || len(key) > 255 {
		return Invalid("", "has %d characters; need 1 to 255", len(key))
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return Invalid("", "character %d is not printable ASCII", i+1)
		}
	}
	return nil
}

// Reply is the answer to an attempt, to be given again to its repetitions.
type Reply struct {
	Status int
	Header map[string]string
	Body   []byte
}
