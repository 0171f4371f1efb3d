//go:build !linux || !(amd64 || arm64)

package seal

// Close fails: see the Linux one.
func Close(Plan) (Report, error) { return Report{}, ErrUnsupported }
