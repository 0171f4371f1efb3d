// Asker is a plugin for tests that asks its host again and again, for whatever it
// is called. Of its configuration
//
//	call     says what: search (default), embed or vectors
//	give_up  makes it hand back the first error that it is told; otherwise it
//	         goes on for ever
//	text     is the argument of search or embed
//	leg, first, count  are those of vectors
package main

import (
	"encoding/json"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

type config struct {
	Call   string `json:"call"`
	GiveUp bool   `json:"give_up"`
	Text   string `json:"text"`
	Leg    uint32 `json:"leg"`
	First  uint32 `json:"first"`
	Count  uint32 `json:"count"`
}

var _ = tars.Handle("*", func(_ *tars.Context, input []byte) ([]byte, error) {
	in := struct {
		Config config `json:"config"`
	}{Config: config{Call: "search"}}
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, err
	}
	for {
		if err := in.Config.ask(); err != nil && in.Config.GiveUp {
			return nil, err
		}
	}
})

// ask makes one call.
func (c config) ask() error {
	var err error
	switch c.Call {
	case "embed":
		_, err = tars.Embed(c.Text)
	case "vectors":
		_, err = tars.Vectors(c.Leg, c.First, c.Count)
	default:
		_, err = tars.Search([]byte(c.Text))
	}
	return err
}

func main() {}
