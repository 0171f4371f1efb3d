package knowledge_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
)

func TestParseNames(t *testing.T) {
	tenant := func(s string) error { _, err := knowledge.ParseTenantID(s); return err }
	collection := func(s string) error { _, err := knowledge.ParseCollectionName(s); return err }
	record := func(s string) error { _, err := knowledge.ParseRecordID(s); return err }
	for _, tc := range []struct {
		name  string
		parse func(string) error
		good  []string
		bad   []string
	}{
		{
			"tenant", tenant,
			[]string{"a", "0", "a-b", "a--b", strings.Repeat("a", 63)},
			[]string{"", "-a", "a-", "-", "a_b", "A", "é", "a b", "a/b", "../a", "a\x00", strings.Repeat("a", 64)},
		},
		{
			"collection", collection,
			[]string{"a", "9", "a-b_c", strings.Repeat("z", 63)},
			[]string{"", "_a", "a_", "-", "A", "ä", "a.b", "a/b", "a\n", strings.Repeat("z", 64)},
		},
		{
			"record", record,
			[]string{"a", " ", "../../etc/passwd", "a/b?c#d", "'; DROP TABLE records; --", "日本語", "\u200b", strings.Repeat("é", 256)},
			[]string{"", "a\x00b", "a\nb", "\x7f", "a\u0085b", "\u009f", "\xff", "a\xc3", strings.Repeat("a", 513)},
		},
	} {
		for _, s := range tc.good {
			if err := tc.parse(s); err != nil {
				t.Errorf("Parse %s id(%q) = %v, want nil", tc.name, s, err)
			}
		}
		for _, s := range tc.bad {
			if err := tc.parse(s); !errors.Is(err, knowledge.ErrInvalid) {
				t.Errorf("Parse %s id(%q) = %v, want ErrInvalid", tc.name, s, err)
			}
		}
	}
}

func TestParseReturnsWhatItChecked(t *testing.T) {
	if id, err := knowledge.ParseTenantID("acme"); id != "acme" || err != nil {
		t.Errorf("ParseTenantID(acme) = %q, %v, want acme, nil", id, err)
	}
	if name, err := knowledge.ParseCollectionName("docs_1"); name != "docs_1" || err != nil {
		t.Errorf("ParseCollectionName(docs_1) = %q, %v, want docs_1, nil", name, err)
	}
	if id, err := knowledge.ParseRecordID("a/1"); id != "a/1" || err != nil {
		t.Errorf("ParseRecordID(a/1) = %q, %v, want a/1, nil", id, err)
	}
	if id, err := knowledge.ParseTenantID("Acme"); id != "" || err == nil {
		t.Errorf("ParseTenantID(Acme) = %q, %v, want nothing and an error", id, err)
	}
}

func TestAt(t *testing.T) {
	other := errors.New("other")
	for _, tc := range []struct {
		prefix string
		err    error
		want   string
	}{
		{"a", knowledge.Invalid("", "is bad"), "a: is bad"},
		{"a", knowledge.Invalid("b", "is bad"), "a.b: is bad"},
		{"a", knowledge.Invalid("[3]", "is bad"), "a[3]: is bad"},
		{"a", knowledge.At("b", knowledge.Invalid("[0].c", "is bad")), "a.b[0].c: is bad"},
	} {
		got := knowledge.At(tc.prefix, tc.err)
		if got.Error() != tc.want || !errors.Is(got, knowledge.ErrInvalid) {
			t.Errorf("At(%q, %v) = %v, want %q of the kind ErrInvalid", tc.prefix, tc.err, got, tc.want)
		}
	}
	if got := knowledge.At("a", other); got != other {
		t.Errorf("At(a, %v) = %v, want it as it was", other, got)
	}
	if got := knowledge.At("a", nil); got != nil {
		t.Errorf("At(a, nil) = %v, want nil", got)
	}
}
