//go:build !wasip1

package tars

func hostLog(Level, string) {}

func hostSearch([]byte) ([]byte, error) { return nil, noHost("search") }

func hostEmbed(string) ([]float32, error) { return nil, noHost("embed") }

func hostVectors(uint32, uint32, uint32) ([]float32, error) { return nil, noHost("vectors") }

func noHost(function string) error {
	return &Error{Code: CodeUnavailable, Message: function + " needs a host: this is no WebAssembly module"}
}
