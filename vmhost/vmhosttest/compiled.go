package vmhosttest

import (
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// testCompiled: plugins as people write them, in Go with the SDK.
func testCompiled(t *testing.T, h Harness) {
	host := h.host(t)
	goGuest := func(t *testing.T, name string) *vmhost.Guest {
		src := sourceOf(Guest(t, name))
		src.Limits.Memory = 64 << 20
		src.Limits.Wall = 10 * time.Second
		return load(t, host, src)
	}
	const document = `{"abi":1,"candidates":[{"index":0,"text":"x"}]}`
	t.Run("echo", func(t *testing.T) {
		g := goGuest(t, "echo")
		reply := wantOutput(t, g, request(document), document)
		if len(reply.Logs) != 1 || reply.Logs[0].Level != 1 || !strings.HasPrefix(reply.Logs[0].Text, "rank: ") {
			t.Errorf("Logs = %v, want one of level 1 that begins with the capability", reply.Logs)
		}
		concurrently(8, func(int) { wantOutput(t, g, request(document), document) })
	})
	t.Run("state", func(t *testing.T) {
		g := goGuest(t, "state")
		concurrently(8, func(int) { wantOutput(t, g, request(document), `{"scores":[{"index":0,"score":1}]}`) })
	})
	t.Run("trap", func(t *testing.T) {
		g := goGuest(t, "trap")
		for _, mode := range []string{"trap", "exit", "crash"} {
			wantKind(t, g, request(`{"abi":1,"config":{"mode":"`+mode+`"}}`), vmhost.ErrTrapped)
		}
	})
	t.Run("hog", func(t *testing.T) {
		wantKind(t, goGuest(t, "hog"), request(document), vmhost.ErrMemory)
	})
}
