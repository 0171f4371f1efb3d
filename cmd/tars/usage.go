package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
)

type usageCommand struct {
	remote
	From string   `placeholder:"DAY" help:"First day in UTC, such as 2026-02-03; default: 29 days before the last."`
	To   string   `placeholder:"DAY" help:"Last day in UTC; default: today."`
	By   []string `default:"plugin" enum:"day,key,plugin" placeholder:"LIST" help:"What is told apart: some of day, key and plugin, with commas between."`
}

// usageRow is a line of the answer.
type usageRow struct {
	Day, Key, Plugin string
	Queries          int64   `json:"queries"`
	Searches         int64   `json:"searches"`
	Rows             int64   `json:"rows_read"`
	Texts            int64   `json:"embedded_texts"`
	Tokens           int64   `json:"embedded_tokens"`
	Calls            int64   `json:"plugin_calls"`
	Failed           int64   `json:"failed_calls"`
	Fuel             int64   `json:"fuel"`
	VM               int64   `json:"vm_us"`
	CPU              int64   `json:"cpu_us"`
	Memory           float64 `json:"megabyte_seconds"`
	HostCalls        int64   `json:"host_calls"`
	Input            int64   `json:"input_bytes"`
	Output           int64   `json:"output_bytes"`
}

// Run carries out the command.
func (c *usageCommand) Run(ctx context.Context, w *world) error {
	question := url.Values{"group_by": {strings.Join(c.By, ",")}}
	for name, day := range map[string]string{"from": c.From, "to": c.To} {
		if day != "" {
			question.Set(name, day)
		}
	}
	var report struct {
		From, To string
		Rows     []usageRow
	}
	if _, err := c.client().Do(ctx, http.MethodGet, "/v1/usage?"+question.Encode(), nil, &report); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w.stdout, "from %s to %s, in UTC\n", report.From, report.To); err != nil {
		return err
	}
	return printUsage(w.stdout, report.Rows, c.By)
}

// printUsage prints a table. A hyphen stands where there is no key or no plugin.
func printUsage(to io.Writer, rows []usageRow, by []string) error {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	header := append([]string(nil), by...)
	header = append(header, "queries", "searches", "rows", "texts", "tokens", "calls", "failed", "fuel", "vm s", "cpu s", "MB·s", "host calls", "bytes in", "bytes out")
	fmt.Fprintln(table, strings.Join(header, "\t")) // its error is Flush's, as all below
	for _, r := range rows {
		var cells []string
		for _, name := range by {
			cell := map[string]string{"day": r.Day, "key": r.Key, "plugin": r.Plugin}[name]
			if cell == "" {
				cell = "-"
			}
			cells = append(cells, cell)
		}
		for _, n := range []int64{r.Queries, r.Searches, r.Rows, r.Texts, r.Tokens, r.Calls, r.Failed, r.Fuel} {
			cells = append(cells, strconv.FormatInt(n, 10))
		}
		cells = append(cells, fmt.Sprintf("%.3f", float64(r.VM)/1e6), fmt.Sprintf("%.3f", float64(r.CPU)/1e6), fmt.Sprintf("%.3f", r.Memory))
		for _, n := range []int64{r.HostCalls, r.Input, r.Output} {
			cells = append(cells, strconv.FormatInt(n, 10))
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	return table.Flush()
}
