package local

// signMasks has, for each value of a byte of sign bits, the lanes that its
// bits select: two 32-bit lanes a word, lowest bit first. Immutable.
type signMasks [256][4]uint64

func newSignMasks() *signMasks {
	const low, high = 1<<32 - 1, (1<<32 - 1) << 32
	masks := new(signMasks)
	for value := range masks {
		for i := range masks[value] {
			if value>>(2*i)&1 == 1 {
				masks[value][i] |= low
			}
			if value>>(2*i+1)&1 == 1 {
				masks[value][i] |= high
			}
		}
	}
	return masks
}

// A termSum adds up weighted codes of stems. The code of a stem is termSize
// signs, +1 or -1, drawn by a generator that the stem's hash seeds: codes of
// different stems are nearly at right angles, so each keeps its own direction.
//
// A sum of signed weights is twice the sum of those with sign + less the sum of
// all. So only the first is kept, in lanes of 32 bits, two added at once.
type termSum struct {
	lanes [termSize / 2]uint64 // sums of the weights with sign + since the last fold
	all   uint32               // sum of all weights since the last fold
	sums  [termSize]int64      // signed sums up to the last fold
}

// add adds the code of stem times weight. The weights between two folds must
// sum to less than 2^32; they do, as a bench folds after at most 70,000 words
// of at most 2^13 each.
func (t *termSum) add(masks *signMasks, stem uint64, weight uint32) {
	if weight == 0 {
		return
	}
	t.all += weight
	both := uint64(weight) | uint64(weight)<<32
	for i := 0; i < len(t.lanes); i += 32 {
		stem = scramble(stem)
		signs := stem
		lanes := (*[32]uint64)(t.lanes[i : i+32])
		for j := 0; j < len(lanes); j += 4 {
			mask := &masks[signs&0xff]
			signs >>= 8
			lanes[j] += both & mask[0]
			lanes[j+1] += both & mask[1]
			lanes[j+2] += both & mask[2]
			lanes[j+3] += both & mask[3]
		}
	}
}

// fold moves the lanes into the sums.
func (t *termSum) fold() {
	all := int64(t.all)
	for i, lane := range t.lanes {
		t.sums[2*i] += 2*int64(uint32(lane)) - all
		t.sums[2*i+1] += 2*int64(lane>>32) - all
	}
	t.lanes, t.all = [termSize / 2]uint64{}, 0
}

// scramble is the step of the SplitMix64 generator (Steele, Lea and Flood,
// 2014).
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
