package pgstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

const putAliasSQL = `
INSERT INTO aliases AS a (tenant_id, name, collection)
VALUES (@tenant, @alias, @collection)
ON CONFLICT (tenant_id, name) DO UPDATE SET
	collection = excluded.collection,
	updated_at = CASE WHEN a.collection = excluded.collection THEN a.updated_at ELSE now() END
RETURNING name, collection, created_at, updated_at`

const deleteAliasSQL = `DELETE FROM aliases WHERE tenant_id = @tenant AND name = @alias`

// ChangeAliases implements [knowledge.Names]. Other nodes go on for up to a second
// with where the aliases pointed.
func (s *Store) ChangeAliases(ctx context.Context, tenant knowledge.TenantID, actions []knowledge.AliasAction) ([]knowledge.Alias, error) {
	if err := knowledge.Unlimited(ctx); err != nil {
		return nil, err
	}
	if err := knowledge.CheckAliasActions(actions); err != nil {
		return nil, err
	}
	changed := make([]knowledge.Alias, len(actions))
	err := s.changeNames(ctx, tenant, func(tx pgx.Tx) error {
		for i, a := range actions {
			var err error
			if a.Collection == "" {
				changed[i], err = knowledge.Alias{}, deleteAlias(ctx, tx, tenant, a.Alias)
			} else {
				changed[i], err = putAlias(ctx, tx, tenant, a)
			}
			if err != nil {
				return fmt.Errorf("actions[%d]: %w", i, err)
			}
		}
		return checkNames(ctx, tx, tenant)
	})
	if err != nil {
		return nil, fmt.Errorf("change aliases: %w", err)
	}
	return changed, nil
}

func putAlias(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, a knowledge.AliasAction) (knowledge.Alias, error) {
	kind, _, err := kindOf(ctx, tx, tenant, a.Alias)
	if err != nil {
		return knowledge.Alias{}, err
	}
	if kind != "" && kind != "an alias" {
		return knowledge.Alias{}, knowledge.NameTaken(a.Alias, kind)
	}
	if kind, _, err = kindOf(ctx, tx, tenant, a.Collection); err != nil {
		return knowledge.Alias{}, err
	}
	if kind != "a collection" {
		return knowledge.Alias{}, notOwn(ctx, tx, tenant, a.Collection)
	}
	return scanAlias(tx.QueryRow(ctx, putAliasSQL, pgx.NamedArgs{
		"tenant": string(tenant), "alias": string(a.Alias), "collection": string(a.Collection),
	}))
}

func deleteAlias(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, alias knowledge.CollectionName) error {
	views, err := names(ctx, tx, viewsOnSQL, tenant, alias)
	if err != nil {
		return err
	}
	if err := knowledge.StillStandsOn("alias", alias, nil, views); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, deleteAliasSQL, pgx.NamedArgs{"tenant": string(tenant), "alias": string(alias)})
	if err == nil && tag.RowsAffected() == 0 {
		err = knowledge.NotFound("alias", alias)
	}
	return err
}

// aliasesOfSQL and viewsOnSQL give the names that stand on @name, the latter also
// those that do so by an alias.
const aliasesOfSQL = `SELECT name FROM aliases WHERE tenant_id = @tenant AND collection = @name`

const viewsOnSQL = `
SELECT name FROM views
WHERE tenant_id = @tenant
  AND (collection = @name OR alias = @name
	OR alias IN (SELECT a.name FROM aliases a WHERE a.tenant_id = @tenant AND a.collection = @name))`

// names returns those that a query about @name gives.
func names(ctx context.Context, tx pgx.Tx, sql string, tenant knowledge.TenantID, name knowledge.CollectionName) ([]knowledge.CollectionName, error) {
	rows, err := tx.Query(ctx, sql, pgx.NamedArgs{"tenant": string(tenant), "name": string(name)})
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[knowledge.CollectionName])
}

func scanAlias(row pgx.Row) (a knowledge.Alias, err error) {
	err = row.Scan(&a.Name, &a.Collection, &a.Created, &a.Updated)
	a.Created, a.Updated = a.Created.UTC(), a.Updated.UTC()
	return a, err
}

const (
	aliasSQL = `SELECT name, collection, created_at, updated_at FROM aliases WHERE tenant_id = @tenant AND name = @name`

	listAliasesSQL = `
SELECT name, collection, created_at, updated_at
FROM aliases
WHERE tenant_id = @tenant AND name > @after
ORDER BY name
LIMIT @limit`
)

// Alias implements [knowledge.Names].
func (s *Store) Alias(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (knowledge.Alias, error) {
	return readName(ctx, s, tenant, aliasSQL, "alias", name, scanAlias)
}

// ListAliases implements [knowledge.Names].
func (s *Store) ListAliases(ctx context.Context, tenant knowledge.TenantID, after knowledge.CollectionName, limit int) ([]knowledge.Alias, error) {
	return readNames(ctx, s, tenant, listAliasesSQL, after, limit, scanAlias)
}

// readName reads one alias or view.
func readName[T any](ctx context.Context, s *Store, tenant knowledge.TenantID, sql, kind string, name knowledge.CollectionName, scan func(pgx.Row) (T, error)) (T, error) {
	var found T
	if _, limited := knowledge.ViewsOf(ctx); limited {
		return found, knowledge.NotFound(kind, name)
	}
	args := pgx.NamedArgs{"tenant": string(tenant), "name": string(name)}
	err := pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, sql, args, func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (T, error) { return scan(row) })
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return found, knowledge.NotFound(kind, name)
	}
	if err != nil {
		return found, fmt.Errorf("read %s: %w", kind, err)
	}
	return found, nil
}

// readNames reads a page of aliases or views.
func readNames[T any](ctx context.Context, s *Store, tenant knowledge.TenantID, sql string, after knowledge.CollectionName, limit int, scan func(pgx.Row) (T, error)) ([]T, error) {
	found := []T{}
	if _, limited := knowledge.ViewsOf(ctx); limited {
		return found, nil
	}
	args := pgx.NamedArgs{"tenant": string(tenant), "after": string(after), "limit": limit}
	err := pgtx.ReadWith(ctx, s.app, pgtx.SetTenant, sql, args, func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (T, error) { return scan(row) })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list names: %w", err)
	}
	return found, nil
}
