//go:build linux

package main

import "golang.org/x/sys/unix"

// foreignABI tries a number beyond the table: 32-bit programs have a kernel
// entry that 64-bit code cannot use here.
func foreignABI() (string, error) {
	return call(0x40000000 + unix.SYS_GETPID)()
}
