// Package pgledger keeps the ledger in PostgreSQL. What is noted, and when it is
// written, is for package ledger.
package pgledger

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// Store implements [ledger.Store]. Make it with [New]; safe for concurrent use.
type Store struct{ app, jobs pgtx.DB }

var _ ledger.Store = (*Store)(nil)

// New returns a store that reads on connections of the role tars_app, for a tenant, and
// writes and sweeps on those of tars_jobs, for all.
func New(app, jobs pgtx.DB) *Store { return &Store{app, jobs} }

// reachSQL changes nothing when the writer has reached the number. Who sends a batch
// twice waits here for its first try to end.
const reachSQL = `
INSERT INTO ledger_writers AS w (writer, batch)
VALUES (@writer, @number)
ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, written_at = now()
WHERE w.batch < excluded.batch`

const addCallsSQL = `
INSERT INTO plugin_calls (tenant_id, call_id, key_id, plugin, version, digest, capability, tier, grade, started_at, outcome,
	queue_us, vm_us, cpu_us, fuel, peak_memory, host_calls, host_bytes, host_us, input_bytes, output_bytes, rows_read)
SELECT n.*
FROM unnest(@tenants::text[], @ids::text[], @keys::text[], @plugins::text[], @versions::int[], @digests::text[], @capabilities::text[],
	@tiers::text[], @grades::text[], @started::timestamptz[], @outcomes::text[], @queue::bigint[], @vm::bigint[], @cpu::bigint[],
	@fuel::bigint[], @peak::bigint[], @host_calls::bigint[], @host_bytes::bigint[], @host_us::bigint[], @input::bigint[],
	@output::bigint[], @rows::bigint[]) AS n (tenant_id)
WHERE EXISTS (SELECT FROM tenants t WHERE t.tenant_id = n.tenant_id)
ON CONFLICT (tenant_id, call_id) DO NOTHING`

// addUsageSQL goes through the rows in one order, as every writer does: two that write
// at once wait for each other, and not in a circle.
const addUsageSQL = `
INSERT INTO usage_days AS u (tenant_id, day, key_id, plugin, queries, searches, rows_read, embedded_texts, embedded_tokens, calls,
	failed_calls, fuel, vm_us, cpu_us, byte_seconds, host_calls, input_bytes, output_bytes)
SELECT n.*
FROM unnest(@tenants::text[], @days::date[], @keys::text[], @plugins::text[], @queries::bigint[], @searches::bigint[], @rows::bigint[],
	@texts::bigint[], @tokens::bigint[], @calls::bigint[], @failed::bigint[], @fuel::bigint[], @vm::bigint[], @cpu::bigint[],
	@byte_seconds::bigint[], @host_calls::bigint[], @input::bigint[], @output::bigint[]) AS n (tenant_id, day, key_id, plugin)
WHERE EXISTS (SELECT FROM tenants t WHERE t.tenant_id = n.tenant_id)
ORDER BY n.tenant_id COLLATE "C", n.day, n.key_id COLLATE "C", n.plugin COLLATE "C"
ON CONFLICT (tenant_id, day, key_id, plugin) DO UPDATE SET
	queries = u.queries + excluded.queries,
	searches = u.searches + excluded.searches,
	rows_read = u.rows_read + excluded.rows_read,
	embedded_texts = u.embedded_texts + excluded.embedded_texts,
	embedded_tokens = u.embedded_tokens + excluded.embedded_tokens,
	calls = u.calls + excluded.calls,
	failed_calls = u.failed_calls + excluded.failed_calls,
	fuel = u.fuel + excluded.fuel,
	vm_us = u.vm_us + excluded.vm_us,
	cpu_us = u.cpu_us + excluded.cpu_us,
	byte_seconds = u.byte_seconds + excluded.byte_seconds,
	host_calls = u.host_calls + excluded.host_calls,
	input_bytes = u.input_bytes + excluded.input_bytes,
	output_bytes = u.output_bytes + excluded.output_bytes`

// Write implements [ledger.Writer], in one transaction of three statements.
func (s *Store) Write(ctx context.Context, b ledger.Batch) error {
	err := pgx.BeginFunc(ctx, s.jobs, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, reachSQL, pgx.NamedArgs{"writer": b.Writer, "number": b.Number})
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if len(b.Calls) > 0 {
			if _, err := tx.Exec(ctx, addCallsSQL, callArgs(b.Calls)); err != nil {
				return err
			}
		}
		if len(b.Usage) > 0 {
			_, err = tx.Exec(ctx, addUsageSQL, usageArgs(b.Usage))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("write the ledger: %w", pgtx.Kind(ctx, err))
	}
	return nil
}

// columns makes arrays of rows, one for each name.
func columns[T any](rows []T, of map[string]func(T) any) pgx.NamedArgs {
	args := pgx.NamedArgs{}
	for name, value := range of {
		array := make([]any, len(rows))
		for i, row := range rows {
			array[i] = value(row)
		}
		args[name] = array
	}
	return args
}

