package pgstore

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
)

// filterSQL gives the SQL of a filter that is valid for d, on row r, and adds what
// it compares with, names of undeclared fields too, to args: no text of the caller
// becomes SQL. Filters that differ in values alone have the same SQL, so that a
// statement is prepared once for all of them.
//
// The SQL is true exactly for the rows that the filter admits; for others it is
// false or null.
//
// Declared fields are compared in their columns, by operators that an index
// serves and that row-level security lets reach it, for they are leakproof: = < <=
// > >= and = ANY on text by code point and on float8. Those on arrays (&&), on
// tsvector (@@) and on jsonb are not: they are checked row by row.
func filterSQL(d definition, f knowledge.Filter, args pgx.NamedArgs) (string, error) {
	b := filterBuilder{definition: d, args: args}
	return b.build(f)
}

// indexableSQL is filterSQL with all that no index serves left out, so that it
// admits the same rows and maybe more.
func indexableSQL(d definition, f knowledge.Filter, args pgx.NamedArgs) (string, error) {
	b := filterBuilder{definition: d, args: args, indexable: true}
	return b.build(f)
}

type filterBuilder struct {
	definition
	args      pgx.NamedArgs
	indexable bool // leave out what no index serves

	sql strings.Builder
	n   int // parameters so far
}

func (b *filterBuilder) build(f knowledge.Filter) (string, error) {
	if f.IsZero() {
		return "true", nil
	}
	if err := b.add(f, false); err != nil {
		return "", err
	}
	return b.sql.String(), nil
}

// param adds a parameter and returns its place in the SQL.
func (b *filterBuilder) param(value any) string {
	b.n++
	name := fmt.Sprintf("filter%d", b.n)
	b.args[name] = value
	return "@" + name
}

// add writes f or, if it is negated, not f. Negations are carried down to the
// comparisons, by De Morgan's laws. So nothing above a comparison is a NOT, which
// would make null of null; a null counts as false all the way up; and an index
// can serve a comparison, for which it must not be wrapped in IS TRUE.
func (b *filterBuilder) add(f knowledge.Filter, negated bool) error {
	switch f.Op {
	case knowledge.OpAnd:
		return b.join(f.Terms, !negated, negated)
	case knowledge.OpOr:
		return b.join(f.Terms, negated, negated)
	case knowledge.OpNot:
		return b.add(f.Terms[0], !negated)
	case knowledge.OpNe:
		f.Op, negated = knowledge.OpEq, !negated
	case knowledge.OpExists:
		if !f.Values[0].(bool) {
			negated = !negated
		}
	}
	condition, served, err := b.comparison(f)
	switch {
	case err != nil:
		return err
	case b.indexable && !served:
		b.sql.WriteString("true")
	case negated:
		b.sql.WriteString("(" + condition + ") IS NOT TRUE")
	default:
		b.sql.WriteString(condition)
	}
	return nil
}

