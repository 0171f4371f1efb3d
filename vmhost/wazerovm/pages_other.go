//go:build !linux

package wazerovm

// Elsewhere there is no exact restore: every call gets a new instance.

type scanner struct{ pagemap int }

func (*scanner) written([]byte, func(int, int) error) error { return errNoScan }

func ownFiles() (*Files, error)          { return nil, errNoScan }
func freeze(int, []byte) error           { return errNoScan }
func mapImage([]byte, int) error         { return errNoScan }
func viewImage(int, int) ([]byte, error) { return nil, errNoScan }
func smallPages([]byte) error            { return nil }
func drop([]byte) error                  { return errNoScan }
