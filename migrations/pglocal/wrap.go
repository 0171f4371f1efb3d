package pglocal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// wrapPrograms puts a script in the place of each ELF program in bin. It runs
// the program by the loader and with the libraries of root, because those of
// the system may be older than the program needs. The script finds both from
// its own place, so that root can be moved; PostgreSQL, which finds its files
// from its own name, is told the script's.
func wrapPrograms(root, bin string) error {
	loaders, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu*/ld-linux*.so.*"))
	if err != nil {
		return err
	}
	if len(loaders) != 1 {
		return fmt.Errorf("found %d dynamic loaders in %s, want 1", len(loaders), root)
	}
	loader, err := filepath.Rel(bin, loaders[0])
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(bin)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(bin, e.Name())
		elf, err := isELF(path)
		if err != nil {
			return err
		}
		if !elf {
			continue
		}
		if err := os.Rename(path, path+".elf"); err != nil {
			return err
		}
		script := fmt.Sprintf("#!/bin/sh\nd=${0%%/*}\nexec \"$d/%s\" --library-path \"$d/%s\" --argv0 \"$0\" \"$0.elf\" \"$@\"\n",
			loader, filepath.Dir(loader))
		if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func isELF(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(f, magic); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return bytes.Equal(magic, []byte("\x7fELF")), nil
}
