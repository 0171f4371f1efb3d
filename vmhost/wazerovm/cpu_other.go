//go:build !linux

package wazerovm

import "time"

// threadTime is not known: no processor time is counted.
func threadTime() time.Duration { return 0 }
