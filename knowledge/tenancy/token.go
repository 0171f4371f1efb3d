package tenancy

import (
	"crypto/rand"
	"encoding/base32"
	"regexp"
	"strings"
)

// A token is "tars_", the prefix of 12 characters, "_", and the secret of 52
// characters: 256 bits. Both are lower-case base32 (RFC 4648), which survives
// being copied by hand. The fixed start lets secret scanners find leaked ones.
const (
	tokenStart   = "tars_"
	prefixLength = 12
	secretLength = 52
)

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newToken returns a fresh token with its parts.
func newToken() (token, prefix, secret string) {
	random := func(n, chars int) string {
		b := make([]byte, n)
		rand.Read(b) // never fails: crypto/rand ends the process instead
		return encoding.EncodeToString(b)[:chars]
	}
	prefix, secret = random(8, prefixLength), random(32, secretLength)
	return tokenStart + prefix + "_" + secret, prefix, secret
}

var tokens = regexp.MustCompile(`(` + tokenStart + `[a-z2-7]{12}_)[a-z2-7]{52}`)

// HideTokens returns s without the secrets of tokens that are in it, for logs: who puts a
// token in the place of a name must not find it there.
func HideTokens(s string) string { return tokens.ReplaceAllString(s, "${1}…") }

// splitToken returns the parts of a well-formed token. A last character with
// surplus bits is refused, so that one key has one spelling.
func splitToken(token string) (prefix, secret string, ok bool) {
	rest, ok := strings.CutPrefix(token, tokenStart)
	if !ok || len(rest) != prefixLength+1+secretLength || rest[prefixLength] != '_' {
		return "", "", false
	}
	prefix, secret = rest[:prefixLength], rest[prefixLength+1:]
	raw, err := encoding.DecodeString(secret)
	if err != nil || encoding.EncodeToString(raw) != secret || strings.Trim(prefix, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return "", "", false
	}
	return prefix, secret, true
}
