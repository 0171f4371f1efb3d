package pgstore

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

// tuning is what measured recall called for in the searches of one bucket that do
// not name an ef.
type tuning struct {
	ef    int  // candidates kept at least; 0: as without measuring
	exact bool // compare all, where that can be afforded
}

// measured is a row of recall_measured; see migrations for its sums.
type measured struct {
	bucket knowledge.Bucket
	tuning
	weight, weightSquare, recall, recallSquare float64
	samples                                    int64
	raised                                     time.Time // zero: never
}

// decay is what a new sample leaves of the weight of those before it. Two hundred
// samples at equal weight tell as much as any number with this decay.
const decay = 0.99

// mean is the average recall.
func (m measured) mean() float64 { return m.recall / m.weight }

// effective is how many samples of equal weight would tell as much.
func (m measured) effective() float64 { return m.weight * m.weight / m.weightSquare }

// margin is half of the interval in which the true recall lies with a
// probability of 0.9: below and above it is 0.05 each. The variance of few samples
// may come out too small, as 0 of equal ones; it is taken for no smaller than one
// miss among them would make it.
func (m measured) margin() float64 {
	n, mean := m.effective(), m.mean()
	variance := max(m.recallSquare/m.weight-mean*mean, 0.25/n)
	return 1.645 * math.Sqrt(variance/n)
}

const (
	samplesToRaise = 30  // fewer tell nothing
	samplesToLower = 150 // of 199 that there can be
	calm           = 24 * time.Hour
)

// retune decides what a bucket's searches should do, whose last sample kept ef
// candidates. Where recall is below the target, beyond doubt (see margin), they
// keep twice as many from then on, up to [knowledge.MaxEf], and are exact then. They
// keep half as many again when recall is above the middle between target and 1 as
// surely, and nothing was raised for a day: so that what is just enough is not
// lowered, found too little, and raised again.
func (m measured) retune(target float64, ef int, now time.Time) tuning {
	if m.weight == 0 {
		return m.tuning
	}
	low, high := m.mean()-m.margin(), m.mean()+m.margin()
	well := low >= target+(1-target)/2
	if target == 1 {
		well = false
	}
	switch n := m.effective(); {
	case n >= samplesToRaise && high < target && !m.exact:
		if ef >= knowledge.MaxEf {
			return tuning{ef: knowledge.MaxEf, exact: true}
		}
		return tuning{ef: min(2*ef, knowledge.MaxEf)}
	case n >= samplesToLower && well && now.Sub(m.raised) > calm && m.exact:
		return tuning{ef: m.ef}
	case n >= samplesToLower && well && now.Sub(m.raised) > calm && m.ef > 0:
		return tuning{ef: m.ef / 2}
	}
	return m.tuning
}

const measuredColumns = `bucket, weight, weight_square, recall, recall_square, samples, ef, exact, coalesce(raised_at, 'epoch')`

func (m *measured) scan(row pgx.Row) error {
	err := row.Scan(&m.bucket, &m.weight, &m.weightSquare, &m.recall, &m.recallSquare, &m.samples, &m.ef, &m.exact, &m.raised)
	if m.raised.Unix() == 0 {
		m.raised = time.Time{}
	}
	return err
}

const measuredSQL = `SELECT ` + measuredColumns + ` FROM recall_measured WHERE tenant_id = @tenant AND collection_id = @collection`

// measuredOf reads what was measured of a collection, by bucket.
func (s *Store) measuredOf(ctx context.Context, tenant knowledge.TenantID, d definition) (map[knowledge.Bucket]measured, error) {
	all := map[knowledge.Bucket]measured{}
	err := pgtx.Read(ctx, s.app, tenant, measuredSQL, d.args(tenant), func(rows pgx.Rows) error {
		for rows.Next() {
			var m measured
			if err := m.scan(rows); err != nil {
				return err
			}
			all[m.bucket] = m
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read recall: %w", err)
	}
	return all, nil
}

// tuningOf is what a search should do. It is at most tuningLife old.
func (s *Store) tuningOf(ctx context.Context, tenant knowledge.TenantID, d definition, search knowledge.Search, e estimate) (tuning, error) {
	bucket := knowledge.Plan{Estimated: e.known, Selectivity: e.selectivity()}.Bucket(search.Filter)
	if known, ok := s.tunings.recall(d.id); ok {
		return known[bucket], nil
	}
	all, err := s.measuredOf(ctx, tenant, d)
	if err != nil {
		return tuning{}, err
	}
	known := map[knowledge.Bucket]tuning{}
	for bucket, m := range all {
		known[bucket] = m.tuning
	}
	s.tunings.remember(d.id, known)
	return known[bucket], nil
}

// tuningLife is how long tunings are remembered: what another node measured is seen
// when it is over.
const tuningLife = 10 * time.Second
