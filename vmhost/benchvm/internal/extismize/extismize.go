// Package extismize turns a plugin of our world into an Extism plugin: the same
// code with the imports of Extism's kernel and one more function, which does what
// a plugin development kit of Extism does. It takes the input from the kernel
// eight bytes at a time, calls handle, and hands the output over in the same way.
//
// So the same compiled plugin runs in both worlds, and a benchmark compares the
// worlds and not two plugins. The package is for modules that vmhost/wasm
// accepts; it does not check them.
package extismize

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Export is the function that Extism calls.
const Export = "extism_call"

// Sections of a module by id.
const (
	sectionType     = 1
	sectionImport   = 2
	sectionFunction = 3
	sectionGlobal   = 6
	sectionExport   = 7
	sectionStart    = 8
	sectionElement  = 9
	sectionCode     = 10
)

// order is in which sections stand; custom ones are left out.
var order = []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11}

const (
	i32     = 0x7f
	i64     = 0x7e
	kindFn  = 0
	preface = 8 // bytes before the first section
)

// kernel are the functions of Extism that the glue imports, in the order of
// their indices, each with its type.
var kernel = []struct {
	name            string
	params, results []byte
}{
	{"input_length", nil, []byte{i64}},
	{"input_load_u64", []byte{i64}, []byte{i64}},
	{"input_load_u8", []byte{i64}, []byte{i32}},
	{"alloc", []byte{i64}, []byte{i64}},
	{"store_u64", []byte{i64, i64}, nil},
	{"store_u8", []byte{i64, i32}, nil},
	{"output_set", []byte{i64, i64}, nil},
}

// Module returns a plugin as an Extism plugin whose [Export] calls handle for
// the capability.
func Module(module []byte, capability string) ([]byte, error) {
	r := rewriter{sections: make(map[byte][]byte)}
	if len(module) < preface {
		return nil, errors.New("the module has no header")
	}
	for in := (input{b: module[preface:]}); in.left() > 0; {
		id := in.byte()
		content := in.take(int(in.u32()))
		if in.bad {
			return nil, errors.New("a section is cut off")
		}
		if id != 0 {
			r.sections[id] = content
		}
	}
	r.imports()
	r.exports()
	for _, need := range []string{"handle", "cabi_realloc"} {
		if _, ok := r.exported[need]; !ok {
			return nil, fmt.Errorf("the module does not export %s", need)
		}
	}
	r.globals()
	r.elements()
	r.start()
	r.code(capability)
	if r.bad {
		return nil, errors.New("the module is not one that vmhost/wasm accepts")
	}
	out := slices.Clone(module[:preface])
	for _, id := range order {
		if content, ok := r.sections[id]; ok {
			out = append(binary.AppendUvarint(append(out, id), uint64(len(content))), content...)
		}
	}
	return out, nil
}

// rewriter makes room for the kernel's functions behind those that the module
// imports: all other functions move up.
type rewriter struct {
	sections map[byte][]byte
	imported uint32            // functions that the module imports
	exported map[string]uint32 // functions by name, moved
	types    uint32            // that the module has
	bad      bool
}

func (r *rewriter) moved(function uint32) uint32 {
	if function < r.imported {
		return function
	}
	return function + uint32(len(kernel))
}

// vector takes a section apart that begins with a count.
func (r *rewriter) vector(id byte) (count uint32, rest []byte) {
	in := input{b: r.sections[id]}
	if in.left() == 0 {
		return 0, nil
	}
	count = in.u32()
	return count, in.b
}

// extend adds elements to such a section.
func (r *rewriter) extend(id byte, more int, elements []byte) {
	count, rest := r.vector(id)
	out := binary.AppendUvarint(nil, uint64(count)+uint64(more))
	r.sections[id] = slices.Concat(out, rest, elements)
}

