package main

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tars-project/tars/vmhost"
)

// configured parses flags of serve as the command line does, with what every
// server needs.
func configured(t *testing.T, flags ...string) (*serverConfig, error) {
	t.Helper()
	var c struct{ serverConfig }
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatalf("kong.New: %v", err)
	}
	required := []string{"--admin-key=" + strings.Repeat("k", 32), "--kek=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
	_, err = parser.Parse(append(required, flags...))
	return &c.serverConfig, err
}

// TestNoInproc: there is no way to ask serve for guests in its own process.
func TestNoInproc(t *testing.T) {
	for _, grade := range []string{"inproc", "none", "fake", "off", ""} {
		c, err := configured(t, "--min-grade="+grade)
		if err != nil {
			t.Fatalf("min-grade %q: %v", grade, err)
		}
		if _, err := c.settings(); err == nil || !strings.Contains(err.Error(), "--min-grade") {
			t.Errorf("settings with the grade %q: %v, want a refusal", grade, err)
		}
	}
	for _, flag := range []string{"--inproc", "--isolation=inproc", "--tier=inproc", "--driver=wazero"} {
		if _, err := configured(t, flag); err == nil {
			t.Errorf("%s is a flag of serve, want none of its kind", flag)
		}
	}
}

// TestBudgetSettings: what the flags of budgets come to.
func TestBudgetSettings(t *testing.T) {
	const mib = 1 << 20
	for _, tc := range []struct {
		name, refused string // the flag that is refused
		flags         []string
		memory        int64 // 0: not looked at
		fuel          int64
	}{
		{"defaults", "", nil, 0, 2e9 * 10},
		{"node's memory", "", []string{"--plugin-node-memory=1073741824"}, 1 << 30, 2e9 * 10},
		{"too little for one call", "plugin-node-memory", []string{"--plugin-node-memory=268435456"}, 0, 0},
		{"smaller calls", "", []string{"--plugin-node-memory=268435456", "--plugin-max-memory=134217728"}, 256 * mib, 2e9 * 10},
		{"negative memory", "plugin-node-memory", []string{"--plugin-node-memory=-1"}, 0, 0},
		{"fuel", "", []string{"--plugin-fuel=77"}, 0, 77},
		{"negative fuel", "plugin-fuel", []string{"--plugin-fuel=-1"}, 0, 0},
		{"fuel over its most", "plugin-max-fuel", []string{"--plugin-fuel=77", "--plugin-max-fuel=76"}, 0, 0},
	} {
		c, err := configured(t, tc.flags...)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		s, err := c.settings()
		if tc.refused != "" {
			if err == nil || !strings.Contains(err.Error(), "--"+tc.refused+":") {
				t.Errorf("%s: settings = %v, want --%s refused", tc.name, err, tc.refused)
			}
			continue
		}
		if err != nil || tc.memory != 0 && s.memory != tc.memory || s.memory <= 0 {
			t.Errorf("%s: memory %d, %v, want %d", tc.name, s.memory, err, tc.memory)
		}
		call := vmhost.Limits{Wall: s.defaults.Wall, Fuel: s.defaults.Fuel}.WithDefaults()
		if call.Fuel != tc.fuel {
			t.Errorf("%s: fuel of a call = %d, want %d", tc.name, call.Fuel, tc.fuel)
		}
	}
}

// TestCallsRetention: calls are kept for 30 days, and never for so short that a call
// could be swept while it runs.
func TestCallsRetention(t *testing.T) {
	for flag, want := range map[string]time.Duration{"": 30 * 24 * time.Hour, "--calls-retention=1h": time.Hour, "--calls-retention=59m": 0, "--calls-retention=-1h": 0, "--calls-retention=87601h": 0} {
		var flags []string
		if flag != "" {
			flags = append(flags, flag)
		}
		c, err := configured(t, flags...)
		if err != nil {
			t.Fatalf("%s: %v", flag, err)
		}
		_, err = c.settings()
		if refused := err != nil && strings.Contains(err.Error(), "--calls-retention:"); refused != (want == 0) || !refused && c.CallsKept != want {
			t.Errorf("%s: kept for %s, %v, want %s, or a refusal for 0", flag, c.CallsKept, err, want)
		}
	}
}
