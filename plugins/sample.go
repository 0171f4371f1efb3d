package plugins

import "github.com/tars-project/tars/vmhost"

// Sample is a typical input that an author gives with a plugin. The plugin is
// called with it when it is made ready, and what that call leaves behind is there
// in every other.
type Sample struct {
	Capability Capability // one of the manifest's
	Input      []byte     // one JSON value, compact
}

// samples are the calls that a plugin is made ready with.
func samples(m Manifest) []vmhost.Sample {
	var all []vmhost.Sample
	for _, s := range m.Samples {
		all = append(all, vmhost.Sample{Capability: string(s.Capability), Input: s.Input})
	}
	return all
}