// imports adds the kernel's functions and their types, and the type of the glue
// as the last.
func (r *rewriter) imports() {
	r.imported, _ = r.vector(sectionImport) // only functions can be imported
	r.types, _ = r.vector(sectionType)
	var types, imports []byte
	for i, f := range kernel {
		types = append(types, 0x60)
		types = append(append(types, byte(len(f.params))), f.params...)
		types = append(append(types, byte(len(f.results))), f.results...)
		imports = appendName(appendName(imports, "extism:host/env"), f.name)
		imports = binary.AppendUvarint(append(imports, kindFn), uint64(r.types)+uint64(i))
	}
	types = append(types, 0x60, 0, 1, i32)
	r.extend(sectionType, len(kernel)+1, types)
	r.extend(sectionImport, len(kernel), imports)
	r.extend(sectionFunction, 1, binary.AppendUvarint(nil, uint64(r.types)+uint64(len(kernel))))
}

func appendName(out []byte, s string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(s))), s...)
}

// exports moves the exported functions and adds the glue, which is the last.
func (r *rewriter) exports() {
	functions, _ := r.vector(sectionFunction) // the glue included
	count, rest := r.vector(sectionExport)
	r.exported = make(map[string]uint32)
	out := binary.AppendUvarint(nil, uint64(count)+1)
	in := input{b: rest}
	for range count {
		name := string(in.take(int(in.u32())))
		kind, index := in.byte(), in.u32()
		if kind == kindFn {
			index = r.moved(index)
			r.exported[name] = index
		}
		out = binary.AppendUvarint(append(appendName(out, name), kind), uint64(index))
	}
	r.bad = r.bad || in.bad
	glue := r.imported + uint32(len(kernel)) + functions - 1
	r.sections[sectionExport] = binary.AppendUvarint(append(appendName(out, Export), kindFn), uint64(glue))
}

func (r *rewriter) globals() {
	count, rest := r.vector(sectionGlobal)
	if count == 0 {
		return
	}
	out := binary.AppendUvarint(nil, uint64(count))
	in := input{b: rest}
	for range count {
		out = append(out, in.take(2)...) // type, mutability
		out = r.instructions(out, &in)
	}
	r.sections[sectionGlobal] = out
	r.bad = r.bad || in.bad
}

func (r *rewriter) start() {
	if content, ok := r.sections[sectionStart]; ok {
		in := input{b: content}
		r.sections[sectionStart] = binary.AppendUvarint(nil, uint64(r.moved(in.u32())))
	}
}

// Bits of the kind of an element segment.
const (
	passive     = 1
	explicit    = 2 // of an active one: names its table; of others: declarative
	expressions = 4
)

func (r *rewriter) elements() {
	count, rest := r.vector(sectionElement)
	if count == 0 {
		return
	}
	out := binary.AppendUvarint(nil, uint64(count))
	in := input{b: rest}
	for range count {
		kind := in.u32()
		out = binary.AppendUvarint(out, uint64(kind))
		if kind&passive == 0 {
			if kind&explicit != 0 {
				out = binary.AppendUvarint(out, uint64(in.u32()))
			}
			out = r.instructions(out, &in)
		}
		if kind&(passive|explicit) != 0 {
			out = append(out, in.byte())
		}
		n := in.u32()
		out = binary.AppendUvarint(out, uint64(n))
		for range n {
			if in.bad {
				break
			}
			if kind&expressions != 0 {
				out = r.instructions(out, &in)
			} else {
				out = binary.AppendUvarint(out, uint64(r.moved(in.u32())))
			}
		}
	}
	r.sections[sectionElement] = out
	r.bad = r.bad || in.bad
}

// code moves the functions that bodies name and adds the glue.
func (r *rewriter) code(capability string) {
	count, rest := r.vector(sectionCode)
	out := binary.AppendUvarint(nil, uint64(count)+1)
	in := input{b: rest}
	var body []byte
	for range count {
		old := input{b: in.take(int(in.u32()))}
		if in.bad {
			break
		}
		locals := old.b
		for range old.u32() {
			old.u32()
			old.byte()
		}
		body = append(body[:0], locals[:len(locals)-len(old.b)]...)
		for old.left() > 0 && !old.bad {
			body = r.instruction(body, &old)
		}
		r.bad = r.bad || old.bad
		out = append(binary.AppendUvarint(out, uint64(len(body))), body...)
	}
	r.bad = r.bad || in.bad
	g := r.glue(capability)
	r.sections[sectionCode] = append(binary.AppendUvarint(out, uint64(len(g))), g...)
}
