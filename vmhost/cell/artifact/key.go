package artifact

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"runtime"
	"strings"

	"github.com/tars-project/tars/vmhost"
)

// Key names an entry: a digest of all that its content depends on.
type Key [sha256.Size]byte

// String returns the key as 64 hexadecimal digits.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// parseKey is the inverse of String.
func parseKey(s string) (Key, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(Key{}) || hex.EncodeToString(b) != s {
		return Key{}, false
	}
	return Key(b), true
}

// formatVersion names the format of an entry's file.
const formatVersion = "tars-artifact/1"

// Key returns the key of a source's artifact.
func (c *Cache) Key(src vmhost.Source) Key {
	h := sha256.New()
	var limits []byte // those that the meter and the compiler look at
	for _, v := range [...]int64{src.Limits.Memory, src.Limits.Tables, src.Limits.Stack} {
		limits = binary.LittleEndian.AppendUint64(limits, uint64(v))
	}
	for _, field := range [][]byte{
		[]byte(formatVersion), []byte(src.Account), src.Digest[:], limits,
		[]byte(c.opts.Engine), []byte(runtime.GOARCH), []byte(c.processor),
	} {
		var n [8]byte // before each, so that no two lists of fields are one text
		binary.LittleEndian.PutUint64(n[:], uint64(len(field)))
		h.Write(n[:])
		h.Write(field)
	}
	return Key(h.Sum(nil))
}

// processor is what the kernel says of the first processor's features; empty when
// it does not say. The engine has a check of its own behind this.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		name, features, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); ok && (name == "flags" || name == "Features") {
			return strings.TrimSpace(features)
		}
	}
	return ""
}
