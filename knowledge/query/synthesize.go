package query

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
)

// synthesize asks all synthesizers at once and verifies what they cite. One that
// ends the query ends the others.
func (r *run) synthesize(ctx context.Context, p plan, passages []Candidate) error {
	if len(p.synthesize) == 0 {
		return nil
	}
	h := r.handout(passages)
	ask := func(ctx context.Context, t Task) (Result, Receipt, error) {
		draft, receipt, err := r.engine.Plugins.Synthesize(ctx, t)
		if err != nil {
			return Result{}, receipt, err
		}
		result := verify(draft, passages, r.q.Unverified)
		result.Call, result.Plugin, result.Version = t.Index, t.Call.Name, r.versions[t.Index].Number
		return result, receipt, r.tell(Part{Result: &result})
	}
	return each(ctx, r, "synthesize", p.synthesize[0], r.budget(shareSynthesize, shareSynthesize), h, ask, func(i int, result Result) {
		r.outcomes[i].result = &result
	})
}

// seed is what random numbers of a plugin call follow from, where they are to be
// the same again.
func (r *run) seed(i int) [32]byte {
	h := sha256.New()
	h.Write([]byte("tars query plugin seed 1\x00"))
	h.Write([]byte(r.versions[i].Digest))
	_ = binary.Write(h, binary.LittleEndian, uint64(i))
	h.Write([]byte(r.q.Seed))
	return [32]byte(h.Sum(nil))
}
