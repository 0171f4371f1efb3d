package plugins

import (
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/wasm"
)

// inspectionOf keeps of what the parser found that which people ask about.
func inspectionOf(module []byte, found *wasm.Inspection) Inspection {
	i := Inspection{
		ModuleDigest: vmhost.DigestOf(module),
		Functions:    found.Functions,
		MemoryPages:  found.Memory.Min,
	}
	for _, imported := range found.Imports {
		i.Imports = append(i.Imports, imported.Module+" "+imported.Name)
	}
	for _, e := range found.Exports {
		i.Exports = append(i.Exports, e.Name)
	}
	for _, f := range found.Features {
		i.Features = append(i.Features, string(f))
	}
	if len(found.Producers) > 0 {
		i.Toolchain = found.Producers[0].Name + " " + found.Producers[0].Version
	}
	return i
}
