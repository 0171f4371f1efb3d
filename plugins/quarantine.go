package plugins

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/vmhost"
)

// Quarantined is a module of a tenant that this node does not run any more because
// it kept killing its cell. All versions with that module are kept back.
type Quarantined struct {
	Tenant knowledge.TenantID
	Module vmhost.Digest // as in [Inspection.ModuleDigest]
	Reason string
	Since  time.Time
	Deaths int
}

// Key orders the quarantine, by tenant and module.
func (q Quarantined) Key() string { return string(q.Tenant) + "/" + q.Module.String() }

// Quarantine is the operator's view of what a node keeps back. Safe for concurrent
// use.
type Quarantine struct{ Host *vmhost.Host }

// ListQuarantined returns up to limit modules in the order of their keys, those
// after the given; an empty key means from the first.
func (q Quarantine) ListQuarantined(_ context.Context, after string, limit int) ([]Quarantined, error) {
	var list []Quarantined
	for _, held := range q.Host.Quarantined() {
		item := Quarantined{Tenant: knowledge.TenantID(held.Account), Module: held.Digest, Reason: held.Reason, Since: held.Since, Deaths: held.Deaths}
		if len(list) < limit && strings.Compare(item.Key(), after) > 0 {
			list = append(list, item)
		}
	}
	return list, nil
}

// ReleaseQuarantined lets a module be called again, or wraps
// [knowledge.ErrNotFound] when it is not kept back.
func (q Quarantine) ReleaseQuarantined(_ context.Context, tenant knowledge.TenantID, module vmhost.Digest) error {
	if !q.Host.Release(vmhost.Account(tenant), module) {
		return fmt.Errorf("quarantine of tenant %s: %w", tenant, knowledge.NotFound("module in quarantine", module.String()))
	}
	return nil
}

// ParseModuleDigest reads what [vmhost.Digest.String] writes. It returns a
// *[knowledge.InvalidError].
func ParseModuleDigest(s string) (vmhost.Digest, error) {
	d, err := ParseDigest(s)
	return vmhost.Digest(d), err
}
