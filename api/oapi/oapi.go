// Package oapi is generated from openapi.yaml by oapi-codegen: the models, the
// routes, and the interface that package api implements. Nothing in it is
// written by hand but this file, the generator's configuration and its overlay.
package oapi

import _ "embed"

//go:generate cp ../../openapi.yaml openapi.yaml
//go:generate go tool oapi-codegen -config config.yaml ../../openapi.yaml

// openapi.yaml is a copy, made by go generate, because a package can embed only
// what lies below it.
//
//go:embed openapi.yaml
var document []byte

// Document returns the text of openapi.yaml. The caller may change it.
func Document() []byte { return append([]byte(nil), document...) }
