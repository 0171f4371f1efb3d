package pgstore

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
)

// filterSQL gives the SQL of a valid filter on r.metadata and adds what it
// compares with, fields too, to args: no text of the caller becomes SQL.
func filterSQL(f knowledge.Filter, args pgx.NamedArgs) (string, error) {
	if f.IsZero() {
		return "true", nil
	}
	b := filterBuilder{args: args}
	if err := b.add(f); err != nil {
		return "", err
	}
	return b.sql.String(), nil
}

type filterBuilder struct {
	sql  strings.Builder
	args pgx.NamedArgs
	n    int // parameters so far
}

// param adds a parameter and returns its place in the SQL.
func (b *filterBuilder) param(value any) string {
	b.n++
	name := fmt.Sprintf("filter%d", b.n)
	b.args[name] = value
	return "@" + name
}

func (b *filterBuilder) add(f knowledge.Filter) error {
	switch f.Op {
	case knowledge.OpAnd:
		return b.join(f.Terms, " AND ", "true")
	case knowledge.OpOr:
		return b.join(f.Terms, " OR ", "false")
	case knowledge.OpNot:
		b.sql.WriteString("NOT ")
		return b.join(f.Terms, "", "")
	}
	return b.compare(f)
}

// join writes the terms in brackets; where there is none, empty.
func (b *filterBuilder) join(terms []knowledge.Filter, between, empty string) error {
	b.sql.WriteByte('(')
	for i, term := range terms {
		if i > 0 {
			b.sql.WriteString(between)
		}
		if err := b.add(term); err != nil {
			return err
		}
	}
	if len(terms) == 0 {
		b.sql.WriteString(empty)
	}
	b.sql.WriteByte(')')
	return nil
}

// orderings are the comparisons that need values with an order.
var orderings = map[knowledge.Op]string{
	knowledge.OpGt: ">", knowledge.OpGte: ">=", knowledge.OpLt: "<", knowledge.OpLte: "<=",
}

// compare writes one comparison. A missing field makes it null, and IS TRUE
// false, so that NOT of it is true. jsonb is equal only to the same type, but
// orders all types, one after the other, hence jsonb_typeof; and it orders
// strings by the database's collation, hence ->> and COLLATE "C", which is by
// code point.
func (b *filterBuilder) compare(f knowledge.Filter) error {
	field := b.param(f.Field) + "::text"
	values := make([]string, len(f.Values))
	for i, v := range f.Values {
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode filter: %w", err)
		}
		values[i] = string(text)
	}
	switch f.Op {
	case knowledge.OpEq:
		fmt.Fprintf(&b.sql, "(r.metadata -> %s = %s::text::jsonb) IS TRUE", field, b.param(values[0]))
		return nil
	case knowledge.OpIn:
		fmt.Fprintf(&b.sql, "(r.metadata -> %s = ANY (%s::text[]::jsonb[])) IS TRUE", field, b.param(values))
		return nil
	}
	order, ok := orderings[f.Op]
	if !ok {
		return fmt.Errorf("filter has the operator %q", f.Op)
	}
	if text, ok := f.Values[0].(string); ok {
		fmt.Fprintf(&b.sql, `(jsonb_typeof(r.metadata -> %[1]s) = 'string' AND (r.metadata ->> %[1]s) COLLATE "C" %[2]s %[3]s::text) IS TRUE`,
			field, order, b.param(text))
		return nil
	}
	fmt.Fprintf(&b.sql, "(jsonb_typeof(r.metadata -> %[1]s) = 'number' AND r.metadata -> %[1]s %[2]s %[3]s::text::jsonb) IS TRUE",
		field, order, b.param(values[0]))
	return nil
}
