package plugins

import (
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/vmhost"
)

// Defaults are the caps of a call where the manifest names none, and the most
// that a manifest may ask for. A tenant's policy may lower both.
type Defaults struct {
	Memory    int64         // bytes, a multiple of 64 KiB; default of a manifest without one
	MaxMemory int64         // bytes
	Wall      time.Duration // default of a manifest without one
	MaxWall   time.Duration // also the most of processor time and of time in host calls, whose default is the call's own wall
	Input     int64         // bytes of the documents handed in
	Output    int64         // bytes; default of a manifest without one
	MaxOutput int64
	Logs      int64 // bytes of log messages kept of one call
	Fuel      int64 // default of a manifest without one; 0: what vmhost gives for the call's wall
	MaxFuel   int64 // 0: what vmhost gives for MaxWall
	// Host calls: how many, and bytes of arguments and answers. MaxHostBytes
	// is the default too; 0 means vmhost's.
	HostCalls    int
	MaxHostCalls int
	MaxHostBytes int64
}

// Most is the most that a call may have on a node with these defaults, whatever
// its manifest asks for.
func (d Defaults) Most() vmhost.Limits {
	return vmhost.Limits{
		Wall: d.MaxWall, Memory: d.MaxMemory, Input: d.Input, Output: d.MaxOutput, Logs: d.Logs,
		HostCalls: d.MaxHostCalls, Fuel: d.MaxFuel, HostBytes: d.MaxHostBytes,
	}.WithDefaults()
}

// limits are the caps of a call of a plugin with manifest m, of a tenant with
// policy p: what the manifest asks for or else the default, and never more than
// the policy allows, also when it was changed after the upload.
func (d Defaults) limits(m Manifest, p tenancy.Policy) vmhost.Limits {
	l := vmhost.Limits{
		Wall: orElse(m.Limits.Wall, d.Wall), Memory: orElse(m.Limits.Memory, d.Memory),
		Input: d.Input, Output: orElse(m.Limits.Output, d.Output), Logs: d.Logs,
		Fuel: orElse(m.Limits.Fuel, d.Fuel), CPU: m.Limits.CPU,
		HostCalls: orElse(m.Limits.HostCalls, d.HostCalls), HostBytes: m.Limits.HostBytes, HostTime: m.Limits.HostTime,
	}
	if p.PluginMemory > 0 {
		l.Memory = min(l.Memory, p.PluginMemory/vmhost.PageSize*vmhost.PageSize)
	}
	if p.PluginWall > 0 {
		l.Wall = min(l.Wall, p.PluginWall)
	}
	l, most := l.WithDefaults(), d.Most()
	l.Fuel, l.HostBytes = min(l.Fuel, most.Fuel), min(l.HostBytes, most.HostBytes)
	return l
}

func orElse[T int | int64 | time.Duration](value, other T) T {
	if value > 0 {
		return value
	}
	return other
}

// allow checks what a manifest asks for against the node's caps and the tenant's
// policy.
func (d Defaults) allow(asked Limits, p tenancy.Policy) error {
	most := d.Most()
	if p.PluginMemory > 0 {
		most.Memory = min(most.Memory, p.PluginMemory)
	}
	if p.PluginWall > 0 {
		most.Wall = min(most.Wall, p.PluginWall)
	}
	for _, n := range []struct {
		name        string
		asked, most int64
	}{
		{"memory_bytes", asked.Memory, most.Memory},
		{"wall_ms", asked.Wall.Milliseconds(), most.Wall.Milliseconds()},
		{"output_bytes", asked.Output, most.Output},
		{"fuel", asked.Fuel, most.Fuel},
		{"cpu_ms", asked.CPU.Milliseconds(), most.Wall.Milliseconds()},
		{"host_calls", int64(asked.HostCalls), int64(most.HostCalls)},
		{"host_bytes", asked.HostBytes, most.HostBytes},
		{"host_ms", asked.HostTime.Milliseconds(), most.Wall.Milliseconds()},
	} {
		if n.asked > n.most {
			return knowledge.Invalid("manifest.limits."+n.name, "is %d; at most %d are allowed", n.asked, n.most)
		}
	}
	return nil
}
