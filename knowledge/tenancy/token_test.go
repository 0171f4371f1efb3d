package tenancy_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge/tenancy"
)

func TestTokenFormat(t *testing.T) {
	keys, _ := deployment(t)
	form := regexp.MustCompile(`^tars_[a-z2-7]{12}_[a-z2-7]{52}$`)
	seen := map[string]bool{}
	for range 100 {
		key, token, err := keys.IssueKey(t.Context(), "acme", "", nil, time.Time{})
		if err != nil {
			t.Fatalf("IssueKey = %v, want nil", err)
		}
		if !form.MatchString(token) {
			t.Fatalf("token %q does not match %v", token, form)
		}
		prefix, secret, ok := tenancy.SplitToken(token)
		if !ok || prefix != key.Prefix || key.ID != "key_"+prefix || !strings.HasSuffix(token, secret) {
			t.Errorf("SplitToken(token of %s) = %q, …, %v, want its prefix", key.ID, prefix, ok)
		}
		if seen[prefix] || seen[secret] {
			t.Fatalf("prefix %q or its secret came twice", prefix)
		}
		seen[prefix], seen[secret] = true, true
	}
}

func TestSplitTokenRefuses(t *testing.T) {
	prefix, secret := strings.Repeat("a", 12), strings.Repeat("a", 52)
	if _, _, ok := tenancy.SplitToken("tars_" + prefix + "_" + secret); !ok {
		t.Fatal("SplitToken of a good token = false, want true")
	}
	for name, token := range map[string]string{
		"empty":              "",
		"start alone":        "tars_",
		"other start":        "tarz_" + prefix + "_" + secret,
		"capital start":      "TARS_" + prefix + "_" + secret,
		"no separator":       "tars_" + prefix + "a" + secret,
		"short prefix":       "tars_" + prefix[1:] + "_" + secret + "a",
		"long prefix":        "tars_" + prefix + "a_" + secret[1:],
		"short secret":       "tars_" + prefix + "_" + secret[1:],
		"long secret":        "tars_" + prefix + "_" + secret + "a",
		"capital prefix":     "tars_A" + prefix[1:] + "_" + secret,
		"middle of prefix":   "tars_aaaaa%aaaaaa_" + secret,
		"capital secret":     "tars_" + prefix + "_A" + secret[1:],
		"digit 1":            "tars_" + prefix + "_1" + secret[1:],
		"newline in secret":  "tars_" + prefix + "_\n" + secret[1:],
		"padding":            "tars_" + prefix + "_" + secret[1:] + "=",
		"surplus bits":       "tars_" + prefix + "_" + secret[1:] + "b", // 16 spellings would be one key
		"space before":       " tars_" + prefix + "_" + secret,
		"NUL after":          "tars_" + prefix + "_" + secret + "\x00",
		"character of bytes": "tars_" + prefix + "_é" + secret[2:],
	} {
		if _, _, ok := tenancy.SplitToken(token); ok {
			t.Errorf("SplitToken of %s = true, want false", name)
		}
	}
}

func FuzzSplitToken(f *testing.F) {
	f.Add("tars_" + strings.Repeat("a", 12) + "_" + strings.Repeat("a", 52))
	f.Add("tars_abcdefgh2345_" + strings.Repeat("q", 52))
	f.Add("tars__")
	f.Fuzz(func(t *testing.T, token string) {
		prefix, secret, ok := tenancy.SplitToken(token)
		if ok && token != "tars_"+prefix+"_"+secret || !ok && prefix+secret != "" {
			t.Errorf("SplitToken(%q) = %q, %q, %v: not the token's parts", token, prefix, secret, ok)
		}
		if ok && (len(prefix) != 12 || len(secret) != 52 || strings.ToLower(token) != token) {
			t.Errorf("SplitToken(%q) took a second spelling", token)
		}
	})
}

func TestHideTokens(t *testing.T) {
	prefix, secret := strings.Repeat("a", 12), strings.Repeat("z2", 26)
	token := "tars_" + prefix + "_" + secret
	for in, want := range map[string]string{
		token: "tars_" + prefix + "_…", "notes/" + token + "/" + token: "notes/tars_" + prefix + "_…/tars_" + prefix + "_…", "notes/42": "notes/42", "tars_" + prefix: "tars_" + prefix,
	} {
		if got := tenancy.HideTokens(in); got != want || strings.Contains(got, secret) {
			t.Errorf("HideTokens(%q) = %q, want %q", in, got, want)
		}
	}
}
