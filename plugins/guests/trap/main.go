// Trap is a plugin for tests that fails below the ABI. The member mode of its
// configuration says how:
//
//	trap   a load beyond the end of memory, which is a WebAssembly trap (default)
//	exit   proc_exit with status 3
//	crash  a panic that nothing recovers, which ends Go's runtime
//	panic  a panic in the handler, which the SDK turns into an error result
package main

import (
	"encoding/json"
	"os"
	"unsafe"

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
	case "", "trap":
		return []byte{beyond()}, nil
	case "exit":
		os.Exit(3)
	case "crash":
		go panic("crash: as asked")
		select {} // until the other goroutine has run
	case "panic":
		panic("panic: as asked")
	}
	return nil, &tars.Error{Code: tars.CodeBadConfig, Message: "mode " + in.Config.Mode}
})

// beyond loads a byte from about 3.75 GiB on, where no plugin has memory.
func beyond() byte {
	var b byte
	return *(*byte)(unsafe.Add(unsafe.Pointer(&b), 0xF000_0000-uint64(uintptr(unsafe.Pointer(&b)))))
}

func main() {}
