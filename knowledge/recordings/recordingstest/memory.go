package recordingstest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/recordings"
)

// Memory keeps recordings in memory, for tests of others. Every tenant is there but
// "nobody". The zero value is ready; safe for concurrent use.
type Memory struct {
	mu   sync.Mutex
	kept map[knowledge.TenantID][]recordings.Entry // oldest first
}

var _ recordings.Store = (*Memory)(nil)

func (m *Memory) find(tenant knowledge.TenantID, call ledger.ID) int {
	return slices.IndexFunc(m.kept[tenant], func(e recordings.Entry) bool { return e.Call == call && time.Now().Before(e.Expires) })
}

// PutRecording implements [recordings.Store].
func (m *Memory) PutRecording(_ context.Context, tenant knowledge.TenantID, e recordings.Entry, most int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if tenant == "nobody" {
		return fmt.Errorf("put recording: %w", knowledge.ErrNotFound)
	}
	if m.find(tenant, e.Call) >= 0 {
		return fmt.Errorf("put recording: %w", knowledge.ErrConflict)
	}
	if m.kept == nil {
		m.kept = map[knowledge.TenantID][]recordings.Entry{}
	}
	all := append(m.kept[tenant], e)
	size := func() (n int64) {
		for _, e := range all {
			n += int64(len(e.Sealed.Bytes))
		}
		return n
	}
	for len(all) > 1 && size() > most {
		all = all[1:]
	}
	m.kept[tenant] = all
	return nil
}

// Recording implements [recordings.Store].
func (m *Memory) Recording(_ context.Context, tenant knowledge.TenantID, call ledger.ID) (recordings.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.find(tenant, call)
	if i < 0 {
		return recordings.Entry{}, fmt.Errorf("recording: %w", knowledge.NotFound("recording", call))
	}
	return m.kept[tenant][i], nil
}

// DeleteRecording implements [recordings.Store].
func (m *Memory) DeleteRecording(_ context.Context, tenant knowledge.TenantID, call ledger.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.find(tenant, call)
	if i < 0 {
		return fmt.Errorf("delete recording: %w", knowledge.NotFound("recording", call))
	}
	m.kept[tenant] = slices.Delete(m.kept[tenant], i, i+1)
	return nil
}

// SweepRecordings implements [recordings.Store].
func (m *Memory) SweepRecordings(context.Context) (swept int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for tenant, all := range m.kept {
		left := slices.DeleteFunc(all, func(e recordings.Entry) bool { return !time.Now().Before(e.Expires) })
		swept += int64(len(all) - len(left))
		m.kept[tenant] = left
	}
	return swept, nil
}

// Only is the call of the tenant's one recording; empty when there is another number of
// them.
func (m *Memory) Only(tenant knowledge.TenantID) ledger.ID {
	m.mu.Lock()
	defer m.mu.Unlock()
	if all := m.kept[tenant]; len(all) == 1 {
		return all[0].Call
	}
	return ""
}
