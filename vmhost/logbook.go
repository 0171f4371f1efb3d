package vmhost

import (
	"strings"
	"unicode/utf8"
)

const (
	// MaxLogText is the most bytes of one log message; longer ones are cut.
	MaxLogText = 4 << 10
	// logCost is what a message costs of Limits.Logs beyond its text, so
	// that empty messages are bounded too.
	logCost = 32
	// maxLogLevel is the highest level: error.
	maxLogLevel = 3
)

// LogBook collects the log of one call within a budget. Drivers fill one while
// the guest runs; Host fills another from what a driver hands back, because the
// machine under a driver is not trusted. Not safe for concurrent use.
type LogBook struct {
	left    int64 // bytes of the budget
	logs    []Log
	dropped int
}

// NewLogBook returns an empty book for limit bytes, of which each message costs
// its text and 32 bytes.
func NewLogBook(limit int64) *LogBook { return &LogBook{left: limit} }

// Add takes a message: level clamped to 0-3, text cut to [MaxLogText] bytes and
// made valid UTF-8. One that is over what is left of the budget is dropped and
// counted.
func (b *LogBook) Add(level int, text string) {
	text = CutText(text, MaxLogText)
	cost := int64(len(text)) + logCost
	if cost > b.left {
		b.dropped++
		return
	}
	b.left -= cost
	b.logs = append(b.logs, Log{Level: min(max(level, 0), maxLogLevel), Text: text})
}

// Logs returns the messages that were taken, in order.
func (b *LogBook) Logs() []Log { return b.logs }

// Dropped returns how many messages were not.
func (b *LogBook) Dropped() int { return b.dropped }

// CutText returns s with at most limit bytes, not cut inside a rune, and with
// what is not UTF-8 replaced by U+FFFD. The result does not share memory with
// a longer s.
func CutText(s string, limit int) string {
	if len(s) > limit {
		end := limit
		for end > 0 && end > limit-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		s = strings.Clone(s[:end])
	}
	if utf8.ValidString(s) {
		return s
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > limit { // the replacement is three bytes long
		return CutText(s, limit)
	}
	return s
}
