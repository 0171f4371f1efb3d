package pgtenancy

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
	"github.com/tars-project/tars/knowledge/tenancy"
)

const upsertSecret = `
INSERT INTO secrets (tenant_id, name, kek_id, sealed) VALUES (@tenant, @name, @kek, @sealed)
ON CONFLICT (tenant_id, name) DO UPDATE SET kek_id = excluded.kek_id, sealed = excluded.sealed, updated_at = now()`

// PutSecret implements [tenancy.Secrets].
func (d *Directory) PutSecret(ctx context.Context, tenant knowledge.TenantID, name string, s tenancy.Sealed) error {
	err := pgtx.Write(ctx, d.app, tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, upsertSecret, pgx.NamedArgs{"tenant": string(tenant), "name": name, "kek": s.KeyID, "sealed": s.Bytes})
		return err
	})
	if err != nil {
		return fmt.Errorf("put secret: %w", err)
	}
	return nil
}

const selectSecret = `SELECT kek_id, sealed FROM secrets WHERE tenant_id = @tenant AND name = @name`

// Secret implements [tenancy.Secrets].
func (d *Directory) Secret(ctx context.Context, tenant knowledge.TenantID, name string) (s tenancy.Sealed, err error) {
	args := pgx.NamedArgs{"tenant": string(tenant), "name": name}
	err = pgtx.Read(ctx, d.app, tenant, selectSecret, args, func(rows pgx.Rows) (err error) {
		s, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[tenancy.Sealed])
		return err
	})
	if err != nil {
		return tenancy.Sealed{}, fmt.Errorf("secret: %w", err)
	}
	return s, nil
}

const deleteSecret = `DELETE FROM secrets WHERE tenant_id = @tenant AND name = @name`

// DeleteSecret implements [tenancy.Secrets].
func (d *Directory) DeleteSecret(ctx context.Context, tenant knowledge.TenantID, name string) error {
	err := pgtx.Write(ctx, d.app, tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, deleteSecret, pgx.NamedArgs{"tenant": string(tenant), "name": name})
		if err == nil && tag.RowsAffected() == 0 {
			err = knowledge.ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete secret: %w", err)
	}
	return nil
}
