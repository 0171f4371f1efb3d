package fakevm

import (
	"bytes"
	"fmt"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild"
)

// section is the custom section that names the function.
const section = "fakevm"

// Module returns a module that stands for the function of a name: a plugin that
// [vmhost.Host] accepts, though it does nothing. imports are the host functions
// that it asks for, such as "search", so that it needs their grants.
func Module(name string, imports ...string) []byte {
	p := wasmbuild.Plugin{
		Handle: wasmbuild.I32(wasmbuild.ResultAt),
		Custom: []wasmbuild.Custom{{Name: section, Bytes: []byte(name)}},
	}
	for _, i := range imports {
		p.Imports = append(p.Imports, wasmbuild.HostImport(i))
	}
	return p.Encode()
}

// nameOf reads the name back. The section is the module's last.
func nameOf(module []byte) (string, error) {
	_, name, ok := bytes.Cut(module, append([]byte{byte(len(section))}, section...))
	if !ok {
		return "", &vmhost.RefusedError{Offset: -1, Detail: fmt.Sprintf("the module has no section %q: it was not made by fakevm", section)}
	}
	return string(name), nil
}
