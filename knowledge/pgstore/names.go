package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// targetSQL is the collection that @name stands for: that of its alias, that of its
// view, which may stand on an alias, or its own. Names are of one kind only. It is
// one sub-select, whose value is known before the collection is looked for, so that
// this is found by its key: as a join, and also with coalesce outside, for that counts
// as leaky under row-level security, all of the tenant's were read.
const targetSQL = `(SELECT coalesce(
	(SELECT a.collection FROM aliases a WHERE a.tenant_id = @tenant AND a.name = @name),
	(SELECT coalesce(v.collection, (SELECT a.collection FROM aliases a WHERE a.tenant_id = @tenant AND a.name = v.alias))
		FROM views v WHERE v.tenant_id = @tenant AND v.name = @name),
	@name::text))`

// viewOfNameSQL is the view of that name, null where there is none, to be joined.
const viewOfNameSQL = `
LEFT JOIN (
	SELECT v.name AS view_name, coalesce(v.collection, v.alias) AS view_on, v.filter AS view_filter, v.hidden AS view_hidden,
		v.defaults AS view_defaults, v.created_at AS view_created, v.updated_at AS view_updated
	FROM views v
	WHERE v.tenant_id = @tenant AND v.name = @name
) named ON true`

const viewColumns = `view_name, view_on, view_filter, view_hidden, view_defaults, view_created, view_updated`

// viewRow are viewColumns, null where the name is no view's.
type viewRow struct {
	name, on         *string
	filter, defaults []byte
	hidden           []string
	created, updated *time.Time
}

func (r *viewRow) targets() []any {
	return []any{&r.name, &r.on, &r.filter, &r.hidden, &r.defaults, &r.created, &r.updated}
}

func (r *viewRow) view() (*knowledge.View, error) {
	if r.name == nil {
		return nil, nil
	}
	v := &knowledge.View{
		Name: knowledge.CollectionName(*r.name), Collection: knowledge.CollectionName(*r.on), Hidden: r.hidden,
		Created: r.created.UTC(), Updated: r.updated.UTC(),
	}
	if len(v.Hidden) == 0 {
		v.Hidden = nil
	}
	if err := json.Unmarshal(r.filter, &v.Filter); err != nil {
		return nil, fmt.Errorf("decode the filter of a view: %w", err)
	}
	var err error
	v.Defaults, err = decodeDefaults(r.defaults)
	return v, err
}

// resolve is the one place where a name becomes a collection for reading: each
// statement on records comes through it, by withDefinition. Where ctx is limited to
// views, a name that is not that of one of them, or no longer that of a view, is
// unknown. It may return what was remembered if that is good enough.
func (s *Store) resolve(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, remembered bool) (d definition, wasRemembered bool, err error) {
	views, limited := knowledge.ViewsOf(ctx)
	if limited && !slices.Contains(views, name) {
		return d, false, knowledge.NotFound("collection", name)
	}
	if remembered {
		d, wasRemembered = s.definitions.recall(tenant, name)
	}
	if !wasRemembered {
		if d, err = s.fetch(ctx, tenant, name); err != nil {
			return d, false, err
		}
	}
	if limited && d.view == nil {
		return definition{}, false, knowledge.NotFound("collection", name)
	}
	return d, wasRemembered, nil
}

