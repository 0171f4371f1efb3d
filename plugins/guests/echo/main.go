// Echo is a plugin for tests that answers each input as it came, whatever the
// capability, and logs one line about it. What it answers is a document of the
// right kind only for who expects its own words back.
package main

import (
	"fmt"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

var _ = tars.Handle("*", func(ctx *tars.Context, input []byte) ([]byte, error) {
	tars.Log(tars.LevelInfo, fmt.Sprintf("%s: %d bytes", ctx.Capability, len(input)))
	return input, nil
})

func main() {}
