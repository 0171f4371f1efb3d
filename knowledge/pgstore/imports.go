package pgstore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

const importColumns = `import_id, collection, mode, on_error, key, principal, state, attempt, lines, bytes, digest, into_collection, written, failed, faults, created_at, updated_at`

const startImportSQL = `
INSERT INTO imports (tenant_id, import_id, collection, mode, on_error, key, principal, state)
VALUES (@tenant, @id, @collection, @mode, @on_error, @key, @principal, 'running')
ON CONFLICT (tenant_id, key) WHERE key <> '' DO NOTHING
RETURNING ` + importColumns

// sameKeySQL finds the import that has the key, and compares what was asked.
const sameKeySQL = `
SELECT import_id, state,
	(collection, mode, on_error, principal) = (@collection, @mode, @on_error, @principal),
	state = 'running' AND updated_at > now() - @patience::interval
FROM imports
WHERE tenant_id = @tenant AND key = @key
FOR UPDATE`

// StartImport implements [knowledge.Imports].
func (s *Store) StartImport(ctx context.Context, tenant knowledge.TenantID, asked knowledge.Import) (knowledge.Import, error) {
	var x knowledge.Import
	err := pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		if asked.Collection == "" {
			if err := knowledge.Unlimited(ctx); err != nil {
				return err
			}
		} else {
			if _, err := lockCollection(ctx, tx, tenant, asked.Collection); err != nil {
				return err
			}
		}
		args := pgx.NamedArgs{
			"tenant": string(tenant), "id": rand.Text(), "collection": string(asked.Collection),
			"mode": string(asked.Mode), "on_error": string(asked.OnError),
			"key": asked.Key, "principal": asked.Principal, "patience": knowledge.ImportPatience,
		}
		err := scanImport(tx.QueryRow(ctx, startImportSQL, args), &x)
		if errors.Is(err, pgx.ErrNoRows) {
			return startAgain(ctx, tx, args, &x)
		}
		return err
	})
	if err != nil {
		return x, fmt.Errorf("start import: %w", err)
	}
	return x, nil
}

// startAgain is what starting does when another import has the key.
func startAgain(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs, x *knowledge.Import) error {
	var id string
	var state knowledge.ImportState
	var same, forward bool
	if err := tx.QueryRow(ctx, sameKeySQL, args).Scan(&id, &state, &same, &forward); err != nil {
		return err
	}
	args["id"] = id
	switch {
	case !same:
		return knowledge.ErrReused
	case state == knowledge.ImportFinished:
		return scanImport(tx.QueryRow(ctx, importSQL, args), x)
	case forward:
		return knowledge.ErrRunning
	}
	return scanImport(tx.QueryRow(ctx, resumeImportSQL, args), x)
}

const resumeImportSQL = `
UPDATE imports SET state = 'running', attempt = attempt + 1, updated_at = now()
WHERE tenant_id = @tenant AND import_id = @id AND state <> 'finished'
RETURNING ` + importColumns

const importSQL = `
SELECT ` + importColumns + `
FROM imports
WHERE tenant_id = @tenant AND import_id = @id`

// ResumeImport implements [knowledge.Imports].
func (s *Store) ResumeImport(ctx context.Context, tenant knowledge.TenantID, id knowledge.ImportID) (knowledge.Import, error) {
	var x knowledge.Import
	if _, limited := knowledge.ViewsOf(ctx); limited {
		return x, knowledge.NotFound("import", id)
	}
	err := pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		args := pgx.NamedArgs{"tenant": string(tenant), "id": string(id)}
		err := scanImport(tx.QueryRow(ctx, resumeImportSQL, args), &x)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if err := scanImport(tx.QueryRow(ctx, importSQL, args), &x); errors.Is(err, pgx.ErrNoRows) {
			return knowledge.NotFound("import", id)
		} else if err != nil {
			return err
		}
		return knowledge.Conflict("resume", "is an import that has finished")
	})
	if err != nil {
		return x, fmt.Errorf("resume import: %w", err)
	}
	return x, nil
}

const putImportSQL = `
UPDATE imports SET
	state = @state, lines = @lines, bytes = @bytes, digest = @digest, into_collection = @into,
	written = @written, failed = @failed, faults = @faults, updated_at = now()
WHERE tenant_id = @tenant AND import_id = @id AND attempt = @attempt`

// PutImport implements [knowledge.Imports].
func (s *Store) PutImport(ctx context.Context, tenant knowledge.TenantID, x knowledge.Import) error {
	faults, err := encodeFaults(x.Faults)
	if err != nil {
		return err
	}
	err = pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, putImportSQL, pgx.NamedArgs{
			"tenant": string(tenant), "id": string(x.ID), "attempt": x.Attempt, "state": string(x.State),
			"lines": x.Lines, "bytes": x.Bytes, "digest": x.Digest[:], "into": string(x.Into),
			"written": x.Written, "failed": x.Failed, "faults": faults,
		})
		if err == nil && tag.RowsAffected() != 1 {
			err = fmt.Errorf("import %s was resumed by another request: %w", x.ID, knowledge.ErrConflict)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("put import: %w", err)
	}
	return nil
}

// Import implements [knowledge.Imports].
func (s *Store) Import(ctx context.Context, tenant knowledge.TenantID, id knowledge.ImportID) (knowledge.Import, error) {
	var x knowledge.Import
	if _, limited := knowledge.ViewsOf(ctx); limited {
		return x, knowledge.NotFound("import", id)
	}
	args := pgx.NamedArgs{"tenant": string(tenant), "id": string(id)}
	err := pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, importSQL, args, func(rows pgx.Rows) error {
		for rows.Next() {
			if err := scanImport(rows, &x); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	switch {
	case err != nil:
		return x, fmt.Errorf("import: %w", err)
	case x.ID == "":
		return x, knowledge.NotFound("import", id)
	}
	return x, nil
}

// fault is a [knowledge.LineFault] as it is kept.
type fault struct {
	Line   int64  `json:"line"`
	Field  string `json:"field"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
}

func encodeFaults(faults []knowledge.LineFault) (string, error) {
	kept := make([]fault, len(faults))
	for i, f := range faults {
		kept[i] = fault(f)
	}
	text, err := json.Marshal(kept)
	return string(text), err
}

func scanImport(row pgx.Row, x *knowledge.Import) error {
	var digest, text []byte
	err := row.Scan(&x.ID, &x.Collection, &x.Mode, &x.OnError, &x.Key, &x.Principal, &x.State, &x.Attempt, &x.Lines, &x.Bytes, &digest,
		&x.Into, &x.Written, &x.Failed, &text, &x.Created, &x.Updated)
	if err != nil {
		return err
	}
	copy(x.Digest[:], digest)
	x.Created, x.Updated = x.Created.UTC(), x.Updated.UTC()
	var kept []fault
	if err := json.Unmarshal(text, &kept); err != nil {
		return fmt.Errorf("decode faults: %w", err)
	}
	x.Faults = nil
	for _, f := range kept {
		x.Faults = append(x.Faults, knowledge.LineFault(f))
	}
	return nil
}