// own returns the definition of a collection by its own name.
func (s *Store) own(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (definition, error) {
	if _, limited := knowledge.ViewsOf(ctx); limited {
		return definition{}, knowledge.NotFound("collection", name)
	}
	d, err := s.fetch(ctx, tenant, name)
	switch {
	case err != nil:
		return definition{}, err
	case d.view != nil:
		return definition{}, knowledge.NotOwnName("a view", name, d.view.Collection)
	case d.Name != name:
		return definition{}, knowledge.NotOwnName("an alias", name, d.Name)
	}
	return d, nil
}

// narrow checks a request's filter and adds to it that of the view through which it
// came. It returns an [knowledge.InvalidError] for a filter that does not fit the
// collection and for a field that the view hides.
func (d definition) narrow(f knowledge.Filter) (knowledge.Filter, error) {
	if err := f.Validate(d.names().Seen()); err != nil {
		return f, knowledge.At("filter", err)
	}
	return d.view.Narrow(f)
}

// where gives the SQL of the condition that a request makes on records, together
// with that of the view which it came through. Errors are those of narrow.
func (d definition) where(f knowledge.Filter, args pgx.NamedArgs) (string, error) {
	f, err := d.narrow(f)
	if err != nil {
		return "", err
	}
	return filterSQL(d, f, args)
}

// Resolve implements [knowledge.Collections].
func (s *Store) Resolve(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (knowledge.Resolved, error) {
	d, _, err := s.resolve(ctx, tenant, name, true)
	return d.names(), err
}

// writtenSQL is the collection that records are written to under a name of its own
// or of an alias.
const writtenSQL = `(SELECT coalesce((SELECT a.collection FROM aliases a WHERE a.tenant_id = @tenant AND a.name = @name), @name::text))`

// kindSQL says of what a name is.
const kindSQL = `
SELECT 'a collection', name FROM collections WHERE tenant_id = @tenant AND name = @name
UNION ALL
SELECT 'an alias', collection FROM aliases WHERE tenant_id = @tenant AND name = @name
UNION ALL
SELECT 'a view', coalesce(collection, alias) FROM views WHERE tenant_id = @tenant AND name = @name`

// kindOf returns of what a name is, and what that stands on; empty when it is free.
func kindOf(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, name knowledge.CollectionName) (kind string, on knowledge.CollectionName, err error) {
	err = tx.QueryRow(ctx, kindSQL, pgx.NamedArgs{"tenant": string(tenant), "name": string(name)}).Scan(&kind, &on)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", "", nil
	}
	return kind, on, err
}

// notWritten is the error for a name under which no collection can be written to.
func notWritten(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, name knowledge.CollectionName) error {
	views, limited := knowledge.ViewsOf(ctx)
	kind, _, err := kindOf(ctx, tx, tenant, name)
	switch {
	case err != nil:
		return err
	case kind == "a view" && (!limited || slices.Contains(views, name)):
		return knowledge.WriteThroughView(name)
	}
	return knowledge.NotFound("collection", name)
}

// notOwn is the error for a name that is not a collection's own.
func notOwn(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID, name knowledge.CollectionName) error {
	kind, on, err := kindOf(ctx, tx, tenant, name)
	if err == nil && (kind == "an alias" || kind == "a view") {
		return knowledge.NotOwnName(kind, name, on)
	}
	if err != nil {
		return err
	}
	return knowledge.NotFound("collection", name)
}

// changeNames runs do while nobody else changes the tenant's names, and then forgets
// what they stood for.
func (s *Store) changeNames(ctx context.Context, tenant knowledge.TenantID, do func(pgx.Tx) error) error {
	err := pgtx.Write(ctx, s.app, tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockTenantSQL, pgx.NamedArgs{"tenant": string(tenant)}); err != nil {
			return err
		}
		return do(tx)
	})
	s.definitions.forget(tenant) // whatever err says: it may have been done
	return err
}

const countNamesSQL = `
SELECT (SELECT count(*) FROM aliases WHERE tenant_id = @tenant) + (SELECT count(*) FROM views WHERE tenant_id = @tenant)`

// checkNames returns an error where a tenant has more aliases and views than it may.
func checkNames(ctx context.Context, tx pgx.Tx, tenant knowledge.TenantID) error {
	var n int
	err := tx.QueryRow(ctx, countNamesSQL, pgx.NamedArgs{"tenant": string(tenant)}).Scan(&n)
	if err == nil && n > knowledge.MaxNames {
		err = knowledge.TooManyNames()
	}
	return err
}
