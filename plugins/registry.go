package plugins

import (
	"context"
	"errors"
	"fmt"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/wasm"
)

// Registry takes uploads. Set every field before the first use; safe for
// concurrent use.
type Registry struct {
	Catalog  Catalog
	Loader   *Loader
	Defaults Defaults
	WASM     wasm.Limits // for the inspection; the same that the host checks with
}

// Upload checks a module and keeps it as a new version of the plugin that the
// manifest names, or returns the version with the same digest, and false. The
// module is compiled and one instance of it tried in a cell before it is kept; if
// anything fails nothing is. It returns an [knowledge.InvalidError] for a
// manifest that the policy does not allow, a *[vmhost.RefusedError] for a bad
// module, or an error wrapping knowledge.ErrLimit or vmhost.ErrUnavailable.
func (r *Registry) Upload(ctx context.Context, tenant knowledge.TenantID, policy tenancy.Policy, m Manifest, module []byte) (Version, bool, error) {
	if err := r.allowed(m, policy); err != nil {
		return Version{}, false, err
	}
	digest := DigestOf(m, module)
	old, err := r.Catalog.Version(ctx, tenant, m.Name, Ref{Digest: &digest})
	if err == nil {
		return old, false, nil
	}
	if !errors.Is(err, knowledge.ErrNotFound) {
		return Version{}, false, fmt.Errorf("upload: %w", err)
	}
	inspection, err := r.inspect(module)
	if err != nil {
		return Version{}, false, err
	}
	try := wanted{
		key:      key{tenant, digest, r.Defaults.limits(m, policy)},
		manifest: m,
		memory:   policy.Memory,
		module:   func(context.Context) ([]byte, error) { return module, nil },
	}
	if err := r.Loader.use(ctx, try, func(*vmhost.Guest) error { return nil }); err != nil {
		return Version{}, false, err
	}
	v := Version{Name: m.Name, Digest: digest, Manifest: m, Inspection: inspection, Size: int64(len(module))}
	stored, created, err := r.Catalog.PutVersion(ctx, tenant, v, module, policy.MaxPlugins)
	if err != nil {
		return Version{}, false, fmt.Errorf("upload: %w", err)
	}
	return stored, created, nil
}

// inspect reads a module with the bounded parser.
func (r *Registry) inspect(module []byte) (Inspection, error) {
	found, err := wasm.Check(module, r.WASM)
	if err != nil {
		var fault *wasm.Error
		if errors.As(err, &fault) {
			return Inspection{}, &vmhost.RefusedError{Section: fault.Section, Offset: fault.Offset, Detail: fault.Detail}
		}
		return Inspection{}, fmt.Errorf("inspect: %w", err)
	}
	return inspectionOf(module, found), nil
}

// allowed checks a manifest against the tenant's policy and the node's caps.
func (r *Registry) allowed(m Manifest, policy tenancy.Policy) error {
	if err := m.validate(); err != nil {
		return knowledge.At("manifest", err)
	}
	return r.Defaults.allow(m.Limits, policy)
}
