package vmhost

import (
	"errors"
	"fmt"

	"github.com/tars-project/tars/vmhost/wasm"
)

// PageSize is the unit of linear memory, in bytes.
const PageSize = 64 << 10

// check refuses a source that must not reach the driver.
func (h *Host) check(src Source) error {
	if err := checkLimits(src.Limits, h.opts.MaxLimits); err != nil {
		return &RefusedError{Offset: -1, Detail: err.Error()}
	}
	limits := h.opts.WASM
	limits.MemoryPages = min(limits.MemoryPages, uint32(src.Limits.Memory/PageSize))
	found, err := checkModule(src.Module, limits)
	if err != nil {
		return err
	}
	if err := checkGrants(found.Imports, src.Grants); err != nil {
		return err
	}
	if got := DigestOf(src.Module); got != src.Digest {
		return &RefusedError{Offset: -1, Detail: fmt.Sprintf("the module has the digest %v", got)}
	}
	return nil
}

// checkModule reads the module with the bounded parser.
func checkModule(module []byte, limits wasm.Limits) (*wasm.Inspection, error) {
	found, err := wasm.Check(module, limits)
	var bad *wasm.Error
	if errors.As(err, &bad) {
		return nil, &RefusedError{Section: bad.Section, Offset: bad.Offset, Detail: bad.Detail}
	}
	return found, err
}

// checkGrants refuses a module that imports a host function that is not granted.
func checkGrants(imports []wasm.Import, g Grants) error {
	granted := map[string]bool{"search": g.Search, "embed": g.Embed, "vectors": g.Vectors, "log": g.Log}
	for _, i := range imports {
		if i.Module == wasm.HostModule && !granted[i.Name] {
			return &RefusedError{Section: "import", Offset: -1, Detail: fmt.Sprintf("the host function %q is not granted to this module", i.Name)}
		}
	}
	return nil
}

// checkLimits reports the limits that are not positive, or over those of the
// node.
func checkLimits(l, most Limits) error {
	var errs []error
	for _, f := range []struct {
		name      string
		got, most int64
		least     int64
	}{
		{"wall", int64(l.Wall), int64(most.Wall), 1},
		{"memory", l.Memory, most.Memory, PageSize},
		{"input", l.Input, most.Input, 1},
		{"output", l.Output, most.Output, 1},
		{"logs", l.Logs, most.Logs, 1},
		{"host calls", int64(l.HostCalls), int64(most.HostCalls), 0},
	} {
		if f.got < f.least || f.got > f.most {
			errs = append(errs, fmt.Errorf("limit of %s: %d, need %d to %d", f.name, f.got, f.least, f.most))
		}
	}
	if l.Memory%PageSize != 0 {
		errs = append(errs, fmt.Errorf("limit of memory: %d, need a multiple of %d", l.Memory, PageSize))
	}
	return errors.Join(errs...)
}
