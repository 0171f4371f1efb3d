//go:build !linux || !(amd64 || arm64)

package cell

import (
	"fmt"
	"runtime"

	"github.com/tars-project/tars/vmhost"
)

// newLauncher fails: there is no jail to be had on this system.
func newLauncher(Options) (Launcher, error) {
	return nil, fmt.Errorf("%w: cells need linux on amd64 or arm64, this is %s/%s", vmhost.ErrUnavailable, runtime.GOOS, runtime.GOARCH)
}
