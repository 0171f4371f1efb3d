package query

import (
	"fmt"
	"math"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// Bounds of boosts.
const (
	MaxBoosts      = 8
	maxBoostNumber = 1e15
	leastFactor    = 1e-9 // a factor is brought into leastFactor…mostFactor
	mostFactor     = 1e9
)

// Combine is how boosts change a score.
type Combine string

// The ways. The empty one is Multiply.
const (
	// Multiply takes the score times each boost's factor. A factor above 1 is
	// always to the good: negative scores are divided by it.
	Multiply Combine = "multiply"
	// Add adds each boost's factor times its weight.
	Add Combine = "sum"
)

// Boosting changes scores by the metadata of records.
type Boosting struct {
	Combine Combine
	Boosts  []Boost // 1 to [MaxBoosts]
}

// Boost gives each record a factor: exactly one of Decay, Value and Match is set.
type Boost struct {
	Decay *Decay
	Value *ValueFactor
	Match *MatchBoost
	// Weight is what the factor is multiplied by under Add; under Multiply it is
	// the exponent of Decay's and Value's factor, so that 0.5 softens it, and the
	// factor itself of Match. More than 0, up to [MaxWeight]; 0 means 1.
	Weight float64
}

// Shape is how a decay falls.
type Shape string

// The shapes. Within the offset the factor is 1; at a distance of the scale beyond
// it, it is Decay's At.
const (
	Exponential Shape = "exp"
	Gaussian    Shape = "gauss"
	Linear      Shape = "linear" // down to 0
)

// Decay favours values near an origin.
type Decay struct {
	Field  string
	Shape  Shape     // empty means exp
	Number *float64  // origin of a number; else a datetime is meant:
	Time   time.Time // its origin; zero means now
	Scale  float64   // above 0; of a datetime in seconds
	Offset float64   // 0 or more
	At     float64   // above 0, below 1; 0 means 0.5
}

// Modifier is what is made of a value.
type Modifier string

// The modifiers. The empty one is Plain.
const (
	Plain Modifier = "none"
	Log1p Modifier = "log1p" // ln(1 + x)
	Sqrt  Modifier = "sqrt"
)

// ValueFactor favours large values of a number; those below 0 count as 0.
type ValueFactor struct {
	Field    string
	Modifier Modifier
	Factor   float64  // what the value is multiplied by first, above 0, up to 1e6; 0 means 1
	Missing  *float64 // the value of records that have none; nil means that they are not boosted
}

// MatchBoost favours records that pass a filter.
type MatchBoost struct {
	Filter knowledge.Filter // not the zero one
}

func (b Boosting) validate() (Boosting, error) {
	switch {
	case b.Combine != "" && b.Combine != Multiply && b.Combine != Add:
		return b, knowledge.Invalid("combine", "is not a way to combine; need multiply or sum")
	case len(b.Boosts) < 1 || len(b.Boosts) > MaxBoosts:
		return b, knowledge.Invalid("boosts", "has %d entries; need 1 to %d", len(b.Boosts), MaxBoosts)
	}
	boosts := make([]Boost, len(b.Boosts))
	for i, boost := range b.Boosts {
		var err error
		if boosts[i], err = boost.validate(); err != nil {
			return b, knowledge.At(fmt.Sprintf("boosts[%d]", i), err)
		}
	}
	b.Boosts = boosts
	return b, nil
}

func (b Boost) validate() (Boost, error) {
	if b.Weight == 0 {
		b.Weight = 1
	}
	if !(b.Weight > 0 && b.Weight <= MaxWeight) {
		return b, knowledge.Invalid("weight", "is %g; need more than 0, up to %d", b.Weight, MaxWeight)
	}
	var err error
	switch {
	case b.Decay != nil && b.Value == nil && b.Match == nil:
		decay := *b.Decay
		err = decay.validate()
		b.Decay = &decay
		return b, knowledge.At("decay", err)
	case b.Value != nil && b.Decay == nil && b.Match == nil:
		value := *b.Value
		err = value.validate()
		b.Value = &value
		return b, knowledge.At("value_factor", err)
	case b.Match != nil && b.Decay == nil && b.Value == nil:
		if b.Match.Filter.IsZero() {
			return b, knowledge.Invalid("match.filter", "is missing")
		}
		return b, knowledge.At("match.filter", b.Match.Filter.Validate(knowledge.Collection{}))
	}
	return b, knowledge.Invalid("", "needs exactly one of decay, value_factor, match")
}

func (d *Decay) validate() error {
	if d.Shape == "" {
		d.Shape = Exponential
	}
	if d.At == 0 {
		d.At = 0.5
	}
	if err := knowledge.CheckFieldName(d.Field); err != nil {
		return knowledge.At("field", err)
	}
	switch {
	case d.Shape != Exponential && d.Shape != Gaussian && d.Shape != Linear:
		return knowledge.Invalid("shape", "is not a shape; need exp, gauss or linear")
	case d.Number != nil && !finite(*d.Number, maxBoostNumber):
		return knowledge.Invalid("origin", "is %g; need a number up to ±%g", *d.Number, float64(maxBoostNumber))
	case !(d.Scale > 0 && d.Scale <= maxBoostNumber):
		return knowledge.Invalid("scale", "is %g; need more than 0, up to %g", d.Scale, float64(maxBoostNumber))
	case !(d.Offset >= 0 && d.Offset <= maxBoostNumber):
		return knowledge.Invalid("offset", "is %g; need 0 to %g", d.Offset, float64(maxBoostNumber))
	case !(d.At > 0 && d.At < 1):
		return knowledge.Invalid("decay", "is %g; need more than 0, less than 1", d.At)
	}
	return nil
}

func (v *ValueFactor) validate() error {
	if v.Modifier == "" {
		v.Modifier = Plain
	}
	if v.Factor == 0 {
		v.Factor = 1
	}
	if err := knowledge.CheckFieldName(v.Field); err != nil {
		return knowledge.At("field", err)
	}
	switch {
	case v.Modifier != Plain && v.Modifier != Log1p && v.Modifier != Sqrt:
		return knowledge.Invalid("modifier", "is not a modifier; need none, log1p or sqrt")
	case !(v.Factor > 0 && v.Factor <= 1e6):
		return knowledge.Invalid("factor", "is %g; need more than 0, up to 1e6", v.Factor)
	case v.Missing != nil && !finite(*v.Missing, maxBoostNumber):
		return knowledge.Invalid("missing", "is %g; need a number up to ±%g", *v.Missing, float64(maxBoostNumber))
	}
	return nil
}

// checkFields refuses boosts that do not go with the types of declared fields.
// What is not declared may be anything: values of another type are not boosted.
func (b Boosting) checkFields(declared []knowledge.Field) error {
	for i, boost := range b.Boosts {
		var field, part, need string
		var types []knowledge.FieldType
		switch {
		case boost.Decay != nil && boost.Decay.Number != nil:
			field, part, need, types = boost.Decay.Field, "decay", "a number as its origin", []knowledge.FieldType{knowledge.Number}
		case boost.Decay != nil:
			field, part, need, types = boost.Decay.Field, "decay", "a time as its origin", []knowledge.FieldType{knowledge.Datetime}
		case boost.Value != nil:
			field, part, need, types = boost.Value.Field, "value_factor", "a value", []knowledge.FieldType{knowledge.Number}
		}
		for _, d := range declared {
			if d.Name == field && types != nil && d.Type != types[0] {
				return knowledge.Invalid(fmt.Sprintf("boosts[%d].%s.field", i, part),
					"is declared as %s; with %s need a field of type %s", d.Type, need, types[0])
			}
		}
	}
	return nil
}

// apply gives candidates their new scores and order.
func (b Boosting) apply(candidates []Candidate, now time.Time) []Candidate {
	boosted := make([]Candidate, len(candidates))
	for i, c := range candidates {
		for _, boost := range b.Boosts {
			c.Score = b.combine(c.Score, boost, c.Metadata, now)
		}
		boosted[i] = c
	}
	sortCandidates(boosted)
	return boosted
}

// combine returns the score with one boost. The result is finite.
func (b Boosting) combine(score float64, boost Boost, metadata map[string]any, now time.Time) float64 {
	factor, ok := boost.factor(metadata, now)
	switch {
	case !ok:
		return score
	case b.Combine == Add:
		score += boost.Weight * factor
	default:
		if boost.Match != nil {
			factor = boost.Weight
		} else {
			factor = math.Pow(factor, boost.Weight)
		}
		factor = min(max(factor, leastFactor), mostFactor)
		if score < 0 {
			factor = 1 / factor
		}
		score *= factor
	}
	return min(max(score, -math.MaxFloat64), math.MaxFloat64)
}

// factor is what a boost gives to a record; not ok when it leaves it as it is.
func (b Boost) factor(metadata map[string]any, now time.Time) (factor float64, ok bool) {
	switch {
	case b.Decay != nil:
		return b.Decay.factor(metadata[b.Decay.Field], now)
	case b.Value != nil:
		return b.Value.factor(metadata[b.Value.Field])
	default:
		return 1, b.Match.Filter.Admits(knowledge.Collection{}, knowledge.Record{Metadata: metadata})
	}
}

func (d *Decay) factor(value any, now time.Time) (float64, bool) {
	var distance float64
	if d.Number != nil {
		x, ok := value.(float64)
		if !ok {
			return 0, false
		}
		distance = math.Abs(x - *d.Number)
	} else {
		text, _ := value.(string)
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return 0, false
		}
		origin := d.Time
		if origin.IsZero() {
			origin = now
		}
		distance = math.Abs(seconds(at) - seconds(origin))
	}
	far := max(0, distance-d.Offset) / d.Scale
	switch d.Shape {
	case Gaussian:
		return math.Pow(d.At, far*far), true
	case Linear:
		return max(0, 1-far*(1-d.At)), true
	default:
		return math.Pow(d.At, far), true
	}
}

// seconds since 1970. A [time.Duration] holds some 292 years only.
func seconds(t time.Time) float64 { return float64(t.Unix()) + float64(t.Nanosecond())/1e9 }

func (v *ValueFactor) factor(value any) (float64, bool) {
	x, ok := value.(float64)
	if !ok {
		if v.Missing == nil {
			return 0, false
		}
		x = *v.Missing
	}
	x = max(0, x*v.Factor)
	switch v.Modifier {
	case Log1p:
		x = math.Log1p(x)
	case Sqrt:
		x = math.Sqrt(x)
	}
	return min(x, mostFactor), true
}