// join writes that all of the terms hold, or any.
func (b *filterBuilder) join(terms []knowledge.Filter, all, negated bool) error {
	between, empty := " OR ", "false"
	if all {
		between, empty = " AND ", "true"
	}
	b.sql.WriteByte('(')
	for i, term := range terms {
		if i > 0 {
			b.sql.WriteString(between)
		}
		if err := b.add(term, negated); err != nil {
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

// comparison gives the SQL of one comparison, and whether an index can serve it.
func (b *filterBuilder) comparison(f knowledge.Filter) (sql string, served bool, err error) {
	if f.Op == knowledge.OpMatch && f.Field == "" {
		return "r.lexemes @@ " + b.query(f), false, nil
	}
	if s, ok := b.slot(f); ok {
		return b.declared(s, f)
	}
	sql, err = b.undeclared(f)
	return sql, false, err
}

// slot is where the values are that f compares with, unless they have to be looked
// up in the metadata, because not all of them are there yet.
func (b *filterBuilder) slot(f knowledge.Filter) (slotted, bool) {
	for _, s := range b.slots {
		if s.Name == f.Field && s.State != knowledge.FieldFilling {
			return s, true
		}
	}
	return slotted{}, false
}

// declared compares the column of a declared field.
func (b *filterBuilder) declared(s slotted, f knowledge.Filter) (sql string, served bool, err error) {
	column := "r." + s.Slot
	if f.Op == knowledge.OpExists {
		return column + " IS NOT NULL", true, nil
	}
	values := f.Values
	// A view's filter may be older than the declaration: what cannot be compared is false.
	if b.view != nil && f.Validate(b.Collection) != nil {
		f.Values = slices.DeleteFunc(slices.Clone(values), func(v any) bool {
			one := knowledge.Filter{Op: f.Op, Field: f.Field, Values: []any{v}}
			return one.Validate(b.Collection) != nil
		})
	}
	switch {
	case len(f.Values) == 0 && len(values) > 0:
		return "false", true, nil
	case f.Op == knowledge.OpMatch:
		return b.match(column, f), false, nil
	case s.Type == knowledge.Keywords:
		return b.keywords(column, f), false, nil
	case s.Type == knowledge.Keyword:
		return b.scalar(column, "text", f.Op, texts(f.Values))
	}
	numbers, err := numbersOf(f.Values)
	if err != nil {
		return "", false, err
	}
	return b.scalar(column, "float8", f.Op, numbers)
}

// scalar compares a column of an SQL type with values of that type.
func (b *filterBuilder) scalar(column, sqlType string, op knowledge.Op, values any) (sql string, served bool, err error) {
	switch op {
	case knowledge.OpIn:
		return fmt.Sprintf("%s = ANY (%s::%s[])", column, b.param(values), sqlType), true, nil
	case knowledge.OpEq:
		return fmt.Sprintf("%s = %s::%s", column, b.param(first(values)), sqlType), true, nil
	}
	order, ok := orderings[op]
	if !ok {
		return "", false, fmt.Errorf("filter has the operator %q", op)
	}
	return fmt.Sprintf("%s %s %s::%s", column, order, b.param(first(values)), sqlType), true, nil
}

func first(values any) any {
	if numbers, ok := values.([]float64); ok {
		return numbers[0]
	}
	return values.([]string)[0]
}

// keywords compares a column of lists: one of the elements must do.
func (b *filterBuilder) keywords(column string, f knowledge.Filter) string {
	if order, ok := orderings[f.Op]; ok {
		return fmt.Sprintf(`EXISTS (SELECT FROM unnest(%s) AS item WHERE item COLLATE "C" %s %s::text)`, column, order, b.param(f.Values[0]))
	}
	return fmt.Sprintf("%s && %s::text[]", column, b.param(texts(f.Values)))
}

// undeclared compares a value of the metadata. jsonb is equal only to the same
// type, but orders all types, one after the other, hence jsonb_typeof; and it
// orders strings by the database's collation, hence ->> and COLLATE "C", which is
// by code point.
func (b *filterBuilder) undeclared(f knowledge.Filter) (string, error) {
	name := b.param(f.Field) + "::text"
	value := "(r.metadata -> " + name + ")"
	switch f.Op {
	case knowledge.OpExists:
		return fmt.Sprintf("jsonb_typeof(%s) <> 'null'", value), nil
	case knowledge.OpMatch:
		return fmt.Sprintf("(jsonb_typeof(%s) = 'string' AND %s)", value, b.match("(r.metadata ->> "+name+")", f)), nil
	}
	encoded := make([]string, len(f.Values))
	for i, v := range f.Values {
		text, err := json.Marshal(v)
		if err != nil {
			return "", fmt.Errorf("encode filter: %w", err)
		}
		encoded[i] = string(text)
	}
	switch f.Op {
	case knowledge.OpEq:
		return fmt.Sprintf("%s = %s::text::jsonb", value, b.param(encoded[0])), nil
	case knowledge.OpIn:
		return fmt.Sprintf("%s = ANY (%s::text[]::jsonb[])", value, b.param(encoded)), nil
	case knowledge.OpContains:
		return fmt.Sprintf("(jsonb_typeof(%[1]s) = 'array' AND %[1]s @> %[2]s::text::jsonb)", value, b.param(encoded[0])), nil
	}
	order, ok := orderings[f.Op]
	if !ok {
		return "", fmt.Errorf("filter has the operator %q", f.Op)
	}
	if text, ok := f.Values[0].(string); ok {
		return fmt.Sprintf(`(jsonb_typeof(%[1]s) = 'string' AND (r.metadata ->> %[2]s) COLLATE "C" %[3]s %[4]s::text)`,
			value, name, order, b.param(text)), nil
	}
	return fmt.Sprintf("(jsonb_typeof(%[1]s) = 'number' AND %[1]s %[2]s %[3]s::text::jsonb)", value, order, b.param(encoded[0])), nil
}

// match reports that all words are in text, an SQL expression.
func (b *filterBuilder) match(text string, f knowledge.Filter) string {
	return fmt.Sprintf("to_tsvector(%s, %s) @@ %s", b.language(), text, b.query(f))
}

// query is the words of a match.
func (b *filterBuilder) query(f knowledge.Filter) string {
	return fmt.Sprintf("plainto_tsquery(%s, %s::text)", b.language(), b.param(f.Values[0]))
}

// language is the collection's text search configuration. Its name goes to args.
func (b *filterBuilder) language() string {
	b.args["filter_language"] = languageOf(b.Language)
	return "@filter_language::text::regconfig"
}

// texts are the strings of a filter that was checked.
func texts(values []any) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = v.(string)
	}
	return list
}

// numbersOf are the values as a column of numbers keeps them: true is 1, false is
// 0, a datetime its seconds.
func numbersOf(values []any) ([]float64, error) {
	list := make([]float64, len(values))
	for i, value := range values {
		switch v := value.(type) {
		case float64:
			list[i] = v
		case bool:
			if v {
				list[i] = 1
			}
		case string:
			seconds, err := knowledge.DatetimeSeconds(v)
			if err != nil {
				return nil, err
			}
			list[i] = seconds
		}
	}
	return list, nil
}

// undeclaredFields are the fields of a filter that the collection does not
// declare, each once.
func undeclaredFields(d definition, f knowledge.Filter) []string {
	seen := map[string]bool{"": true} // the text
	for _, s := range d.slots {
		seen[s.Name] = s.State != knowledge.FieldFilling
	}
	var fields []string
	var walk func(knowledge.Filter)
	walk = func(f knowledge.Filter) {
		if !seen[f.Field] {
			seen[f.Field] = true
			fields = append(fields, f.Field)
		}
		for _, term := range f.Terms {
			walk(term)
		}
	}
	walk(f)
	return fields
}
