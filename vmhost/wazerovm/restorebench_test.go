package wazerovm

import (
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest"
	"github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild"
)

// BenchmarkFreshAndRestored is one call with a new instance against one with a VM
// that is put back at its image, of a small guest with a megabyte of memory and of
// a plugin in Go that reads and writes JSON.
func BenchmarkFreshAndRestored(b *testing.B) {
	document := []byte(`{"abi":1,"query":{"text":"capital of France"},"candidates":[{"index":0,"text":"Paris is the capital of France."},{"index":1,"text":"The Danube flows through ten countries."}]}`)
	small := wasmbuild.Plugin{Handle: wasmbuild.ReturnOK(wasmbuild.Get(2), wasmbuild.Get(3))}
	for _, guest := range []struct {
		name   string
		module []byte
	}{
		{"small", small.Encode()},
		{"go", vmhosttest.Guest(b, "cited")},
	} {
		for _, way := range []string{"fresh", "restored", "primed"} {
			src := guestSource(guest.module)
			src.Fresh = way == "fresh"
			if way == "primed" {
				src.Samples = []vmhost.Sample{{Capability: "rank", Input: document}}
			}
			b.Run(guest.name+"/"+way, func(b *testing.B) {
				p := preparedProgram(b, src)
				var restore, vm time.Duration
				b.ReportAllocs()
				for b.Loop() {
					reply, err := p.Call(b.Context(), vmhost.Request{Capability: "rank", Input: document})
					if err != nil {
						b.Fatal(err)
					}
					restore += reply.Usage.Restore
					vm += reply.Usage.VM
				}
				b.ReportMetric(float64(restore.Nanoseconds())/float64(b.N), "restore-ns/op")
				b.ReportMetric(float64(vm.Nanoseconds())/float64(b.N), "vm-ns/op")
			})
		}
	}
}
