package main

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// source is a package that texts come from, as it was read.
type source struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256,omitempty"`
	Pinned  bool   `json:"pinned"` // the content that the figures in the documentation are of
}

// manual is one of Debian's manuals.
type manual struct {
	set     string // name of the set
	pkg     string
	folder  string // of its pages
	version string // with sha256, of what the figures in the documentation are of
	sha256  string
}

// manuals are those of Debian 12.
var manuals = []manual{
	{
		"postgresql", "postgresql-doc-15", "usr/share/doc/postgresql-doc-15/html",
		"15.20-0+deb12u1", "4c44bf2c599f208b3f46454a6cf7a72e25ec46ff74d37b59dd31ad76b00eebb7",
	},
	{
		"sqlite", "sqlite3-doc", "usr/share/doc/sqlite3",
		"3.40.1-2+deb12u2", "466e30d7066e2641fa13e56bc662a2ad521b8cc9c17dde9c9dac3d4f105e32f2",
	},
	{
		"python", "python3.11-doc", "usr/share/doc/python3.11/html",
		"3.11.2-6+deb12u9", "5b3594189d6ef9a6963ce0347fd307a1cc67620ad697e144db366070e2e146be",
	},
}

// The weaknesses of the Common Weakness Enumeration 4.15.
const (
	cweName      = "cwe-sdk"
	cweVersion   = "1.1.19"
	cweIntegrity = "pCmiSmBV2/QOPh3I12VnNZXbTZTdCk2H2oW05phN7APXHvyA7hF7qifzBp7RFVEaBJcOjlfsgcUZz7jSzDStGA=="
)

// shelf is the folder in the user's cache that keeps what was fetched.
type shelf struct {
	dir string
	log io.Writer
}

// unpack returns the folder of a Debian package's files. What is fetched, once, is
// the version that the machine's own mirror has; the mirror drops older ones, so
// another than the pinned one is used, and said. It needs Debian's tools, not root.
func (s shelf) unpack(ctx context.Context, m manual) (string, source, error) {
	found, err := filepath.Glob(filepath.Join(s.dir, "deb", m.pkg+"_*.deb"))
	if err != nil {
		return "", source{}, err
	}
	if len(found) == 0 {
		if err := s.download(ctx, m.pkg); err != nil {
			return "", source{}, fmt.Errorf("package %s: %w", m.pkg, err)
		}
		if found, err = filepath.Glob(filepath.Join(s.dir, "deb", m.pkg+"_*.deb")); err != nil || len(found) == 0 {
			return "", source{}, fmt.Errorf("package %s: apt-get left no file: %w", m.pkg, err)
		}
	}
	file := found[len(found)-1]
	sum, err := digest(file, sha256.New())
	if err != nil {
		return "", source{}, err
	}
	_, rest, _ := strings.Cut(filepath.Base(file), "_")
	version, _, _ := strings.Cut(rest, "_")
	is := source{Name: m.pkg, Version: version, SHA256: hex.EncodeToString(sum)}
	if is.Pinned = is.SHA256 == m.sha256; !is.Pinned {
		fmt.Fprintf(s.log, "note: %s is version %s, the figures in docs/benchmarks/embed.md are of %s\n", m.pkg, version, m.version)
	}
	dir := filepath.Join(s.dir, "unpacked", is.SHA256)
	if _, err := os.Stat(dir); err == nil {
		return dir, is, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", is, err
	}
	made, err := os.MkdirTemp(filepath.Dir(dir), "new-") // whole or not there
	if err != nil {
		return "", is, err
	}
	if err := tool(ctx, made, "dpkg", "-x", file, "."); err != nil {
		return "", is, err
	}
	return dir, is, os.Rename(made, dir)
}

// download fetches a package into the folder deb.
func (s shelf) download(ctx context.Context, pkg string) error {
	dir := filepath.Join(s.dir, "deb")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if _, err := s.lists(ctx); err != nil {
		return err
	}
	fmt.Fprintf(s.log, "fetching %s (once)\n", pkg)
	return tool(ctx, dir, "apt-get", append(s.options(), "download", pkg)...)
}

// lists returns the folder of apt's lists, with the English descriptions of all
// packages, fetched once from the mirrors that this machine uses.
func (s shelf) lists(ctx context.Context) (string, error) {
	dir := filepath.Join(s.dir, "apt", "lists")
	if found, err := filepath.Glob(filepath.Join(dir, "*_Translation-en")); err != nil || len(found) > 0 {
		return dir, err
	}
	for _, d := range []string{filepath.Join(dir, "partial"), filepath.Join(s.dir, "apt", "cache", "archives", "partial")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return "", err
		}
	}
	fmt.Fprintln(s.log, "fetching Debian's lists of packages and descriptions (20 MB, once)")
	return dir, tool(ctx, dir, "apt-get", append(s.options(), "update")...)
}

// options make apt use folders of its own, and change nothing of the machine's.
func (s shelf) options() []string {
	var args []string
	for _, o := range []string{
		"Dir::State::Lists=" + filepath.Join(s.dir, "apt", "lists"),
		"Dir::Cache=" + filepath.Join(s.dir, "apt", "cache"),
		"APT::Sandbox::User=", // do not change to a user that cannot write here
		"APT::Update::Error-Mode=any",
		"Acquire::Languages=en",
		"Acquire::GzipIndexes=false",
		"Acquire::Retries=3",
		"Debug::NoLocking=1",
	} {
		args = append(args, "-o", o)
	}
	return append(args, "-q")
}

// pack returns the file of the pinned npm package, and refuses another content.
func (s shelf) pack(ctx context.Context) (string, source, error) {
	is := source{Name: cweName, Version: cweVersion, Pinned: true}
	file := filepath.Join(s.dir, cweName+"-"+cweVersion+".tgz")
	if _, err := os.Stat(file); err != nil {
		fmt.Fprintf(s.log, "fetching %s@%s (once)\n", cweName, cweVersion)
		if err := os.MkdirAll(s.dir, 0o755); err != nil {
			return "", is, err
		}
		if err := tool(ctx, s.dir, "npm", "pack", "--silent", cweName+"@"+cweVersion); err != nil {
			return "", is, err
		}
	}
	sum, err := digest(file, sha512.New())
	if err != nil {
		return "", is, err
	}
	if got := base64.StdEncoding.EncodeToString(sum); got != cweIntegrity {
		return "", is, fmt.Errorf("%s: SHA-512 is %s, want %s", file, got, cweIntegrity)
	}
	return file, is, nil
}

func digest(file string, h hash.Hash) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, err = io.Copy(h, f)
	return h.Sum(nil), err
}

// tool runs a program in a folder, and says what it said if it failed.
func tool(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
