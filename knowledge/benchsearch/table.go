package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pgvector/pgvector-go"
	pgxvec "github.com/pgvector/pgvector-go/pgx"

	"github.com/tars-project/tars/cmd/tars/rig"
	"github.com/tars-project/tars/cmd/tars/rig/load"
)

// table is what a service made by hand would have: the rows of a dataset, an HNSW
// index in single and one in half precision, no tenants.
type table struct {
	data *dataset
	name string // with its schema
}

func (t table) sql(format string) string { return fmt.Sprintf(format, t.name, t.data.dim) }

// loaded says what loading cost.
type loaded struct {
	Dataset      string  `json:"dataset"`
	Rows         int     `json:"rows"`
	Copy         float64 `json:"copy_rows_per_second"`      // into a table without a vector index
	Build        float64 `json:"index_build_seconds"`       // in single precision, all rows at once
	BuildHalf    float64 `json:"half_index_build_seconds"`  // in half precision
	CopyLive     float64 `json:"copy_live_rows_per_second"` // into the table with the index of single precision
	LiveRows     int     `json:"copy_live_rows"`
	TableBytes   int64   `json:"table_bytes"`
	IndexesBytes int64   `json:"indexes_bytes"` // both, and the key's
}

// copyRows copies rows from the first up to but without the second, over one
// connection, and says how long that took.
func (t table) copyRows(ctx context.Context, conn *pgx.Conn, from, to int) (time.Duration, error) {
	d := t.data
	start := time.Now()
	row := from
	source := pgx.CopyFromFunc(func() ([]any, error) {
		if row == to {
			return nil, nil
		}
		values := []any{int32(row), d.bucket[row], string(appendText(nil, d, row)), pgvector.NewVector(d.row(row))}
		row++
		return values, nil
	})
	_, err := conn.CopyFrom(ctx, pgx.Identifier{"bench", d.name}, []string{"id", "bucket", "body", "e"}, source)
	return time.Since(start), err
}

// load fills the table: most rows before there is an index, live rows after.
func (t table) load(ctx context.Context, conn *pgx.Conn, live int) (l loaded, err error) {
	d := t.data
	l.Dataset, l.Rows, l.LiveRows = d.name, d.len(), live
	for _, sql := range []string{
		"CREATE TABLE %[1]s (id int PRIMARY KEY, bucket int NOT NULL, body text NOT NULL, e vector(%[2]d) NOT NULL)",
		"GRANT SELECT ON %[1]s TO " + reader,
		"CREATE TABLE %[1]s_queries (id int PRIMARY KEY, e vector(%[2]d) NOT NULL)",
		"GRANT SELECT ON %[1]s_queries TO " + reader,
	} {
		if _, err := conn.Exec(ctx, t.sql(sql)); err != nil {
			return l, err
		}
	}
	if err := pgxvec.RegisterTypes(ctx, conn); err != nil {
		return l, err
	}
	for n := range d.count() {
		if _, err := conn.Exec(ctx, t.sql("INSERT INTO %[1]s_queries VALUES ($1, $2)"), n, pgvector.NewVector(d.query(n))); err != nil {
			return l, err
		}
	}
	took, err := t.copyRows(ctx, conn, 0, d.len()-live)
	if err != nil {
		return l, err
	}
	l.Copy = rig.Round(float64(d.len()-live) / took.Seconds())
	build := func(on string) (float64, error) {
		start := time.Now()
		_, err := conn.Exec(ctx, t.sql("CREATE INDEX ON %[1]s USING hnsw ("+on+fmt.Sprintf(") WITH (m = %d, ef_construction = %d)", hnswM, hnswEfConstruction)))
		return rig.Round(time.Since(start).Seconds()), err
	}
	if l.Build, err = build("e vector_cosine_ops"); err != nil {
		return l, err
	}
	if took, err = t.copyRows(ctx, conn, d.len()-live, d.len()); err != nil {
		return l, err
	}
	l.CopyLive = rig.Round(float64(live) / took.Seconds())
	if l.BuildHalf, err = build("(e::halfvec(%[2]d)) halfvec_cosine_ops"); err != nil {
		return l, err
	}
	if _, err := conn.Exec(ctx, t.sql("VACUUM ANALYZE %[1]s")); err != nil {
		return l, err
	}
	err = conn.QueryRow(ctx, "SELECT pg_table_size($1), pg_indexes_size($1)", t.name).Scan(&l.TableBytes, &l.IndexesBytes)
	return l, err
}

// Statements: ten nearest, with what a service would give back. The form of
// pgbench, which cannot send a vector, takes it from a table.
const (
	selectSQL     = "SELECT id, bucket, body, e <=> $1 FROM %[1]s ORDER BY e <=> $1 LIMIT 10"
	selectHalfSQL = "SELECT id, bucket, body, e::halfvec(%[2]d) <=> $1::halfvec(%[2]d) FROM %[1]s ORDER BY e::halfvec(%[2]d) <=> $1::halfvec(%[2]d) LIMIT 10"
	pgbenchSQL    = "SELECT id, bucket, body FROM %[1]s ORDER BY e <=> (SELECT e FROM %[1]s_queries WHERE id = :n) LIMIT 10"
	pgbenchOfPgx  = "SELECT id, bucket, body, 0::float8 FROM %[1]s ORDER BY e <=> (SELECT e FROM %[1]s_queries WHERE id = $1) LIMIT 10"
)

// pgxClient searches by pgx over a pool, with prepared statements and binary
// parameters. It implements searcher.
type pgxClient struct {
	pool     *pgxpool.Pool // with a connection for each client
	sql      string
	data     *dataset
	byNumber bool // the statement takes the query's number instead of its vector
	rows     []int32
}

// Ask implements load.Client.
func (c *pgxClient) Ask(n int) error {
	n %= c.data.count()
	var arg any = pgvector.NewVector(c.data.query(n))
	if c.byNumber {
		arg = n
	}
	rows, err := c.pool.Query(context.Background(), c.sql, arg)
	if err != nil {
		return err
	}
	c.rows = c.rows[:0]
	var (
		id, bucket int32
		body       string
		distance   float64
	)
	if _, err := pgx.ForEachRow(rows, []any{&id, &bucket, &body, &distance}, func() error {
		c.rows = append(c.rows, id)
		return nil
	}); err != nil {
		return err
	}
	if len(c.rows) != topK {
		return fmt.Errorf("%w: %d rows", rig.ErrAnswer, len(c.rows))
	}
	return nil
}

// Rows implements searcher.
func (c *pgxClient) Rows(n int) ([]int32, error) {
	err := c.Ask(n)
	return append([]int32(nil), c.rows...), err
}

// Close implements load.Client. The pool is closed with its layer.
func (*pgxClient) Close() error { return nil }

var _ load.Client = (*pgxClient)(nil)
