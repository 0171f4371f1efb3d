// Package plugins has the plugins of tenants: their manifests, their immutable
// versions, the aliases that name one, and the calls.
//
// A [Catalog] keeps them (plugins/pgcatalog in PostgreSQL). The [Registry] takes
// uploads: it checks a module with vmhost before it is kept. The [Runner] calls
// them for a query: it makes the documents of the ABI (plugins/wit), hands them
// to vmhost, and decodes strictly what comes back, for a guest's output is
// untrusted.
package plugins

import (
	"context"
	"encoding/hex"
	"strings"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// Name names a plugin within its tenant. Made only by [ParseName].
type Name string

// ParseName checks s: 1 to 63 of a-z, 0-9, "-" and "_", first and last a letter
// or a digit.
func ParseName(s string) (Name, error) {
	n, err := knowledge.ParseCollectionName(s)
	return Name(n), err
}

// Alias names a version of a plugin, such as "live". Made only by [ParseAlias].
type Alias string

// Live is the alias that a caller gets who names no version.
const Live Alias = "live"

// ParseAlias checks s as [ParseName] does; one that has only digits is refused,
// for it would look like a version.
func ParseAlias(s string) (Alias, error) {
	n, err := ParseName(s)
	if err != nil {
		return "", err
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return Alias(n), nil
		}
	}
	return "", knowledge.Invalid("", "has only digits, which would look like a version; need a letter")
}

// Digest pins a version: SHA-256 over the manifest and the module.
// See [DigestOf].
type Digest [32]byte

// String returns "sha256:" and 64 hexadecimal digits.
func (d Digest) String() string { return "sha256:" + hex.EncodeToString(d[:]) }

// ParseDigest reads what [Digest.String] writes.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	digits, ok := strings.CutPrefix(s, "sha256:")
	if len(digits) == 2*len(d) {
		_, err := hex.Decode(d[:], []byte(digits))
		ok = ok && err == nil
	}
	if !ok || d.String() != s { // one spelling: no capitals
		return Digest{}, knowledge.Invalid("", "is not a digest; need sha256: and 64 hexadecimal digits")
	}
	return d, nil
}

// Version is one immutable upload of a plugin.
type Version struct {
	Name       Name
	Number     int // 1, 2, …
	Digest     Digest
	Manifest   Manifest
	Inspection Inspection
	Size       int64 // bytes of the module
	Created    time.Time
}

// Plugin is a name with its newest version and its aliases.
type Plugin struct {
	Name    Name
	Newest  int
	Aliases map[Alias]int
	Created time.Time // of its first version
}

// Ref is how a caller names a version: by alias, by number, or by digest. The
// zero Ref means the alias [Live].
type Ref struct {
	Alias  Alias
	Number int
	Digest *Digest
}

// Catalog keeps plugins. Any number may be asked for; one that no version has is
// not found. What another tenant has is not found either. Implementations are
// safe for concurrent use and pass plugins/catalogtest.
type Catalog interface {
	// PutVersion keeps a version under the next free number of its name and
	// returns it, or, when one with the same digest is there, returns that
	// one and false. v.Number and v.Created are set by the catalog. It wraps
	// knowledge.ErrLimit when v's name is new and the tenant has maxNames of
	// them already (0: no limit), and knowledge.ErrNotFound when the catalog
	// knows that there is no such tenant.
	PutVersion(ctx context.Context, tenant knowledge.TenantID, v Version, module []byte, maxNames int) (stored Version, created bool, err error)
	// Version resolves a reference, or wraps knowledge.ErrNotFound.
	Version(ctx context.Context, tenant knowledge.TenantID, name Name, ref Ref) (Version, error)
	// Module returns the bytes of a version, or wraps knowledge.ErrNotFound.
	Module(ctx context.Context, tenant knowledge.TenantID, name Name, number int) ([]byte, error)
	// ListVersions returns up to limit versions, newest first, those below
	// the given number; 0 means from the newest. It wraps
	// knowledge.ErrNotFound when there is no such name.
	ListVersions(ctx context.Context, tenant knowledge.TenantID, name Name, below, limit int) ([]Version, error)
	// Plugin returns one name, or wraps knowledge.ErrNotFound.
	Plugin(ctx context.Context, tenant knowledge.TenantID, name Name) (Plugin, error)
	// ListPlugins returns up to limit names in the order of bytes, those after
	// the given; an empty name means from the first.
	ListPlugins(ctx context.Context, tenant knowledge.TenantID, after Name, limit int) ([]Plugin, error)
	// SetAlias makes alias name the version, or wraps knowledge.ErrNotFound.
	SetAlias(ctx context.Context, tenant knowledge.TenantID, name Name, alias Alias, number int) error
}
