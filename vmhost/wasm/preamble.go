package wasm

import (
	"bytes"
	"encoding/binary"
)

const (
	magic         = "\x00asm"
	preambleSize  = 8
	coreVersion   = 1
	layerOffset   = 6 // of the second half of the version, which components use
	componentKind = 1
)

// preamble checks that the module starts as a core module does. What it takes
// for something else it calls by name, with what to do about it.
func preamble(module []byte) error {
	fail := func(offset int64, detail string) error { return &Error{Offset: offset, Detail: detail} }
	if len(module) == 0 {
		return fail(0, "the module is empty")
	}
	if !bytes.HasPrefix(module, []byte(magic)) {
		if what := foreign(module); what != "" {
			return fail(0, "this is "+what)
		}
		return fail(0, "this is not WebAssembly: a module starts with the bytes 00 61 73 6d")
	}
	if len(module) < preambleSize {
		return fail(int64(len(module)), "ends too early: 8 bytes of magic and version are needed")
	}
	if binary.LittleEndian.Uint16(module[layerOffset:]) == componentKind {
		return fail(layerOffset, "this is a component; core modules are accepted for now: "+
			"build a core module that exports the plugin world's functions by the canonical ABI")
	}
	if version := binary.LittleEndian.Uint32(module[len(magic):]); version != coreVersion {
		r := reader{}
		return r.fail(len(magic), "WebAssembly version %d: version %d is needed", version, coreVersion)
	}
	return nil
}

// foreign says what a file that is no module seems to be, and what is wanted
// instead; empty when nothing is recognised.
func foreign(file []byte) string {
	const extract = "; upload the .wasm file itself"
	const build = "; build for WebAssembly and upload the .wasm file"
	const ustar = 257 // offset of the magic of a tar archive
	starts := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if bytes.HasPrefix(file, []byte(p)) {
				return true
			}
		}
		return false
	}
	switch {
	case starts("PK\x03\x04", "PK\x05\x06"):
		return "a zip archive" + extract
	case starts("\x1f\x8b"):
		return "a gzip file" + extract
	case starts("\x28\xb5\x2f\xfd"):
		return "a zstd file" + extract
	case starts("BZh"):
		return "a bzip2 file" + extract
	case starts("\xfd7zXZ\x00"):
		return "an xz file" + extract
	case len(file) > ustar && bytes.HasPrefix(file[ustar:], []byte("ustar")):
		return "a tar archive" + extract
	case starts("!<arch>\n"):
		return "a library of object files" + build
	case starts("\x7fELF"):
		return "an ELF program or library" + build
	case starts("\xfe\xed\xfa\xce", "\xfe\xed\xfa\xcf", "\xce\xfa\xed\xfe", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe"):
		return "a Mach-O program or library" + build
	case starts("MZ"):
		return "a Windows program or library" + build
	case starts("BC\xc0\xde"):
		return "LLVM bitcode" + build
	}
	if text := bytes.TrimLeft(file[:min(len(file), 4096)], " \t\r\n\ufeff"); bytes.HasPrefix(text, []byte("(module")) ||
		bytes.HasPrefix(text, []byte("(component")) || bytes.HasPrefix(text, []byte(";;")) || bytes.HasPrefix(text, []byte("(;")) {
		return "WebAssembly text; convert it to a binary module (wat2wasm) and upload that"
	}
	return ""
}
