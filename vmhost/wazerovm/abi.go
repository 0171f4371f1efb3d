package wazerovm

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/tars-project/tars/vmhost"
)

// The canonical ABI of the one world that plugins speak. Both handle and the
// host functions give a result whose ok case is a pointer with a count, and
// whose error case is a record of two strings. In memory that is, at an address
// that is a multiple of 4:
//
//	byte  0     0 for ok, 1 for an error
//	bytes 4-11  ok: pointer, count        error: pointer, length of the code
//	bytes 12-19                           error: pointer, length of the message
const (
	resultSize  = 20
	resultAlign = 4
	caseOK      = 0
	caseError   = 1
	stringAlign = 1
	floatSize   = 4 // size and alignment of an f32
)

// view is a guest's linear memory at one moment. Every address and length that
// meets it comes from the guest.
type view []byte

// span returns the n bytes at ptr. They are not a copy.
func (v view) span(ptr, n uint32) ([]byte, error) {
	end := uint64(ptr) + uint64(n) // in 64 bits: cannot wrap
	if end > uint64(len(v)) {
		return nil, fmt.Errorf("%d bytes at %d lie outside the memory of %d bytes", n, ptr, len(v))
	}
	return v[ptr:end:end], nil
}

// result returns the place of a result. Its bytes are not a copy.
func (v view) result(ptr uint32) ([]byte, error) {
	if ptr%resultAlign != 0 {
		return nil, fmt.Errorf("a result at %d, which is no multiple of %d", ptr, resultAlign)
	}
	return v.span(ptr, resultSize)
}

// pair reads a pointer and a length.
func pair(b []byte) (ptr, n uint32) {
	return binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
}

// liftHandle reads what handle returned: the guest's output as a copy of at
// most so many bytes of UTF-8 as it may have, or its error as a *[vmhost.GuestError]. Other
// errors are [vmhost.ErrOutput] for an output that is over the limit or not
// UTF-8, and [vmhost.ErrTrapped] for a guest that left the ABI.
func liftHandle(mem view, ptr uint32, limits *vmhost.Limits) ([]byte, error) {
	place, err := mem.result(ptr)
	if err != nil {
		return nil, fmt.Errorf("%w: handle returned %w", vmhost.ErrTrapped, err)
	}
	switch place[0] {
	case caseOK:
		return liftOutput(mem, place[4:], limits)
	case caseError:
		return nil, liftError(mem, place[4:])
	default:
		return nil, fmt.Errorf("%w: handle returned case %d of a result", vmhost.ErrTrapped, place[0])
	}
}

func liftOutput(mem view, at []byte, limits *vmhost.Limits) ([]byte, error) {
	ptr, n := pair(at)
	b, err := mem.span(ptr, n)
	if err != nil {
		return nil, fmt.Errorf("%w: output: %w", vmhost.ErrTrapped, err)
	}
	if int64(n) > limits.Output {
		return nil, limits.OverBudget(vmhost.BudgetOutput, int64(n))
	}
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("%w: not UTF-8", vmhost.ErrOutput)
	}
	return append(make([]byte, 0, n), b...), nil // the memory is gone when the call is over
}

// liftError reads the record of a guest's error. What is over the bounds of a
// GuestError is cut and not copied.
func liftError(mem view, at []byte) error {
	code, err := liftCut(mem, at, vmhost.MaxErrorCode)
	if err != nil {
		return fmt.Errorf("code of the error: %w", err)
	}
	message, err := liftCut(mem, at[8:], vmhost.MaxErrorMessage)
	if err != nil {
		return fmt.Errorf("message of the error: %w", err)
	}
	return &vmhost.GuestError{Code: code, Message: message}
}

// liftCut reads a string and cuts it to at most limit bytes, between runes.
func liftCut(mem view, at []byte, limit int) (string, error) {
	ptr, n := pair(at)
	b, err := mem.span(ptr, n)
	if err != nil {
		return "", fmt.Errorf("%w: %w", vmhost.ErrTrapped, err)
	}
	b = cut(b, limit)
	if !utf8.Valid(b) {
		return "", fmt.Errorf("%w: not UTF-8", vmhost.ErrOutput)
	}
	return string(b), nil
}

// cut shortens UTF-8 to at most limit bytes without splitting a rune.
func cut(b []byte, limit int) []byte {
	if len(b) <= limit {
		return b
	}
	end := limit
	for end > limit-utf8.UTFMax && end > 0 && !utf8.RuneStart(b[end]) {
		end--
	}
	return b[:end]
}

// storeOK writes the ok case of a result: count elements at ptr.
func storeOK(place []byte, ptr, count uint32) {
	place[0] = caseOK
	binary.LittleEndian.PutUint32(place[4:], ptr)
	binary.LittleEndian.PutUint32(place[8:], count)
}

// storeError writes the error case of a result.
func storeError(place []byte, code, codeLen, message, messageLen uint32) {
	place[0] = caseError
	binary.LittleEndian.PutUint32(place[4:], code)
	binary.LittleEndian.PutUint32(place[8:], codeLen)
	binary.LittleEndian.PutUint32(place[12:], message)
	binary.LittleEndian.PutUint32(place[16:], messageLen)
}
