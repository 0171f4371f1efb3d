package tars

// Level says how much a line of the log matters.
type Level uint8

// The levels of the log.
const (
	LevelDebug Level = iota
	LevelInfo
	LevelWarning
	LevelError
)

// Log adds a line to the call's log. Lines over the call's budget are dropped.
// A plugin that calls it needs the grant "log". Natively it does nothing.
func Log(level Level, message string) { hostLog(level, message) }

// Search finds records of the tenant. The request is a JSON object, the body of
// POST /v1/collections/{collection}/search with the collection's name as its
// member "collection"; what comes back is that operation's answer. The error is
// an *Error. A plugin that calls it needs the grant "search".
func Search(request []byte) ([]byte, error) { return hostSearch(request) }

// Embed returns the embedding of a text by the embedder of the collections that
// are queried. The error is an *Error. A plugin that calls it needs the grant
// "embed".
func Embed(text string) ([]float32, error) { return hostEmbed(text) }

// Vectors returns the stored vectors in rows first to first+count-1 of a query's
// leg, one after the other; see [FoundBy] for whose they are. [VectorsOf] is simpler.
// The error is an *Error. A plugin that calls it needs the grant "vectors".
func Vectors(leg, first, count uint32) ([]float32, error) { return hostVectors(leg, first, count) }
