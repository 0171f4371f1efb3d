package tenancy

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/tars-project/tars/knowledge"
)

// RingKeySize is the size of a key-encryption key, in bytes.
const RingKeySize = 32

// Ring has the key-encryption keys of a deployment: it seals tenants' secrets and
// hashes the secrets of API keys. The first key is the one in use; the others are
// older ones, for what they sealed. Immutable and safe for concurrent use.
type Ring struct {
	keys []ringKey // at least one
}

// ringKey holds what is derived from one key-encryption key, so that the two uses
// cannot weaken each other.
type ringKey struct {
	id   string
	aead cipher.AEAD
	hash []byte // keys the hash of API key secrets
	code []byte // authenticates compiled code
}

// NewRing returns a ring of keys of [RingKeySize] bytes each, the one in use
// first. It needs at least one.
func NewRing(keys ...[]byte) (*Ring, error) {
	if len(keys) == 0 {
		return nil, errors.New("key ring: no key; need at least one")
	}
	r := &Ring{}
	for i, key := range keys {
		if len(key) != RingKeySize {
			return nil, fmt.Errorf("key ring: key %d has %d bytes; need %d", i+1, len(key), RingKeySize)
		}
		k, err := derive(key)
		if err != nil {
			return nil, fmt.Errorf("key ring: key %d: %w", i+1, err)
		}
		r.keys = append(r.keys, k)
	}
	return r, nil
}

// derive makes the working keys by HKDF-SHA-256 (RFC 5869), each with its purpose.
func derive(key []byte) (ringKey, error) {
	sub := func(purpose string, n int) []byte {
		out, err := hkdf.Key(sha256.New, key, nil, "tars 1 "+purpose, n)
		if err != nil {
			panic(err) // Unreachable: the lengths are constants within HKDF's limit
		}
		return out
	}
	block, err := aes.NewCipher(sub("seal secrets", 32))
	if err != nil {
		return ringKey{}, err
	}
	aead, err := cipher.NewGCM(block)
	return ringKey{id: hex.EncodeToString(sub("name the key", 8)), aead: aead, hash: sub("hash API keys", 32), code: sub("authenticate compiled code", 32)}, err
}

// Sealed is a secret that only a ring with its key can open.
type Sealed struct {
	KeyID string // of the key-encryption key
	Bytes []byte // 12 bytes of nonce, then AES-256-GCM ciphertext and tag
}

// Seal encrypts a secret, bound to its tenant and name: it opens under no other.
func (r *Ring) Seal(tenant knowledge.TenantID, name string, secret []byte) Sealed {
	k := r.keys[0]
	nonce := make([]byte, k.aead.NonceSize())
	rand.Read(nonce) // never fails: crypto/rand ends the process instead
	return Sealed{KeyID: k.id, Bytes: k.aead.Seal(nonce, nonce, secret, boundTo(tenant, name))}
}

// Open decrypts what Seal made for this tenant and name. It fails when the key is
// not on the ring, or a byte was changed.
func (r *Ring) Open(tenant knowledge.TenantID, name string, s Sealed) ([]byte, error) {
	for _, k := range r.keys {
		if k.id != s.KeyID {
			continue
		}
		n := k.aead.NonceSize()
		if len(s.Bytes) < n {
			return nil, errors.New("open secret: too short")
		}
		secret, err := k.aead.Open(nil, s.Bytes[:n], s.Bytes[n:], boundTo(tenant, name))
		if err != nil {
			return nil, errors.New("open secret: changed, or of another tenant or name")
		}
		return secret, nil
	}
	return nil, fmt.Errorf("open secret: key-encryption key %s is not configured", s.KeyID)
}

// boundTo is the additional data of a sealed secret. A tenant id has no NUL.
func boundTo(tenant knowledge.TenantID, name string) []byte {
	return []byte(string(tenant) + "\x00" + name)
}

// hashSecret is what is kept of an API key's secret: HMAC-SHA-256 under the key
// in use. The secret has 256 bits of entropy, so a slow hash would buy nothing.
func (r *Ring) hashSecret(secret string) [32]byte { return r.keys[0].hashOf(secret) }

func (k ringKey) hashOf(secret string) [32]byte {
	mac := hmac.New(sha256.New, k.hash)
	mac.Write([]byte(secret))
	return [32]byte(mac.Sum(nil))
}

// CacheKey returns the key that authenticates what a node keeps of compiled code,
// 32 bytes. It changes when another key comes into use: code is then compiled again.
func (r *Ring) CacheKey() []byte { return slices.Clone(r.keys[0].code) }

// matches reports whether hash is that of the secret under any key of the ring,
// in time that depends on neither.
func (r *Ring) matches(secret string, hash [32]byte) bool {
	found := false
	for _, k := range r.keys {
		have := k.hashOf(secret)
		found = hmac.Equal(have[:], hash[:]) || found
	}
	return found
}
