package pglocal

import (
	"errors"
	"strings"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for _, c := range []struct {
		in   string
		want version
		ok   bool
	}{
		{"0.8.7", version{0, 8, 7}, true},
		{"0.8", version{0, 8, 0}, true},
		{"1", version{1, 0, 0}, true},
		{"0.10.0", version{0, 10, 0}, true},
		{"", version{}, false},
		{"0.8.7.1", version{}, false},
		{"0.8.x", version{}, false},
		{"-1.0", version{}, false},
		{"0..1", version{}, false},
		{"99999999999", version{}, false},
	} {
		if got, err := parseVersion(c.in); got != c.want || (err == nil) != c.ok {
			t.Errorf("parseVersion(%q) = %v, %v, want %v", c.in, got, err, c.want)
		}
	}
}

func TestCheckVector(t *testing.T) {
	for _, c := range []struct {
		told    string
		warning bool
		want    error
	}{
		{"", false, ErrVectorTooOld},
		{"0.5.1", false, ErrVectorTooOld},
		{"0.7.4", false, ErrVectorTooOld},
		{"0.8.0", true, nil},
		{"0.8.5", true, nil},
		{"0.8.6", false, nil},
		{"0.10.0", false, nil},
		{"1.0", false, nil},
	} {
		warning, err := checkVector(c.told)
		if (warning != "") != c.warning || !errors.Is(err, c.want) {
			t.Errorf("checkVector(%q) = %q, %v, want a warning: %v, error %v", c.told, warning, err, c.warning, c.want)
		}
	}
}

func TestControlVersion(t *testing.T) {
	for _, c := range []struct {
		text string
		want version
		ok   bool
	}{
		{"comment = 'vector'\ndefault_version = '0.8.7'\nrelocatable = true\n", version{0, 8, 7}, true},
		{"default_version='0.8.0' # a comment", version{0, 8, 0}, true},
		{"#default_version = '0.8.0'", version{}, false},
		{"default_version = 'new'", version{}, false},
		{"", version{}, false},
	} {
		if got, err := controlVersion(strings.NewReader(c.text)); got != c.want || (err == nil) != c.ok {
			t.Errorf("controlVersion(%q) = %v, %v, want %v", c.text, got, err, c.want)
		}
	}
}

const sum64 = "fd45bea1f14f4d577e508afe5d6b38b757780c363c27993686ae126aba82d348"

func TestParseURIs(t *testing.T) {
	good := "'http://mirror/debian/pool/v.deb' postgresql-18-pgvector_0.8.7-1_amd64.deb 274984 SHA256:" + sum64
	for _, c := range []struct {
		out  string
		want int
		ok   bool
	}{
		{good, 1, true},
		{"Reading package lists...\n" + good + "\n" + good + "\n", 2, true},
		{"'http://m/x' libc6_1%3a2_all.deb 1 SHA256:" + sum64, 1, true},
		{"", 0, true},
		{"'http://m/x' ../../etc/passwd_1_all.deb 1 SHA256:" + sum64, 0, false},
		{"'http://m/x' -o_1_all.deb 1 SHA256:" + sum64, 0, false},
		{"'http://m/x' a_1_all.deb -1 SHA256:" + sum64, 0, false},
		{"'http://m/x' a_1_all.deb 1 MD5Sum:" + sum64, 0, false},
		{"'http://m/x' a_1_all.deb 1 SHA256:beef", 0, false},
		{"'http://m/x' a_1_all.deb 1", 0, false},
	} {
		if got, err := parseURIs(c.out); len(got) != c.want || (err == nil) != c.ok {
			t.Errorf("parseURIs(%q) = %v, %v, want %d packages", c.out, got, err, c.want)
		}
	}
}

func FuzzParseURIs(f *testing.F) {
	f.Add("'http://mirror/v.deb' postgresql-18-pgvector_0.8.7-1_amd64.deb 274984 SHA256:" + sum64)
	f.Fuzz(func(t *testing.T, out string) {
		packages, err := parseURIs(out)
		for _, p := range packages {
			if err == nil && (strings.ContainsAny(p.file, "/\x00") || p.size < 0 || p.name == "" || strings.HasPrefix(p.file, ".")) {
				t.Errorf("parseURIs(%q) accepts %+v", out, p)
			}
		}
	})
}

func FuzzControlVersion(f *testing.F) {
	f.Add("default_version = '0.8.7'")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := controlVersion(strings.NewReader(text))
		if err != nil {
			return
		}
		if again, err := parseVersion(v.String()); err != nil || again != v {
			t.Errorf("parseVersion(%q) = %v, %v, want %v", v, again, err, v)
		}
	})
}

func TestDefaultCacheDir(t *testing.T) {
	for _, c := range []struct {
		uid       int
		home, xdg string
		want      string
	}{
		{0, "/root", "/x", "/var/tmp/tars"},
		{1000, "/home/u", "", "/home/u/.cache/tars"},
		{1000, "/home/u", "/x", "/x/tars"},
	} {
		if got := DefaultCacheDir(c.uid, c.home, c.xdg); got != c.want {
			t.Errorf("DefaultCacheDir(%d, %q, %q) = %q, want %q", c.uid, c.home, c.xdg, got, c.want)
		}
	}
}
