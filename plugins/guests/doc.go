// Package guests is the folder of the plugins that the repository brings along,
// each a program of its own with its manifest, plugin.json, beside it: cited,
// which the demo uses; rerank, dedupe, guardian and paragraphs, which show what
// the other capabilities look like; and a cast for tests, of which each member
// behaves badly in its own way: asker floods its host, flood answers too much,
// hog takes memory, liar breaks the rules of each document, loop never answers,
// trap fails below the ABI. They are built by
//
//	GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 go build -trimpath -buildmode=c-shared -ldflags='-s -w' -o NAME.wasm ./plugins/guests/NAME
//
// The package itself holds nothing but the tests that all of them share.
package guests
