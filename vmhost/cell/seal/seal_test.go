package seal

import (
	"slices"
	"testing"
)

func TestArgs(t *testing.T) {
	for _, want := range []Plan{
		{Namespaces: true, AddressSpace: 1 << 40, Threads: 64, ImageSize: 1 << 30},
		{Namespaces: false, AddressSpace: 1, Threads: 1, ImageSize: 1},
	} {
		if got, err := ParseArgs(want.Args()); err != nil || got != want {
			t.Errorf("ParseArgs(%q) = %+v, %v, want %+v", want.Args(), got, err, want)
		}
	}
	whole := Plan{AddressSpace: 1, Threads: 1, ImageSize: 1}.Args()
	for _, args := range [][]string{
		nil, whole[:2], append(slices.Clone(whole), "more"), append(slices.Clone(whole), "-unknown"),
		Plan{Threads: 1, ImageSize: 1}.Args(), Plan{AddressSpace: 1, ImageSize: 1}.Args(), Plan{AddressSpace: 1, Threads: 1}.Args(),
		{whole[0], whole[1], "-threads=x", whole[3]},
	} {
		if got, err := ParseArgs(args); err == nil {
			t.Errorf("ParseArgs(%q) = %+v, want an error", args, got)
		}
	}
}
