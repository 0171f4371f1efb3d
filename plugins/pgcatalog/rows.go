package pgcatalog

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost"
)

// inspection is the column of that name.
type inspection struct {
	ModuleSHA256 []byte   `json:"module_sha256"`
	Imports      []string `json:"imports"`
	Exports      []string `json:"exports"`
	Functions    int      `json:"functions"`
	MemoryPages  uint32   `json:"memory_pages"`
	Features     []string `json:"features"`
	Toolchain    string   `json:"toolchain"`
}

func encodeInspection(i plugins.Inspection) ([]byte, error) {
	data, err := json.Marshal(inspection{
		ModuleSHA256: i.ModuleDigest[:], Imports: i.Imports, Exports: i.Exports, Functions: i.Functions,
		MemoryPages: i.MemoryPages, Features: i.Features, Toolchain: i.Toolchain,
	})
	if err != nil {
		return nil, fmt.Errorf("encode inspection: %w", err)
	}
	return data, nil
}

func decodeInspection(data []byte) (plugins.Inspection, error) {
	var i inspection
	if err := json.Unmarshal(data, &i); err != nil {
		return plugins.Inspection{}, fmt.Errorf("decode inspection: %w", err)
	}
	found := plugins.Inspection{
		Imports: i.Imports, Exports: i.Exports, Functions: i.Functions,
		MemoryPages: i.MemoryPages, Features: i.Features, Toolchain: i.Toolchain,
	}
	if len(i.ModuleSHA256) != len(vmhost.Digest{}) {
		return plugins.Inspection{}, fmt.Errorf("decode inspection: module digest has %d bytes", len(i.ModuleSHA256))
	}
	found.ModuleDigest = vmhost.Digest(i.ModuleSHA256)
	return found, nil
}

// scanVersion reads versionColumns.
func scanVersion(row pgx.CollectableRow) (plugins.Version, error) {
	var v plugins.Version
	var digest, manifest, inspection []byte
	if err := row.Scan(&v.Name, &v.Number, &digest, &manifest, &inspection, &v.Size, &v.Created); err != nil {
		return v, err
	}
	v.Digest = plugins.Digest(digest) // its length is checked by the table
	var err error
	if v.Manifest, err = plugins.ParseManifest(manifest); err != nil {
		// Not wrapped: that what we stored is bad is no fault of the caller's.
		return v, fmt.Errorf("stored manifest of %q version %d: %v", v.Name, v.Number, err) //nolint:errorlint
	}
	v.Inspection, err = decodeInspection(inspection)
	return v, err
}

// one runs a statement that gives one version, in a transaction.
func one(ctx context.Context, tx pgx.Tx, sql string, args pgx.NamedArgs) (plugins.Version, error) {
	rows, err := tx.Query(ctx, sql, args)
	if err != nil {
		return plugins.Version{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanVersion)
}

// versions runs a statement that gives versions.
func (c *Catalog) versions(ctx context.Context, tenant knowledge.TenantID, sql string, args pgx.NamedArgs) (found []plugins.Version, err error) {
	err = pgtx.Read(ctx, c.db, tenant, sql, args, func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, scanVersion)
		return err
	})
	return found, err
}
