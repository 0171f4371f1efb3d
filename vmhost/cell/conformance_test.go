//go:build linux && (amd64 || arm64)

package cell_test

import (
	"testing"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest"
)

// TestConformance runs the tests that every driver passes against cells of the
// shipped binary.
func TestConformance(t *testing.T) {
	vmhosttest.Run(t, vmhosttest.Harness{
		New: func(t testing.TB) vmhost.Driver { return newDriver(t, binTars, nil) },
	})
}
