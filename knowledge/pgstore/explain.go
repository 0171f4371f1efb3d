package pgstore

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// explainSearch carries the search out once more, watched by the server. What it
// tells is the caller's alone: names are, for row-level security compares with the
// tenant of the setting, and leaves are numbers; costs, buffers, and what a scan of a
// whole shared place removed would tell how much others have there, and are left out.
func (s *Store) explainSearch(ctx context.Context, tenant knowledge.TenantID, d definition, search knowledge.Search, plan knowledge.Plan) (*knowledge.Explained, error) {
	text, err := s.explainText(ctx, tenant, d, search, plan, "EXPLAIN (ANALYZE, TIMING off, COSTS off, BUFFERS off) ")
	if err != nil {
		return nil, err
	}
	e := readExplained(text, d)
	if d.view != nil { // what else is in the collection, and what the view is made of, is not its reader's
		return &knowledge.Explained{Planning: e.Planning, Execution: e.Execution}, nil
	}
	return e, nil
}

// explainText gives the server's plan of a search, as the role of the application.
func (s *Store) explainText(ctx context.Context, tenant knowledge.TenantID, d definition, search knowledge.Search, plan knowledge.Plan, explain string) (string, error) {
	args := d.args(tenant)
	sql, err := searchStatement(d, search, plan, args)
	if err != nil {
		return "", err
	}
	var lines []string
	err = pgtx.ReadWith(ctx, s.app, setSQL(d, plan, search.Filter), explain+sql, args, func(rows pgx.Rows) (err error) {
		lines, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return strings.Join(lines, "\n"), err
}

var (
	scannedNode  = regexp.MustCompile(` on records_(\d+) r.*\(actual (?:time=\S+ )?rows=([\d.]+) loops=(\d+)\)`)
	removedRows  = regexp.MustCompile(`Rows Removed by (?:Filter|Index Recheck): (\d+)`)
	planningTime = regexp.MustCompile(`Planning Time: ([\d.]+) ms`)
	runningTime  = regexp.MustCompile(`Execution Time: ([\d.]+) ms`)
	// A vector is worth nothing to a reader.
	longLiteral = regexp.MustCompile(`'[\[{][^']{64,}[\]}]'`)
)

// maxExplained bounds the text of a plan, in bytes.
const maxExplained = 64 << 10

// readExplained finds the figures in a server's plan. Those it does not find,
// because a version writes them otherwise, are zero.
func readExplained(text string, d definition) *knowledge.Explained {
	e := &knowledge.Explained{Planning: timeIn(planningTime, text), Execution: timeIn(runningTime, text)}
	var kept strings.Builder
	inWritePlace, others := false, false // of the last node that scans
	for line := range strings.Lines(text) {
		n := int64(0)
		if node := scannedNode.FindStringSubmatch(line); node != nil {
			inWritePlace = node[1] == strconv.Itoa(int(d.placement))
			others = inWritePlace && strings.Contains(line, "Seq Scan")
			n = numberIn(node[2]) * numberIn(node[3])
		} else if removed := removedRows.FindStringSubmatch(line); removed != nil {
			if others {
				continue
			}
			n = numberIn(removed[1])
		}
		e.Rows += n
		if inWritePlace && d.main != noMain {
			e.Waiting += n
		}
		kept.WriteString(line)
	}
	e.Text = longLiteral.ReplaceAllString(kept.String(), "'…'")
	if len(e.Text) > maxExplained {
		e.Text = strings.ToValidUTF8(e.Text[:maxExplained], "") + "…"
	}
	return e
}

func timeIn(pattern *regexp.Regexp, text string) time.Duration {
	if found := pattern.FindStringSubmatch(text); found != nil {
		if ms, err := strconv.ParseFloat(found[1], 64); err == nil {
			return time.Duration(ms * float64(time.Millisecond))
		}
	}
	return 0
}

func numberIn(s string) int64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0
	}
	return int64(f)
}
