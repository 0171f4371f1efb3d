package vmhosttest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// guestPackages is where the sources of the test plugins are.
const guestPackages = "github.com/tars-project/tars/plugins/guests/"

// guests are the modules that this process has built, by name. Building is left
// to the go command, whose cache makes a second process fast.
var guests sync.Map // string → func() ([]byte, error)

// Guest returns the module of a test plugin, a folder of plugins/guests such as
// "echo", compiled as plugins are. Each is compiled once in a process. The
// bytes are shared and must not be modified.
func Guest(t testing.TB, name string) []byte {
	t.Helper()
	build, _ := guests.LoadOrStore(name, sync.OnceValues(func() ([]byte, error) { return buildGuest(name) }))
	module, err := build.(func() ([]byte, error))()
	if err != nil {
		t.Fatalf("build guest %s: %v", name, err)
	}
	return module
}

func buildGuest(name string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what stays is in the system's temporary folder
	file := filepath.Join(dir, name+".wasm")
	build := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w", "-o", file, guestPackages+name)
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, output)
	}
	return os.ReadFile(file)
}
