// Package wit holds the plugin contract as files, for the host to publish: the
// WIT world and one JSON Schema for each document of each capability. It is
// the source of truth that hosts, SDKs and their tests are checked against; it
// does not interpret it.
package wit

import (
	"embed"
	"fmt"
)

// files never changes after the program has started.
//
//go:embed tars.wit schema/*.json
var files embed.FS

// Direction tells the documents of a capability apart.
type Direction string

// The two documents of a capability.
const (
	Input  Direction = "input"  // what the host gives to the plugin
	Output Direction = "output" // what the plugin gives back on success
)

// World returns the text of the WIT package tars:plugin@0.1.0. It may be called
// at once from anywhere.
func World() string {
	text, err := files.ReadFile("tars.wit")
	if err != nil {
		panic(fmt.Sprintf("wit: embedded world: %v", err)) // the build embeds it
	}
	return string(text)
}

// Schema returns the JSON Schema (2020-12) of a capability's input or output
// document, as in Schema("rank", Output). The error wraps fs.ErrNotExist for a
// capability without documents. The caller may change what it gets.
func Schema(capability string, d Direction) ([]byte, error) {
	text, err := files.ReadFile("schema/" + capability + "." + string(d) + ".json")
	if err != nil {
		return nil, fmt.Errorf("schema of %s %s: %w", capability, d, err)
	}
	return text, nil
}

// Capabilities lists the capabilities that have schemas, sorted by name. Each
// has both documents.
func Capabilities() []string { return []string{"chunk", "guard", "merge", "rank", "synthesize"} }