func callArgs(calls []ledger.TenantCall) pgx.NamedArgs {
	type call = ledger.TenantCall
	return columns(calls, map[string]func(call) any{
		"tenants": func(c call) any { return string(c.Tenant) }, "ids": func(c call) any { return string(c.ID) },
		"keys": func(c call) any { return c.Key }, "plugins": func(c call) any { return c.Plugin },
		"versions": func(c call) any { return c.Version }, "digests": func(c call) any { return c.Digest },
		"capabilities": func(c call) any { return c.Capability }, "tiers": func(c call) any { return c.Tier },
		"grades": func(c call) any { return c.Grade }, "started": func(c call) any { return c.Started },
		"outcomes": func(c call) any { return c.Outcome }, "queue": func(c call) any { return c.Queue.Microseconds() },
		"vm": func(c call) any { return c.VM.Microseconds() }, "cpu": func(c call) any { return c.CPU.Microseconds() },
		"fuel": func(c call) any { return c.Fuel }, "peak": func(c call) any { return c.PeakMemory },
		"host_calls": func(c call) any { return c.HostCalls }, "host_bytes": func(c call) any { return c.HostBytes },
		"host_us": func(c call) any { return c.HostTime.Microseconds() }, "input": func(c call) any { return c.Input },
		"output": func(c call) any { return c.Output }, "rows": func(c call) any { return c.Rows },
	})
}

func usageArgs(usage map[ledger.Part]ledger.Usage) pgx.NamedArgs {
	type part = ledger.Part
	return columns(slices.Collect(maps.Keys(usage)), map[string]func(part) any{
		"tenants": func(p part) any { return string(p.Tenant) }, "days": func(p part) any { return p.Day.Time() },
		"keys": func(p part) any { return p.Key }, "plugins": func(p part) any { return p.Plugin },
		"queries": func(p part) any { return usage[p].Queries }, "searches": func(p part) any { return usage[p].Searches },
		"rows": func(p part) any { return usage[p].Rows }, "texts": func(p part) any { return usage[p].EmbeddedTexts },
		"tokens": func(p part) any { return usage[p].EmbeddedTokens }, "calls": func(p part) any { return usage[p].Calls },
		"failed": func(p part) any { return usage[p].Failed }, "fuel": func(p part) any { return usage[p].Fuel },
		"vm": func(p part) any { return usage[p].VM.Microseconds() }, "cpu": func(p part) any { return usage[p].CPU.Microseconds() },
		"byte_seconds": func(p part) any { return usage[p].ByteSeconds }, "host_calls": func(p part) any { return usage[p].HostCalls },
		"input": func(p part) any { return usage[p].Input }, "output": func(p part) any { return usage[p].Output },
	})
}

const callColumns = `call_id, key_id, plugin, version, digest, capability, tier, grade, started_at, outcome, queue_us, vm_us, cpu_us, fuel,
	peak_memory, host_calls, host_bytes, host_us, input_bytes, output_bytes, rows_read`

const getSQL = `
SELECT ` + callColumns + `
FROM plugin_calls
WHERE tenant_id = @tenant AND call_id = @id`

// Call implements [ledger.Reader].
func (s *Store) Call(ctx context.Context, tenant knowledge.TenantID, id ledger.ID) (ledger.Call, error) {
	found, err := s.read(ctx, tenant, getSQL, pgx.NamedArgs{"tenant": string(tenant), "id": string(id)})
	if err != nil {
		return ledger.Call{}, fmt.Errorf("call: %w", err)
	}
	if len(found) == 0 {
		return ledger.Call{}, knowledge.NotFound("call", id)
	}
	return found[0], nil
}

// listSQL has the times twice: ids sort by them to the millisecond, and the index has
// the ids.
const listSQL = `
SELECT ` + callColumns + `
FROM plugin_calls
WHERE tenant_id = @tenant AND plugin = @plugin
	AND (@before::text = '' OR call_id < @before)
	AND (@key::text IS NULL OR key_id = @key)
	AND (@version::int = 0 OR version = @version)
	AND (@outcome::text = '' OR outcome = @outcome)
	AND (@since::timestamptz IS NULL OR call_id >= @first AND started_at >= @since)
	AND (@until::timestamptz IS NULL OR call_id < @last AND started_at < @until)
ORDER BY call_id DESC
LIMIT @limit`

// Calls implements [ledger.Reader].
func (s *Store) Calls(ctx context.Context, tenant knowledge.TenantID, plugin string, want ledger.Selection, limit int) ([]ledger.Call, error) {
	args := pgx.NamedArgs{
		"tenant": string(tenant), "plugin": plugin, "before": string(want.Before), "key": want.Key, "version": want.Version,
		"outcome": want.Outcome, "since": nil, "first": "", "until": nil, "last": "", "limit": limit,
	}
	if !want.Since.IsZero() {
		args["since"], args["first"] = want.Since, string(ledger.FirstID(want.Since))
	}
	if !want.Until.IsZero() {
		args["until"], args["last"] = want.Until, string(ledger.FirstID(want.Until.Add(time.Millisecond)))
	}
	found, err := s.read(ctx, tenant, listSQL, args)
	if err != nil {
		return nil, fmt.Errorf("list calls: %w", err)
	}
	return found, nil
}

