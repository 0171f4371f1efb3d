//go:build linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/seal"
)

// codeName is a good name for an artifact's file.
var codeName = "wazero-probe/" + strings.Repeat("0f", 32)

// atCompile does what a module does to the one who compiles it. A text that begins
// with "compile " says what; any other compiles to itself.
func atCompile(left seal.Report, module, folder string) (vmhost.Artifact, error) {
	good := vmhost.Artifact{Name: codeName, Header: []byte("h"), Module: []byte(module), Code: []byte("code of " + module)}
	what, ok := strings.CutPrefix(module, "compile ")
	if !ok {
		return good, nil
	}
	if name, ok := strings.CutPrefix(what, "attempt "); ok {
		got, err := try(left, name)
		return vmhost.Artifact{}, errors.Join(err, errors.New(got))
	}
	switch what {
	case "large":
		good.Code = make([]byte, 8<<20)
	case "large-module":
		good.Module = make([]byte, 17*len(module))
	case "name-up":
		good.Name = "../" + codeName
	case "name-absolute":
		good.Name = "/etc/passwd"
	case "name-deep":
		good.Name = "wazero-probe/x/" + codeName
	case "no-code":
		good.Code = nil
	case "wrong-op":
		return good, shout("\x00\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00")
	case "second-hi":
		return good, shout("\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00")
	case "other-id":
		return good, shout("\x00\x00\x00\x00\x10\x00\x00\x00\x05\x00\x00\x00")
	case "junk":
		return good, shout(strings.Repeat("\x01\x00\x00\x00\x10\x01\x00\x00\x00\x00\x00\x00x", 1<<10) + "\x01\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00x")
	case "file-long":
		return good, fill(filepath.Join(folder, "long"))
	case "files-many":
		return good, fillMany(folder)
	case "folder":
		return good, probeFolder(folder)
	default:
		return good, atLoad(what)
	}
	return good, nil
}

// shout writes to the wire past all rules, then waits to be killed.
func shout(bytes string) error {
	for b := []byte(bytes); len(b) > 0; {
		n, err := unix.Write(3, b)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return err
		}
		b = b[max(n, 0):]
	}
	select {}
}

// fill writes to a file until it is refused.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	b := make([]byte, 1<<20)
	for i := range 1 << 14 {
		if _, err := f.Write(b); err != nil {
			return &vmhost.GuestError{Code: "denied", Message: fmt.Sprintf("%s after %d MiB", nameOf(err), i)}
		}
	}
	return errors.New("16 GiB were written")
}

// fillMany makes files until it is refused.
func fillMany(folder string) error {
	for i := range 1 << 20 {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), []byte("x"), 0o600); err != nil {
			return &vmhost.GuestError{Code: "denied", Message: nameOf(err)}
		}
	}
	return errors.New("a million files were made")
}

// probeFolder does in the folder what is not for a compiler.
func probeFolder(folder string) error {
	name := filepath.Join(folder, "x")
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		return fmt.Errorf("the folder cannot be written to: %w", err)
	}
	var refused []string
	for _, outside := range []string{filepath.Join(folder, "../outside"), "/outside", "/tmp/outside"} {
		err := os.WriteFile(outside, nil, 0o600)
		if err == nil {
			return fmt.Errorf("%s was made", outside)
		}
		refused = append(refused, nameOf(err))
	}
	err := os.Rename(name, filepath.Join(folder, "../outside"))
	if err == nil {
		return errors.New("a file was moved out of the folder")
	}
	return &vmhost.GuestError{Code: "denied", Message: strings.Join(append(refused, nameOf(err)), " ")}
}

func nameOf(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}
