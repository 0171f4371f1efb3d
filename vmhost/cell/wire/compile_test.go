package wire

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// TestCompileMessages: what is asked of a compile cell and what it gives, cut short
// at each byte too.
func TestCompileMessages(t *testing.T) {
	ask := Compile{Remaining: time.Second, Memory: 1 << 20, Tables: 7, Stack: 8, Room: 9, Digest: vmhost.Digest{7}, Module: []byte("m")}
	gave := vmhost.Artifact{Name: "wazero-1/ff", Header: []byte("h"), Module: []byte("m"), Code: []byte("code")}
	load := Load{Digest: vmhost.Digest{7}, Header: []byte("h"), Module: []byte("m")}
	for _, c := range []struct {
		name   string
		want   any
		body   []byte
		least  int // bytes without the rest of the body
		decode func([]byte) (any, error)
	}{
		{"compile", ask, append(ask.Append(nil), ask.Module...), len(ask.Append(nil)), func(b []byte) (any, error) { m, err := DecodeCompile(b); return m, err }},
		{"artifact", gave, append(AppendArtifact(nil, gave), gave.Code...), len(AppendArtifact(nil, gave)), func(b []byte) (any, error) { m, err := DecodeArtifact(b); return m, err }},
		{"load", load, append(load.Append(nil), load.Module...), len(load.Append(nil)), func(b []byte) (any, error) { m, err := DecodeLoad(b); return m, err }},
	} {
		if got, err := c.decode(c.body); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s = %+v, %v, want %+v", c.name, got, err, c.want)
		}
		for n := range c.least {
			if got, err := c.decode(c.body[:n]); err == nil {
				t.Errorf("%s of %d bytes = %+v, want an error", c.name, n, got)
			}
		}
	}
	long := AppendArtifact(nil, vmhost.Artifact{Header: make([]byte, vmhost.MaxArtifactHeader+1)})
	if _, err := DecodeArtifact(long); err == nil {
		t.Error("an artifact with a header over its bound was decoded")
	}
	lying := appendU32(AppendArtifact(nil, vmhost.Artifact{})[:8], 1<<31)
	if _, err := DecodeArtifact(lying); err == nil {
		t.Error("an artifact whose module is longer than itself was decoded")
	}
}

// FuzzArtifact: an artifact is refused, or has one encoding.
func FuzzArtifact(f *testing.F) {
	f.Add(AppendArtifact(nil, vmhost.Artifact{Name: "wazero-1/ff", Header: []byte("h"), Module: []byte("m")}))
	f.Fuzz(func(t *testing.T, body []byte) {
		if a, err := DecodeArtifact(body); err == nil && !bytes.Equal(append(AppendArtifact(nil, a), a.Code...), body) {
			t.Errorf("artifact %+v encodes to other bytes", a)
		}
		if m, err := DecodeCompile(body); err == nil && !bytes.Equal(append(m.Append(nil), m.Module...), body) {
			t.Errorf("compile %+v encodes to other bytes", m)
		}
	})
}
