package knowledge

import "time"

// Bounds of an [AnswerCache].
const (
	MaxCacheDistance = 0.5
	MaxCacheAge      = 24 * time.Hour
)

// AnswerCache says whether the answers to queries of a collection may be given again
// to those who ask the same, as long as nothing that they rest on has changed. The zero
// value says no.
type AnswerCache struct {
	MaxAge time.Duration // whole seconds, up to [MaxCacheAge]; 0: no answer is kept
	// MaxDistance is how far a question's embedding may be from that of the question
	// that was answered: 1 - cosine, up to [MaxCacheDistance]; 0: the same text alone.
	MaxDistance float64
}

func (a AnswerCache) validate() error {
	switch {
	case a.MaxAge < 0 || a.MaxAge > MaxCacheAge || a.MaxAge%time.Second != 0:
		return Invalid("max_age_seconds", "is %g; need 1 to %.0f", a.MaxAge.Seconds(), MaxCacheAge.Seconds())
	case !(a.MaxDistance >= 0 && a.MaxDistance <= MaxCacheDistance):
		return Invalid("max_distance", "is %g; need 0 to %g", a.MaxDistance, MaxCacheDistance)
	case a.MaxDistance > 0 && a.MaxAge == 0:
		return Invalid("max_age_seconds", "is missing")
	}
	return nil
}
