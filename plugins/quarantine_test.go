package plugins_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/fakevm"
)

// holding is a driver that keeps programs back.
type holding struct {
	vmhost.Driver
	held []vmhost.Quarantine
}

func (d *holding) Quarantined() []vmhost.Quarantine {
	return append([]vmhost.Quarantine(nil), d.held...)
}

func (d *holding) Release(account vmhost.Account, digest vmhost.Digest) bool {
	for i, q := range d.held {
		if q.Account == account && q.Digest == digest {
			d.held = append(d.held[:i:i], d.held[i+1:]...)
			return true
		}
	}
	return false
}

// TestQuarantine: the operator's list is in order and in pages, and what is in it
// is released once, for its own tenant.
func TestQuarantine(t *testing.T) {
	module := func(name string) vmhost.Digest { return vmhost.DigestOf([]byte(name)) }
	d := &holding{Driver: fakevm.New(nil), held: []vmhost.Quarantine{
		{Account: "bob", Digest: module("x"), Reason: "out of memory", Since: time.Unix(1, 0), Deaths: 5},
		{Account: "alice", Digest: module("x")},
		{Account: "alice", Digest: module("y")},
	}}
	host, err := vmhost.New(d, vmhost.Options{Slots: 1, MaxLimits: vmhost.Limits{
		Wall: time.Second, Memory: 1 << 20, Input: 1, Output: 1, Logs: 1,
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close(context.WithoutCancel(t.Context()))
	q := plugins.Quarantine{Host: host}
	var got []plugins.Quarantined
	after := ""
	for {
		page, err := q.ListQuarantined(t.Context(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
		if len(page) < 2 {
			break
		}
		after = page[1].Key()
	}
	want := plugins.Quarantined{Tenant: bob, Module: module("x"), Reason: "out of memory", Since: time.Unix(1, 0), Deaths: 5}
	if len(got) != 3 || got[0].Key() >= got[1].Key() || got[0].Tenant != alice || got[2] != want {
		t.Errorf("ListQuarantined = %+v, want alice's two and then %+v", got, want)
	}
	if err := q.ReleaseQuarantined(t.Context(), bob, module("y")); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("ReleaseQuarantined of another tenant's = %v, want ErrNotFound", err)
	}
	if err := q.ReleaseQuarantined(t.Context(), bob, module("x")); err != nil {
		t.Errorf("ReleaseQuarantined = %v, want nil", err)
	}
	if err := q.ReleaseQuarantined(t.Context(), bob, module("x")); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("ReleaseQuarantined again = %v, want ErrNotFound", err)
	}
}

// TestQuarantinedCall: a tenant is told that its plugin is kept back, and why.
func TestQuarantinedCall(t *testing.T) {
	n := newNode(t, fakevm.New(map[string]fakevm.Func{"echo": echo, "other": echo}), 1)
	n.upload(t, alice, manifest("echo"), fakevm.Module("echo"))
	n.upload(t, alice, manifest("other"), fakevm.Module("other")) // takes the only place
	n.driver.set(func(context.Context) error {
		return &vmhost.QuarantinedError{Quarantine: vmhost.Quarantine{Reason: "out of memory", Since: time.Unix(0, 0), Deaths: 5}}
	})
	_, _, err := n.rank(t.Context(), alice, query.PluginCall{Name: "echo", Capability: query.Rank}, "q", candidates())
	var fault *query.PluginError
	if !errors.As(err, &fault) || fault.Reason != "quarantined" || !strings.Contains(fault.Detail, "5 in a row, the last: out of memory") {
		t.Errorf("Rank = %v, want the reason quarantined, with why", err)
	}
	if !errors.Is(err, vmhost.ErrQuarantined) {
		t.Errorf("Rank = %v, want ErrQuarantined", err)
	}
}
