// Package guests is the folder of the plugins that the repository brings along,
// each a program of its own with its manifest, plugin.json, beside it: cited,
// which the demo uses, and a cast for tests, of which each member behaves badly
// in its own way. They are built by
//
//	GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 go build -trimpath -buildmode=c-shared -ldflags='-s -w' -o NAME.wasm ./plugins/guests/NAME
//
// The package itself holds nothing but the tests that all of them share.
package guests
