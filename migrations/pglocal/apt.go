package pglocal

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// mirrorURI tells Debian's main archive from its others and from foreign ones.
// Cloud images name it by a list of mirrors, in a file.
var mirrorURI = regexp.MustCompile(`/debian(/|\.list)?$`)

// debianMirror asks apt for the mirror that this machine uses, so that a
// configured one is honoured.
func debianMirror(ctx context.Context) (string, error) {
	for _, tool := range []string{"apt-get", "dpkg"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%w: no %s, so this is no Debian", errUnavailable, tool)
		}
	}
	if _, err := os.Stat(keyring); err != nil {
		return "", fmt.Errorf("%w: no keyring %s, so this is no Debian", errUnavailable, keyring)
	}
	cmd := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask apt for its mirror: %w", err)
	}
	for uri := range strings.Lines(string(out)) {
		uri = strings.TrimSpace(uri)
		if mirrorURI.MatchString(uri) {
			return uri, nil
		}
	}
	return "", fmt.Errorf("%w: apt has no Debian mirror configured", errUnavailable)
}

// apt is a package manager with folders and a source of its own, for which
// nothing is installed: so it resolves down to libc, and needs no root.
type apt struct {
	options []string
	log     *progress
}

// newAPT makes the folders in dir and fetches the suite's list of packages.
func newAPT(ctx context.Context, dir, mirror, suite string, log *progress) (*apt, error) {
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	source := fmt.Sprintf("Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n", mirror, suite, keyring)
	if err := os.WriteFile(filepath.Join(dir, "suite.sources"), []byte(source), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "status"), nil, 0o644); err != nil {
		return nil, err
	}
	a := &apt{log: log}
	for _, o := range []string{
		"Dir::Etc::SourceParts=/nonexistent",
		"Dir::Etc::sourcelist=" + filepath.Join(dir, "suite.sources"),
		"Dir::State::Lists=" + filepath.Join(dir, "lists"),
		"Dir::State::status=" + filepath.Join(dir, "status"),
		"Dir::Cache=" + filepath.Join(dir, "cache"),
		"APT::Install-Recommends=0",
		"APT::Sandbox::User=", // do not change to a user that cannot write here
		"APT::Update::Error-Mode=any",
		"Acquire::Languages=none",
		"Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"Acquire::IndexTargets::deb::CNF::DefaultEnabled=false",
		"Acquire::Retries=3",
		"Debug::NoLocking=1",
	} {
		a.options = append(a.options, "-o", o)
	}
	return a, log.during("fetching the list of packages", nil, func() error {
		_, err := a.run(ctx, "", "update")
		return err
	})
}

// run runs apt-get in a folder and returns what it printed.
func (a *apt) run(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.Command("apt-get", append(append([]string{"-q"}, a.options...), args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive") // with the user's proxy settings
	return output(ctx, cmd, dir)
}

// debPackage is one package file, as the suite's signed list tells.
type debPackage struct {
	name   string
	file   string
	size   int64
	sha256 string
}

// unneeded are packages that only maintainer scripts, other programs or the
// JIT need: nothing is installed or configured here.
var unneeded = regexp.MustCompile(`^(perl.*|libperl.*|lib.*-perl|libllvm.*|libz3.*|locales|libc-l10n|libc-bin|libc-gconv.*|` +
	`adduser|passwd|base-passwd|login.*|procps|libproc.*|debconf|libdebconf.*|ucf|openssl.*|ssl-cert|systemd|libsystemd-shared|` +
	`sysvinit.*|init-system.*|lib(pam-.*|mount|blkid|semanage.*|sepol.*|gdbm.*|ncurses.*)\d*.*|netbase|tzdata|sensible-utils|` +
	`readline-common|gcc-.*-base|lib(audit-common|text-.*)|postgresql-common.*|postgresql-client-common)$`)

// resolve lists the package files that the named packages need to run.
func (a *apt) resolve(ctx context.Context, names ...string) ([]debPackage, error) {
	out, err := a.run(ctx, "", append([]string{"--simulate", "--assume-yes", "install"}, names...)...)
	if err != nil {
		return nil, err
	}
	var chosen []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Inst" && !unneeded.MatchString(f[1]) {
			chosen = append(chosen, f[1])
		}
	}
	uris, err := a.run(ctx, "", append([]string{"--print-uris", "download"}, chosen...)...)
	if err != nil {
		return nil, err
	}
	packages, err := parseURIs(uris)
	if err != nil {
		return nil, err
	}
	if len(packages) != len(chosen) {
		return nil, fmt.Errorf("apt told of %d files for %d packages", len(packages), len(chosen))
	}
	return packages, nil
}

