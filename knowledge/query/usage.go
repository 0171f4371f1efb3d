package query

import (
	"context"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
)

// notes takes down what was used; a [ledger.Book] does.
type notes interface {
	Add(ctx context.Context, tenant knowledge.TenantID, u ledger.Usage)
}

// note takes down a query or a search whose retrievals have been answered, with the
// records that they found: what is left of these, and whether it ends well, changes
// nothing of what was read. When a plugin asked for it, it counts for its call too.
func (e *Engine) note(ctx context.Context, tenant knowledge.TenantID, u ledger.Usage, found retrieved) {
	u.Rows = int64(found.count())
	ledger.AddRead(ctx, u.Rows)
	if e.Ledger != nil {
		e.Ledger.Add(ctx, tenant, u)
	}
}
