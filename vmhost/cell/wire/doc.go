// Package wire is the language between a host and a cell: frames on one byte
// stream, values that span frames, and the messages that they carry.
//
// A frame is a header of 12 bytes, little-endian, and a body:
//
//	offset 0  length of the body, uint32, at most [MaxFrame]
//	offset 4  operation, uint8
//	offset 5  flags, uint8: bit 0 says that the value continues
//	offset 6  method, uint16: meaning depends on the operation
//	offset 8  id of the call, uint32; 0 where there is none
//
// The side that reads decides, before a value's first byte is kept, how long
// the value may become; see [Reader]. Nothing here trusts what it reads: the
// host faces a process that a tenant may have taken over. Every departure from
// the format is an error of the kind [ErrProtocol], after which the stream
// means nothing.
//
// The package knows no processes and no calls under way; that is vmhost/cell
// on one side and vmhost/cell/worker on the other.
package wire

import (
	"errors"
	"fmt"
)

// Version is the version of this language. Both ends are the same binary, so
// that a difference means a broken installation.
const Version = 3

// Op is what a frame is about.
type Op uint8

// The operations. Those marked ← come from the cell, → from the host.
const (
	OpHello      Op = iota + 1 // ← the seal is closed; a [Hello]
	OpSetup                    // → what the cell is for; a [Setup]
	OpLoad                     // → a module, or one compiled before; a [Load]
	OpLoaded                   // ← the module is ready
	OpCall                     // → a [Call]
	OpResult                   // ← a [Result]
	OpError                    // ← why a load or a call failed; a [Fault]
	OpLog                      // ← one message of the guest; method is its level
	OpHostCall                 // ← a vmhost.HostCall; method is its [Func]
	OpHostResult               // → its answer; method is an [Outcome]
	OpCancel                   // → the call is no longer wanted
	OpPing                     // → are you there
	OpPong                     // ← yes
	OpQuit                     // → end
	OpCompile                  // → a module; a [Compile]
	OpArtifact                 // ← what it was compiled to; an [Artifact]
	OpTask                     // → a piece of work; a [Task]
	OpDone                     // ← what came of it
	opEnd
)

var opNames = [opEnd]string{
	OpHello: "hello", OpSetup: "setup", OpLoad: "load", OpLoaded: "loaded", OpCall: "call", OpResult: "result", OpError: "error",
	OpLog: "log", OpHostCall: "hostcall", OpHostResult: "hostresult", OpCancel: "cancel", OpPing: "ping", OpPong: "pong", OpQuit: "quit",
	OpCompile: "compile", OpArtifact: "artifact", OpTask: "task", OpDone: "done",
}

// String returns the operation's name.
func (op Op) String() string {
	if op > 0 && op < opEnd {
		return opNames[op]
	}
	return fmt.Sprintf("op %d", uint8(op))
}

// ErrProtocol is the kind of every departure from the format.
var ErrProtocol = errors.New("wire protocol broken")

// Broken returns an error of the kind [ErrProtocol].
func Broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}
