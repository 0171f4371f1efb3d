package knowledge

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Bounds of [Defaults].
const (
	MaxDefaultLimit   = 200 // what a query may give, the narrower of search and query
	MaxDefaultPlugins = 8
	MaxDefaultConfig  = 16 << 10 // bytes of one plugin's config
)

// Mode is how a search looks for records.
type Mode string

// The modes.
const (
	ModeVector  Mode = "vector"
	ModeLexical Mode = "lexical"
	ModeHybrid  Mode = "hybrid"
)

// Defaults are what a search or a query of a collection, or of a view, takes where
// it gives nothing itself. A query with several legs takes a default only if all of
// its legs have the same one.
type Defaults struct {
	Limit   int             // matches, 1 to [MaxDefaultLimit]; 0: none
	Mode    Mode            // of a search and of a leg; "": none
	Plugins []DefaultPlugin // of a query that has a text and no list of plugins, not even an empty one; nil: none, empty: none, not even the collection's
}

// DefaultPlugin is a plugin that queries call unless they say otherwise. A failure
// of it leaves the answer without it, but that of a guard the query without answer.
type DefaultPlugin struct {
	Name       string
	Version    string // an alias, a number or "sha256:…"; empty means "live"
	Capability string // "guard" (after ranking), "merge", "rank" or "synthesize"
	Config     string // a JSON object, or empty
}

// IsZero reports that there are none.
func (d Defaults) IsZero() bool { return d.Limit == 0 && d.Mode == "" && d.Plugins == nil }

// Equal reports that both say the same.
func (d Defaults) Equal(e Defaults) bool {
	return d.Limit == e.Limit && d.Mode == e.Mode && (d.Plugins == nil) == (e.Plugins == nil) && slices.Equal(d.Plugins, e.Plugins)
}

// Over returns d with what it lacks taken from below: those of a view over those of
// its collection.
func (d Defaults) Over(below Defaults) Defaults {
	if d.Limit == 0 {
		d.Limit = below.Limit
	}
	if d.Mode == "" {
		d.Mode = below.Mode
	}
	if d.Plugins == nil {
		d.Plugins = below.Plugins
	}
	return d
}

// queryCapabilities are what a query calls plugins for.
var queryCapabilities = []string{"guard", "merge", "rank", "synthesize"}

// Validate returns an [InvalidError] unless the defaults are within bounds. Whether
// there are such plugins is seen when they are called.
func (d Defaults) Validate() error {
	switch d.Mode {
	case "", ModeVector, ModeLexical, ModeHybrid:
	default:
		return Invalid("mode", "is not a mode; need one of vector, lexical, hybrid")
	}
	switch {
	case d.Limit < 0 || d.Limit > MaxDefaultLimit:
		return Invalid("limit", "is %d; need 1 to %d, or none", d.Limit, MaxDefaultLimit)
	case len(d.Plugins) > MaxDefaultPlugins:
		return Invalid("plugins", "has %d entries; at most %d are allowed", len(d.Plugins), MaxDefaultPlugins)
	}
	for i, p := range d.Plugins {
		if err := p.validate(); err != nil {
			return At("plugins["+itoa(i)+"]", err)
		}
	}
	return nil
}

func (p DefaultPlugin) validate() error {
	if err := checkName(p.Name, 63, "-_"); err != nil {
		return At("name", err)
	}
	switch {
	case len(p.Version) > 71 || CheckText(p.Version) != nil:
		return Invalid("version", "is no version of a plugin; need a number, an alias or sha256: and the digest")
	case !slices.Contains(queryCapabilities, p.Capability):
		return Invalid("capability", "is not one that a query calls; need guard, merge, rank or synthesize")
	case len(p.Config) > MaxDefaultConfig:
		return Invalid("config", "has %d bytes; at most %d are allowed", len(p.Config), MaxDefaultConfig)
	case p.Config != "" && !isObject(p.Config):
		return Invalid("config", "is not a JSON object")
	}
	return At("config", CheckText(p.Config))
}

func isObject(config string) bool {
	text := []byte(config)
	return json.Valid(text) && bytes.TrimLeft(text, " \t\r\n")[0] == '{'
}
