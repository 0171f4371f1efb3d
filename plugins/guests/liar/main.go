// Liar is a plugin for tests that breaks one rule of the documents in each of
// its modes. The member mode of its configuration names it; see the tables in
// lies.go. Without a mode its output is no JSON.
package main

import (
	"encoding/json"
	"fmt"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

var (
	_ = tars.Handle("guard", tell(guardLies()))
	_ = tars.Handle("merge", tell(rankLies())) // its output has the form of rank's
	_ = tars.Handle("rank", tell(rankLies()))
	_ = tars.Handle("synthesize", tell(synthesizeLies()))
)

// input is what the capabilities' inputs have that lies are made of.
type input struct {
	Stage      string     `json:"stage"`
	Legs       []struct{} `json:"legs"`
	Candidates []passage  `json:"candidates"`
	Passages   []passage  `json:"passages"`
	Config     struct {
		Mode string `json:"mode"`
	} `json:"config"`
}

type passage struct {
	Text string `json:"text"`
}

// lie makes an output that breaks a rule.
type lie func(in input) string

func tell(lies map[string]lie) tars.Handler {
	return func(_ *tars.Context, document []byte) ([]byte, error) {
		var in input
		if err := json.Unmarshal(document, &in); err != nil {
			return nil, &tars.Error{Code: tars.CodeBadInput, Message: err.Error()}
		}
		switch in.Config.Mode {
		case "":
			in.Config.Mode = "bad-json"
		case "error":
			return nil, &tars.Error{Code: "as-asked", Message: "this call fails"}
		case "bad-error":
			return nil, &tars.Error{Code: "Not a code\n" + string(make([]byte, 4096)), Message: string(make([]byte, 1<<20))}
		}
		l, ok := lies[in.Config.Mode]
		if !ok {
			return nil, &tars.Error{Code: tars.CodeBadConfig, Message: fmt.Sprintf("no mode %q", in.Config.Mode)}
		}
		return []byte(l(in)), nil
	}
}

func main() {}
