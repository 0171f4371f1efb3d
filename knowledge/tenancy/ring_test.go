package tenancy_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/tars-project/tars/knowledge/tenancy"
)

var secret = []byte("sk-the-secret-of-acme")

func TestSealAndOpen(t *testing.T) {
	r := ring(t, "one")
	s := r.Seal("acme", "openai", secret)
	if got, err := r.Open("acme", "openai", s); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("Open = %q, %v, want %q", got, err, secret)
	}
	if bytes.Contains(s.Bytes, secret[:4]) {
		t.Errorf("Seal = %q, which shows the secret", s.Bytes)
	}
	if again := r.Seal("acme", "openai", secret); bytes.Equal(again.Bytes, s.Bytes) || bytes.Equal(again.Bytes[:12], s.Bytes[:12]) {
		t.Error("Seal gave the same bytes or nonce twice")
	}
	empty := r.Seal("acme", "openai", nil)
	if got, err := r.Open("acme", "openai", empty); err != nil || len(got) != 0 {
		t.Errorf("Open of an empty secret = %q, %v, want nothing", got, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	r := ring(t, "one")
	s := r.Seal("acme", "openai", secret)
	for name, open := range map[string]func() ([]byte, error){
		"another tenant":   func() ([]byte, error) { return r.Open("other", "openai", s) },
		"another name":     func() ([]byte, error) { return r.Open("acme", "openai2", s) },
		"a shifted border": func() ([]byte, error) { return r.Open("acm", "eopenai", s) },
		"another ring":     func() ([]byte, error) { return ring(t, "two").Open("acme", "openai", s) },
		"another ring's id": func() ([]byte, error) {
			return ring(t, "two").Open("acme", "openai", tenancy.Sealed{KeyID: ring(t, "two").Seal("a", "b", nil).KeyID, Bytes: s.Bytes})
		},
		"no key id": func() ([]byte, error) { return r.Open("acme", "openai", tenancy.Sealed{Bytes: s.Bytes}) },
		"no bytes":  func() ([]byte, error) { return r.Open("acme", "openai", tenancy.Sealed{KeyID: s.KeyID}) },
		"a nonce alone": func() ([]byte, error) {
			return r.Open("acme", "openai", tenancy.Sealed{KeyID: s.KeyID, Bytes: s.Bytes[:12]})
		},
		"less than a nonce": func() ([]byte, error) {
			return r.Open("acme", "openai", tenancy.Sealed{KeyID: s.KeyID, Bytes: s.Bytes[:11]})
		},
		"the last byte is off": func() ([]byte, error) {
			return r.Open("acme", "openai", tenancy.Sealed{KeyID: s.KeyID, Bytes: s.Bytes[:len(s.Bytes)-1]})
		},
		"a byte more": func() ([]byte, error) {
			return r.Open("acme", "openai", tenancy.Sealed{KeyID: s.KeyID, Bytes: append(slices.Clone(s.Bytes), 0)})
		},
	} {
		if got, err := open(); err == nil || got != nil {
			t.Errorf("Open with %s = %q, %v, want an error alone", name, got, err)
		}
	}
	for i := range s.Bytes {
		for bit := range 8 {
			flipped := slices.Clone(s.Bytes)
			flipped[i] ^= 1 << bit
			if got, err := r.Open("acme", "openai", tenancy.Sealed{KeyID: s.KeyID, Bytes: flipped}); err == nil || got != nil {
				t.Fatalf("Open with bit %d of byte %d flipped = %q, %v, want an error alone", bit, i, got, err)
			}
		}
	}
}

func TestRingRotates(t *testing.T) {
	old, both := ring(t, "old"), ring(t, "new", "old")
	sealed := old.Seal("acme", "n", secret)
	if got, err := both.Open("acme", "n", sealed); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("Open by the ring with both = %q, %v, want the secret", got, err)
	}
	again := both.Seal("acme", "n", secret)
	if again.KeyID == sealed.KeyID {
		t.Error("the ring with both sealed with the old key")
	}
	if _, err := old.Open("acme", "n", again); err == nil {
		t.Error("the old ring opened what the new key sealed")
	}
	if got, err := ring(t, "new").Open("acme", "n", again); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("Open by the new ring = %q, %v, want the secret", got, err)
	}
}

func TestNewRingRefuses(t *testing.T) {
	good := make([]byte, tenancy.RingKeySize)
	for name, keys := range map[string][][]byte{
		"none": nil, "empty": {{}}, "short": {good[1:]}, "long": {append(slices.Clone(good), 0)}, "a short second": {good, good[:16]},
	} {
		if r, err := tenancy.NewRing(keys...); err == nil || r != nil {
			t.Errorf("NewRing of %s = %v, %v, want an error alone", name, r, err)
		}
	}
}

// TestCacheKey: the key for compiled code is the first key's own, and none of the
// others that are made of it.
func TestCacheKey(t *testing.T) {
	old, rotated := ring(t, "old"), ring(t, "new", "old")
	got := old.CacheKey()
	if len(got) != 32 || bytes.Equal(got, make([]byte, 32)) {
		t.Errorf("CacheKey = %x, want 32 bytes that are not zero", got)
	}
	if !bytes.Equal(got, ring(t, "old").CacheKey()) {
		t.Error("two rings of the same key have different cache keys")
	}
	if bytes.Equal(got, rotated.CacheKey()) {
		t.Error("the cache key is the same after another key came into use")
	}
	got[0]++
	if bytes.Equal(got, old.CacheKey()) {
		t.Error("the caller's copy is the ring's own")
	}
}