func (s *Store) read(ctx context.Context, tenant knowledge.TenantID, sql string, args pgx.NamedArgs) (found []ledger.Call, err error) {
	err = pgtx.Read(ctx, s.app, tenant, sql, args, func(rows pgx.Rows) error {
		for rows.Next() {
			var c ledger.Call
			var queue, vm, cpu, host int64
			err := rows.Scan(&c.ID, &c.Key, &c.Plugin, &c.Version, &c.Digest, &c.Capability, &c.Tier, &c.Grade, &c.Started, &c.Outcome,
				&queue, &vm, &cpu, &c.Fuel, &c.PeakMemory, &c.HostCalls, &c.HostBytes, &host, &c.Input, &c.Output, &c.Rows)
			if err != nil {
				return err
			}
			c.Queue, c.VM, c.CPU, c.HostTime = microseconds(queue), microseconds(vm), microseconds(cpu), microseconds(host)
			c.Started = c.Started.UTC()
			found = append(found, c)
		}
		return rows.Err()
	})
	return found, err
}

func microseconds(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// usageSQL reads one more than there may be.
const usageSQL = `
SELECT CASE WHEN @by_day THEN to_char(day, 'YYYY-MM-DD') ELSE '' END AS on_day,
	CASE WHEN @by_key THEN key_id ELSE '' END AS of_key,
	CASE WHEN @by_plugin THEN plugin ELSE '' END AS of_plugin,
	sum(queries)::bigint, sum(searches)::bigint, sum(rows_read)::bigint, sum(embedded_texts)::bigint, sum(embedded_tokens)::bigint,
	sum(calls)::bigint, sum(failed_calls)::bigint, sum(fuel)::bigint, sum(vm_us)::bigint, sum(cpu_us)::bigint, sum(byte_seconds)::bigint,
	sum(host_calls)::bigint, sum(input_bytes)::bigint, sum(output_bytes)::bigint
FROM usage_days
WHERE tenant_id = @tenant AND day BETWEEN @from AND @to AND (@key::text IS NULL OR key_id = @key)
GROUP BY on_day, of_key, of_plugin
ORDER BY on_day, of_key, of_plugin
LIMIT @most`

// Usage implements [ledger.Reader].
func (s *Store) Usage(ctx context.Context, tenant knowledge.TenantID, q ledger.Question) (sums []ledger.Sum, err error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	args := pgx.NamedArgs{
		"tenant": string(tenant), "from": q.From.Time(), "to": q.To.Time(), "key": q.Key,
		"by_day": q.ByDay, "by_key": q.ByKey, "by_plugin": q.ByPlugin, "most": ledger.MaxSums + 1,
	}
	err = pgtx.Read(ctx, s.app, tenant, usageSQL, args, func(rows pgx.Rows) error {
		for rows.Next() {
			var u ledger.Sum
			var vm, cpu int64
			err := rows.Scan(&u.Day, &u.Key, &u.Plugin, &u.Queries, &u.Searches, &u.Rows, &u.EmbeddedTexts, &u.EmbeddedTokens,
				&u.Calls, &u.Failed, &u.Fuel, &vm, &cpu, &u.ByteSeconds, &u.HostCalls, &u.Input, &u.Output)
			if err != nil {
				return err
			}
			u.VM, u.CPU = microseconds(vm), microseconds(cpu)
			sums = append(sums, u)
		}
		return rows.Err()
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("usage: %w", err)
	case len(sums) > ledger.MaxSums:
		return nil, ledger.TooManySums()
	}
	return sums, nil
}

// sweepChunk is how many calls one transaction of the sweep deletes at most: some 20 ms
// of locks.
const sweepChunk = 5000

const sweepSQL = `
DELETE FROM plugin_calls
WHERE (tenant_id, call_id) IN (
	SELECT tenant_id, call_id
	FROM plugin_calls
	WHERE started_at < now() - @age::interval
	ORDER BY started_at
	LIMIT @chunk
	FOR UPDATE SKIP LOCKED
)`

// writerAge is how long a process that does not know the fate of a batch can find it
// out.
const writerAge = 30 * 24 * time.Hour

const sweepWritersSQL = `DELETE FROM ledger_writers WHERE written_at < now() - @age::interval`

// Sweep implements [ledger.Store].
func (s *Store) Sweep(ctx context.Context, age time.Duration) (total int64, err error) {
	if _, err := s.delete(ctx, sweepWritersSQL, pgx.NamedArgs{"age": writerAge}); err != nil {
		return 0, err
	}
	for {
		n, err := s.delete(ctx, sweepSQL, pgx.NamedArgs{"age": age, "chunk": sweepChunk})
		total += n
		if err != nil || n < sweepChunk {
			return total, err
		}
	}
}

func (s *Store) delete(ctx context.Context, sql string, args pgx.NamedArgs) (n int64, err error) {
	err = pgx.BeginFunc(ctx, s.jobs, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sql, args)
		n = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("sweep the ledger: %w", pgtx.Kind(ctx, err))
	}
	return n, nil
}
