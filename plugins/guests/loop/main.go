// Loop is a plugin for tests that never answers. The member mode of its
// configuration says what it does meanwhile:
//
//	spin  computes (default)
//	log   calls its host
package main

import (
	"encoding/json"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

var _ = tars.Handle("*", func(_ *tars.Context, input []byte) ([]byte, error) {
	var in struct {
		Config struct {
			Mode string `json:"mode"`
		} `json:"config"`
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, err
	}
	switch in.Config.Mode {
	case "", "spin":
		for n := uint64(1); ; n = n*6364136223846793005 + 1442695040888963407 {
			if n == 0 { // never: the sequence comes to 0 after 2^64 steps
				return nil, nil
			}
		}
	case "log":
		for {
			tars.Log(tars.LevelDebug, "again")
		}
	}
	return nil, &tars.Error{Code: tars.CodeBadConfig, Message: "mode " + in.Config.Mode}
})

func main() {}
