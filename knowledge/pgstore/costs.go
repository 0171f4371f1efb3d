package pgstore

import "github.com/tars-project/tars/knowledge"

// microseconds of the database's time, about, while nothing else runs. The figures
// of this file are from BenchmarkCrossover and docs/decisions.md; only their ratios
// decide anything.
type microseconds float64

// affordable is what a search may cost to be exact where it need not be.
const affordable microseconds = 100_000

// scanCost is that of comparing all of main: by its bytes, for it is read from one
// end to the other.
func scanCost(d definition) microseconds {
	return microseconds(float64(d.bytes) / 2000)
}

// filteredCost is that of comparing so many rows that an index of a declared field
// finds: they lie anywhere.
func filteredCost(d definition, rows int64) microseconds {
	return microseconds(float64(rows) * (0.6 + 0.002*float64(d.Dimension())))
}

// entryCost is that of each entry of a vector index that a search looks at.
func entryCost(d definition) microseconds { return microseconds(16 + 0.04*float64(d.Dimension())) }

// annCost is that of a plan by the vector index.
func annCost(d definition, search knowledge.Search, plan knowledge.Plan, e estimate) microseconds {
	entries := float64(plan.Ef)
	if plan.Method == methodIterative {
		entries = max(entries, float64(search.Limit)/max(e.selectivity(), 1e-6))
	}
	return microseconds(entries) * entryCost(d)
}
