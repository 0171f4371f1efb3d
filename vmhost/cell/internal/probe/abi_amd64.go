//go:build linux

package main

import (
	"fmt"
	"syscall"
)

func getpid32() uint64

func foreignABI() (string, error) {
	pid := int32(getpid32())
	if pid < 0 {
		return "", syscall.Errno(-pid)
	}
	return fmt.Sprintf("32-bit getpid returned %d", pid), nil
}
