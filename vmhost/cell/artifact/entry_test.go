package artifact

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/tars-project/tars/vmhost"
)

// encoded is an entry's file.
func encoded(t testing.TB, key Key, a vmhost.Artifact) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writeEntry(&b, secret, key, a); err != nil {
		t.Fatalf("writeEntry: %v", err)
	}
	return b.Bytes()
}

func read(b []byte, key Key) (layout, error) {
	return readEntry(bytes.NewReader(b), int64(len(b)), secret, key)
}

// TestEntry: every byte of an entry counts.
func TestEntry(t *testing.T) {
	key, a := Key{1, 2}, sample("code")
	good := encoded(t, key, a)
	want := layout{code: 4, module: int64(len(a.Module)), header: 6, name: int64(len(fileName))}
	if got, err := read(good, key); err != nil || got != want {
		t.Fatalf("readEntry = %+v, %v, want %+v", got, err, want)
	}
	if got, err := read(good, Key{}); !errors.Is(err, errInvalid) {
		t.Errorf("readEntry under another key = %+v, %v, want errInvalid", got, err)
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x80
		if got, err := read(b, key); !errors.Is(err, errInvalid) {
			t.Errorf("readEntry with byte %d changed = %+v, %v, want errInvalid", i, got, err)
		}
		if got, err := read(good[:i], key); !errors.Is(err, errInvalid) {
			t.Errorf("readEntry of %d bytes = %+v, %v, want errInvalid", i, got, err)
		}
	}
	if got, err := read(append(bytes.Clone(good), good...), key); !errors.Is(err, errInvalid) {
		t.Errorf("readEntry of two = %+v, %v, want errInvalid", got, err)
	}
}

// signed makes the MAC of a file right, as only somebody with the secret can.
func signed(b []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(b[:len(b)-macLen])
	return append(b[:len(b)-macLen:len(b)-macLen], mac.Sum(nil)...)
}

// TestEntryOfAnother: an entry with a good MAC is no entry when it is of another
// format, or does not add up.
func TestEntryOfAnother(t *testing.T) {
	key := Key{1}
	good := encoded(t, key, sample("code"))
	if _, err := read(signed(bytes.Clone(good)), key); err != nil {
		t.Fatalf("readEntry of a signed entry: %v", err)
	}
	trailer := len(good) - trailerLen
	lengths := trailer + len(magic) + len(key)
	for name, spoil := range map[string]func(b []byte){
		"an older version": func(b []byte) { b[trailer+len(magic)-2] = '0' },
		"another key":      func(b []byte) { b[trailer+len(magic)] = 9 },
		"longer code":      func(b []byte) { binary.LittleEndian.PutUint64(b[lengths:], 5) },
		"negative code":    func(b []byte) { binary.LittleEndian.PutUint64(b[lengths:], 1<<63+4) },
		"lengths that wrap": func(b []byte) {
			binary.LittleEndian.PutUint64(b[lengths:], 1<<63)
			binary.LittleEndian.PutUint64(b[lengths+8:], 1<<63)
		},
		"a long name": func(b []byte) {
			binary.LittleEndian.PutUint64(b[lengths:], 0)
			binary.LittleEndian.PutUint64(b[lengths+24:], uint64(len(fileName)+4))
			binary.LittleEndian.PutUint64(b[lengths+16:], 1<<21)
		},
	} {
		b := bytes.Clone(good)
		spoil(b)
		if got, err := read(signed(b), key); !errors.Is(err, errInvalid) {
			t.Errorf("readEntry with %s = %+v, %v, want errInvalid", name, got, err)
		}
	}
}

// TestCheck: only what has the form of an artifact is kept.
func TestCheck(t *testing.T) {
	hash := strings.Repeat("0f", 32)
	for _, name := range []string{
		"", "/", hash, "wazero-1", "wazero-1/", "/" + hash, "wazero-1/" + hash[1:], "wazero-1/" + hash + "0", "wazero-1/" + strings.ToUpper(hash),
		"../" + hash, "wazero-../../" + hash, "wazero-1/../" + hash, "wazero-/x/" + hash, "other-1/" + hash, "wazero-\x00/" + hash, "wazero-1 /" + hash,
		"wazero-" + strings.Repeat("x", maxName) + "/" + hash, "wazero-é/" + hash, "/wazero-1/" + hash,
	} {
		a := sample("x")
		a.Name = name
		if err := Check(a); err == nil {
			t.Errorf("Check of the name %q = nil, want an error", name)
		}
	}
	for name, change := range map[string]func(*vmhost.Artifact){
		"no code": func(a *vmhost.Artifact) { a.Code = nil }, "no module": func(a *vmhost.Artifact) { a.Module = nil },
		"no header":     func(a *vmhost.Artifact) { a.Header = nil },
		"a long header": func(a *vmhost.Artifact) { a.Header = make([]byte, vmhost.MaxArtifactHeader+1) },
	} {
		a := sample("x")
		change(&a)
		if err := Check(a); err == nil {
			t.Errorf("Check with %s = nil, want an error", name)
		}
		if err := writeEntry(&bytes.Buffer{}, secret, Key{}, a); err == nil {
			t.Errorf("writeEntry with %s = nil, want an error", name)
		}
	}
	if err := Check(sample("x")); err != nil {
		t.Errorf("Check = %v, want nil", err)
	}
}

// FuzzEntry: whatever a file holds, signed or not, it is no entry, or its parts
// make up all of it.
func FuzzEntry(f *testing.F) {
	key := Key{1}
	f.Add(encoded(f, key, sample("code")), false)
	f.Add(encoded(f, key, sample("x")), true)
	f.Add(make([]byte, trailerLen), true)
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		if sign && len(b) >= macLen {
			b = signed(b)
		}
		l, err := read(b, key)
		if err != nil {
			if !errors.Is(err, errInvalid) {
				t.Errorf("readEntry = %v, want errInvalid", err)
			}
			return
		}
		if l.size() != int64(len(b)) || min(l.code, l.module, l.header, l.name) < 0 {
			t.Errorf("readEntry = %+v of %d bytes", l, len(b))
		}
	})
}
