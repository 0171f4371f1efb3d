package answer

import "strings"

// stopWords say nothing about what a text is about.
var stopWords = set(`a about after all also am an and any are as at be been being before best between but by can cannot could did difference do
	does doing don done each either else every few for from further get gets getting give given had has have having he her
	here hers him his how i if in into is it its itself just let like may me might mine more most much must my need needs no
	nor not now of off on once one only onto or other our ours out over own per please same shall she should so some such
	than that the their theirs them then there these they this those though through to too under until up upon us very
	want wants was way ways we were what whatever when where whether which while who whom whose why will with within without would
	yes yet you your yours`)

// synonyms holds, by the stem of a word of a question, the stems that a text
// may use for it. The words are those of the manual that the demo asks about,
// and harm no other text.
var synonyms = stems(map[string]string{
	"restore":    "recover",
	"recover":    "restore",
	"delete":     "remove drop",
	"remove":     "delete drop",
	"drop":       "remove delete",
	"change":     "alter modify set",
	"modify":     "alter change",
	"alter":      "change modify",
	"add":        "create insert",
	"make":       "create",
	"create":     "make",
	"show":       "display list",
	"list":       "show display",
	"see":        "show display",
	"fast":       "quick speed performance",
	"faster":     "quick speed performance",
	"speed":      "fast performance",
	"slow":       "performance",
	"kill":       "terminate cancel",
	"stop":       "shutdown terminate cancel",
	"begin":      "start",
	"start":      "begin",
	"backup":     "dump",
	"allow":      "permit enable grant",
	"permission": "privilege grant",
	"user":       "role",
	"login":      "connect authentication",
	"find":       "search locate",
	"search":     "find match",
	"limit":      "maximum restrict",
	"setting":    "parameter configure",
	"upgrade":    "migrate",
	"duplicate":  "unique distinct",
	"replica":    "standby replication",
	"standby":    "replica",
	"failover":   "promote",
})

// stems returns a table of words as one of their stems.
func stems(words map[string]string) map[string][]string {
	m := make(map[string][]string, len(words))
	for word, others := range words {
		key := string(stem([]byte(word)))
		for other := range strings.FieldsSeq(others) {
			m[key] = append(m[key], string(stem([]byte(other))))
		}
	}
	return m
}

// instructions are words that a sentence which tells what to do begins with,
// or uses.
var instructions = set(`add adjust alter call change check configure connect copy create define disable do drop edit
	enable ensure execute give grant initialize insert install invoke issue load make perform place promote put reload
	remove restart restore run select set shut specify start stop turn type use verify wait write`)

// leaning are the words at the head of a sentence that lean on the one before
// it, so that it says little alone.
var leaning = set(`this these those it its they their such he she also then therefore however thus otherwise
	furthermore moreover instead similarly likewise hence consequently here that both but and or so note again
	conversely nonetheless nevertheless finally next another which`)

func set(words string) map[string]bool {
	m := make(map[string]bool)
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}
