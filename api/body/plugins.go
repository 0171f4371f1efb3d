package body

import (
	"github.com/tars-project/tars/plugins"
)

// maxInput is the longest input of a plugin's call, in bytes; the body that
// holds it is bounded to the same.
const maxInput = 8 << 20

// AliasTarget is the body of setPluginAlias.
type AliasTarget struct {
	Version int // from 1
}

func (b *AliasTarget) decode(d *decoder) error {
	err := d.object(func(name string) (err error) {
		if name != "version" {
			return unknown()
		}
		b.Version, err = count(d, 1, 1<<31-1)
		return err
	})
	if err == nil && b.Version == 0 {
		err = missing("version")
	}
	return err
}

// InvokeRequest is the body of invokePlugin.
type InvokeRequest struct {
	Capability plugins.Capability
	Version    plugins.Ref // zero when left out
	Input      []byte      // one JSON value
	Record     bool
}

func (b *InvokeRequest) decode(d *decoder) error {
	err := d.object(func(name string) (err error) {
		switch name {
		case "capability":
			b.Capability, err = word(d, plugins.Rank, plugins.Merge, plugins.Guard, plugins.Synthesize,
				plugins.Chunk, plugins.Reason, plugins.Heal, plugins.Coordinate)
		case "version":
			_, b.Version, err = d.version()
		case "input":
			b.Input, err = d.raw(maxInput)
		case "record":
			b.Record, err = d.boolean()
		default:
			err = unknown()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case b.Capability == "":
		return missing("capability")
	case b.Input == nil:
		return missing("input")
	}
	return nil
}

// ReplayRequest is the body of replayCall.
type ReplayRequest struct {
	Version *plugins.Ref // nil: the one of the recording
}

func (b *ReplayRequest) decode(d *decoder) error {
	return d.object(func(name string) error {
		if name != "version" {
			return unknown()
		}
		_, ref, err := d.version()
		b.Version = &ref
		return err
	})
}
