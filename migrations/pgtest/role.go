package pgtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

const roleSQL = `
select current_user, rolsuper, rolbypassrls, rolcreaterole,
    (select count(*) from pg_class where pg_has_role(current_user, relowner, 'member'))
from pg_roles
where rolname = current_user`

// checkAppRole connects and fails unless it is as role and that role is held
// by row-level security. Being a member of an owner counts as owning, since a
// member may become the owner with SET ROLE.
func checkAppRole(ctx context.Context, address, role string) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return fmt.Errorf("connect as %s: %w", role, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var (
		user                         string
		super, bypasses, createsRole bool
		owned                        int
	)
	if err := conn.QueryRow(ctx, roleSQL).Scan(&user, &super, &bypasses, &createsRole, &owned); err != nil {
		return fmt.Errorf("look at role %s: %w", role, err)
	}
	var faults []error
	for _, f := range []struct {
		is   bool
		what string
	}{
		{user != role, "is connected as " + user},
		{super, "is superuser"},
		{bypasses, "bypasses row-level security"},
		{createsRole, "may create roles"},
		{owned > 0, fmt.Sprintf("owns %d relations, itself or as a member of their owner", owned)},
	} {
		if f.is {
			faults = append(faults, fmt.Errorf("role %s %s", role, f.what))
		}
	}
	return errors.Join(faults...)
}
