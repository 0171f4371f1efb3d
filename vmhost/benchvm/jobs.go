package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/tars-project/tars/vmhost"
)

// Languages that are compared, by the sample plugins of plugins/guests/languages.
// All do the same job on the same document.
const (
	langC       = "c"
	langRust    = "rust"
	langGo      = "go"
	langQuickJS = "quickjs"
)

var languages = []string{langC, langRust, langGo, langQuickJS}

// document is what every plugin ranks: small, so that what is compared is the
// machine and not the work.
const document = `{"abi":1,"query":{"text":"capital of France"},"candidates":[` +
	`{"index":0,"text":"Paris is the capital of France."},` +
	`{"index":1,"text":"The Seine flows through Paris."}]}`

// ranked is what they make of it.
const ranked = `{"scores":[{"index":0,"score":500},{"index":1,"score":0}]}`

// capability is what they are called for.
const capability = "rank"

// smallMemory is the linear memory of the plugin in C, and of the small ones that
// are made here.
const smallMemory = 1 << 20

// readJob reads a plugin from the folder of those that make languages built. The
// one in C, whose linker gives it as little memory as it
// needs at first, gets 1 MiB from the start: the size that the figures are meant
// for, and no growing in a call. The others keep what their toolchains give.
func readJob(folder, language, executable string) (job, error) {
	memory := int64(smallMemory)
	switch language {
	case langGo:
		memory = 64 << 20
	case langRust:
		memory = 4 << 20
	case langQuickJS:
		memory = 16 << 20
	}
	module, err := os.ReadFile(filepath.Join(folder, language+".wasm"))
	if err != nil {
		return job{}, fmt.Errorf("the plugin in %s: %w; run make languages", language, err)
	}
	if language == langC {
		if module, err = withMemory(module, smallMemory/vmhost.PageSize); err != nil {
			return job{}, fmt.Errorf("the plugin in %s: %w", language, err)
		}
	}
	return job{Module: module, Capability: capability, Input: []byte(document), Memory: memory, Executable: executable}, nil
}
