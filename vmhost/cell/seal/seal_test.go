package seal

import (
	"slices"
	"testing"
)

func TestArgs(t *testing.T) {
	for _, want := range []Plan{
		{Namespaces: true, AddressSpace: 1 << 40, Threads: 64, ImageSize: 1 << 30, Folder: FolderRead},
		{Namespaces: false, AddressSpace: 1, Threads: 1, ImageSize: 1, Folder: FolderNone},
		{AddressSpace: 1, Threads: 1, Folder: FolderWrite, FolderBytes: 1 << 27, CPU: 6},
	} {
		if got, err := ParseArgs(want.Args()); err != nil || got != want {
			t.Errorf("ParseArgs(%q) = %+v, %v, want %+v", want.Args(), got, err, want)
		}
	}
	whole := Plan{AddressSpace: 1, Threads: 1, ImageSize: 1}.Args()
	for _, args := range [][]string{
		nil, whole[:2], append(slices.Clone(whole), "more"), append(slices.Clone(whole), "-unknown"),
		Plan{Threads: 1, ImageSize: 1}.Args(), Plan{AddressSpace: 1, ImageSize: 1}.Args(), Plan{AddressSpace: 1, Threads: 1}.Args(),
		append([]string{whole[0], whole[1], "-threads=x"}, whole[3:]...),
		Plan{AddressSpace: 1, Threads: 1, ImageSize: 1, Folder: "other"}.Args(),
		Plan{AddressSpace: 1, Threads: 1, Folder: FolderWrite}.Args(),
		Plan{AddressSpace: 1, Threads: 1, ImageSize: 1, Folder: FolderWrite, FolderBytes: 1}.Args(),
		Plan{AddressSpace: 1, Threads: 1, ImageSize: 1, Folder: FolderRead, FolderBytes: 1}.Args(),
	} {
		if got, err := ParseArgs(args); err == nil {
			t.Errorf("ParseArgs(%q) = %+v, want an error", args, got)
		}
	}
}
