// Package sdk carries the sources of the SDKs, so that the command line can put
// one beside a new plugin, which then needs nothing but its toolchain.
package sdk

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed go/*.go
var sources embed.FS

// Go returns the files of package tars (plugins/sdk/go) by name, without tests.
func Go() (map[string][]byte, error) {
	entries, err := fs.ReadDir(sources, "go")
	if err != nil {
		return nil, fmt.Errorf("embedded SDK: %w", err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		if files[e.Name()], err = sources.ReadFile("go/" + e.Name()); err != nil {
			return nil, fmt.Errorf("embedded SDK: %w", err)
		}
	}
	return files, nil
}