var safeName = regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9.+:~%-]*_[a-zA-Z0-9.+:~%-]+_[a-z0-9]+\.deb$`)

// parseURIs reads what apt-get --print-uris says: 'URI' FILE SIZE SHA256:SUM.
func parseURIs(out string) ([]debPackage, error) {
	var packages []debPackage
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "'") {
			continue
		}
		f := strings.Fields(lines.Text())
		if len(f) != 4 || !safeName.MatchString(f[1]) {
			return nil, fmt.Errorf("apt-get --print-uris said %.200q", lines.Text())
		}
		size, err := strconv.ParseInt(f[2], 10, 64)
		sum, ok := strings.CutPrefix(f[3], "SHA256:")
		if raw, hexErr := hex.DecodeString(sum); err != nil || size < 0 || !ok || hexErr != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("apt-get --print-uris said %.200q", lines.Text())
		}
		name, _, _ := strings.Cut(f[1], "_")
		packages = append(packages, debPackage{name: name, file: f[1], size: size, sha256: sum})
	}
	return packages, lines.Err()
}

// verify reads the file in dir and compares it with the signed list.
func (p debPackage) verify(dir string) error {
	f, err := os.Open(filepath.Join(dir, p.file))
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return err
	}
	if n != p.size || hex.EncodeToString(sum.Sum(nil)) != p.sha256 {
		return fmt.Errorf("%s is not what the list of packages tells", p.file)
	}
	return nil
}

// download brings all packages into dir. Those that an earlier attempt left
// there whole are kept; each is checked against the signed list.
func (a *apt) download(ctx context.Context, dir string, packages []debPackage) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var missing []string
	for _, p := range packages {
		if p.verify(dir) == nil {
			continue
		}
		if err := os.Remove(filepath.Join(dir, p.file)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		missing = append(missing, p.name)
	}
	if len(missing) == 0 {
		return nil
	}
	err := a.log.during(fmt.Sprintf("downloading %d packages", len(missing)), func() string { return present(dir, packages) },
		func() error {
			_, err := a.run(ctx, dir, append([]string{"download"}, missing...)...)
			return err
		})
	if err != nil {
		return err
	}
	for _, p := range packages {
		if err := p.verify(dir); err != nil {
			return err
		}
	}
	return nil
}

// present counts the packages that have all their bytes in dir.
func present(dir string, packages []debPackage) string {
	whole := 0
	for _, p := range packages {
		if info, err := os.Stat(filepath.Join(dir, p.file)); err == nil && info.Size() == p.size {
			whole++
		}
	}
	return fmt.Sprintf("%d/%d", whole, len(packages))
}

// unpack puts the packages' files below root, two packages at a time.
func unpack(ctx context.Context, archives string, packages []debPackage, root string, log *progress) error {
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	var done atomic.Int32
	detail := func() string { return fmt.Sprintf("%d/%d", done.Load(), len(packages)) }
	return log.during(fmt.Sprintf("unpacking %d packages", len(packages)), detail, func() error {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(2)
		for _, p := range packages {
			g.Go(func() error {
				_, err := output(ctx, exec.Command("dpkg", "--extract", filepath.Join(archives, p.file), root), "")
				done.Add(1)
				return err
			})
		}
		return g.Wait()
	})
}

// output runs a command to its end or ctx's and returns what it printed; an
// error holds the end of what it complained of.
func output(ctx context.Context, cmd *exec.Cmd, dir string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	var out, complaint bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &complaint
	cmd.SysProcAttr = groupAttr()
	if err := runToEnd(ctx, cmd); err != nil {
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, tail(complaint.Bytes()))
	}
	return out.String(), nil
}
