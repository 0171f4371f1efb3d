package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func descriptionsIn(list string) (found []description, err error) {
	err = readDescriptions(strings.NewReader(list), func(d description) error {
		found = append(found, d)
		return nil
	})
	return found, err
}

func TestReadDescriptions(t *testing.T) {
	got, err := descriptionsIn("Package: a-b\nDescription-md5: 0\nDescription-en: a game\n First line\n second.\n .\n Third.\n\n" +
		"Package: none\nDescription-de: ein Spiel\n Zeile\n\n\nPackage: c2\nDescription-en: last")
	want := []description{{"a-b", "a game\n\nFirst line\nsecond.\n\nThird.\n"}, {"c2", "last\n\n"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("readDescriptions = %q, %v, want %q", got, err, want)
	}
}

// TestReadDescriptionsRefuses: a name is a file's name too.
func TestReadDescriptionsRefuses(t *testing.T) {
	for _, name := range []string{"../x", "a/b", "", "A", ".", "-x"} {
		if got, err := descriptionsIn("Package: " + name + "\nDescription-en: x\n"); err == nil {
			t.Errorf("readDescriptions of package %q = %q, want an error", name, got)
		}
	}
	stop := errors.New("stop")
	err := readDescriptions(strings.NewReader("Package: ab\nDescription-en: x\n"), func(description) error { return stop })
	if !errors.Is(err, stop) {
		t.Errorf("readDescriptions = %v, want what do returned", err)
	}
}

func FuzzReadDescriptions(f *testing.F) {
	f.Add("Package: ab\nDescription-en: x\n y\n .\n z\n\nPackage: cd\nDescription-en: x")
	f.Fuzz(func(t *testing.T, list string) {
		found, err := descriptionsIn(list)
		if err != nil {
			return
		}
		for _, d := range found {
			if !packageName.MatchString(d.name) || d.text == "" {
				t.Errorf("readDescriptions(%q) gave %q, want a name and a text", list, d)
			}
		}
	})
}
