package wasm

import "fmt"

// Error says why a module was refused. Its text is made for the module's
// owner: it holds nothing but facts about the module and the limits.
type Error struct {
	// Section is the name of the module's section, such as "import" or
	// "code"; "custom" for all custom sections but "name". Empty when the
	// module as a whole is at fault.
	Section string
	// Offset is where the fault is, in bytes from the start of the module;
	// -1 when it is at no one place, as for an export that is missing.
	Offset int64
	Detail string // what is wrong; the need and the limit where there is one
}

func (e *Error) Error() string {
	switch {
	case e.Section != "" && e.Offset >= 0:
		return fmt.Sprintf("%s section, offset %d: %s", e.Section, e.Offset, e.Detail)
	case e.Section != "":
		return fmt.Sprintf("%s section: %s", e.Section, e.Detail)
	case e.Offset >= 0:
		return fmt.Sprintf("offset %d: %s", e.Offset, e.Detail)
	default:
		return e.Detail
	}
}
