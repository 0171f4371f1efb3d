package plugins_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/plugins"
)

const digits = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseRef(t *testing.T) {
	digest, err := plugins.ParseDigest("sha256:" + digits)
	if err != nil || digest.String() != "sha256:"+digits {
		t.Fatalf("ParseDigest = %v, %v, want what it was given", digest, err)
	}
	for s, want := range map[string]plugins.Ref{
		"":           {Alias: "live"},
		"live":       {Alias: "live"},
		"canary-2":   {Alias: "canary-2"},
		"2a":         {Alias: "2a"},
		"1":          {Number: 1},
		"2147483648": {Number: 1 << 31},
	} {
		if got, err := plugins.ParseRef(s); err != nil || got != want {
			t.Errorf("ParseRef(%q) = %+v, %v, want %+v", s, got, err, want)
		}
	}
	if got, err := plugins.ParseRef("sha256:" + digits); err != nil || got.Digest == nil || *got.Digest != digest || got.Number != 0 || got.Alias != "" {
		t.Errorf("ParseRef(digest) = %+v, %v, want the digest alone", got, err)
	}
	for _, s := range []string{
		"0", "-1", "+1", "01", "1.0", " 1", "99999999999999999999", "00",
		"sha256:", "sha256:" + digits[1:], "sha256:" + digits + "0", "sha256:" + strings.ToUpper(digits), "sha256:" + digits[:63] + "g",
		"SHA256:" + digits, digits, "sha512:" + digits, "../live", "Live", "live ", "-live", "é", "a\x00", strings.Repeat("a", 64),
	} {
		if got, err := plugins.ParseRef(s); !errors.Is(err, knowledge.ErrInvalid) {
			t.Errorf("ParseRef(%q) = %+v, %v, want ErrInvalid", s, got, err)
		}
	}
}

func TestParseAlias(t *testing.T) {
	for s, good := range map[string]bool{"live": true, "v2": true, "2-b": true, "2": false, "": false, "123456": false, "a.b": false} {
		if _, err := plugins.ParseAlias(s); (err == nil) != good {
			t.Errorf("ParseAlias(%q) = %v, want success %v", s, err, good)
		}
	}
}
