package vmhost

import (
	"errors"
	"fmt"

	"github.com/tars-project/tars/vmhost/wasm"
)

// check refuses a source that must not reach the driver.
func (h *Host) check(src Source) error {
	if err := checkLimits(src.Limits, h.opts.MaxLimits); err != nil {
		return &RefusedError{Offset: -1, Detail: err.Error()}
	}
	if err := h.slots.fits(src.Limits.Reservation(), src.AccountMemory); err != nil {
		return err
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
	if err := checkTables(found.Tables, src.Limits.Tables); err != nil {
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

// checkTables refuses a module whose tables may become larger than they may. Each
// has a maximum or must not be grown; see [wasm.Limits].
func checkTables(tables []wasm.Table, limit int64) error {
	var need int64
	for _, t := range tables {
		need += int64(max(t.Min, t.Max)) * tableEntry
	}
	if need > limit {
		return &RefusedError{Section: "table", Offset: -1, Detail: fmt.Sprintf("the tables may need %d bytes, at most %d are allowed", need, limit)}
	}
	return nil
}
