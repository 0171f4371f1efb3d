package wasm

import (
	"fmt"
	"strings"
)

// typeSection reads the function types.
func (w *walker) typeSection(r *reader) error {
	const smallest = 3 // bytes: form, no parameters, no results
	n, err := r.count("types", smallest, w.limits.Types)
	if err != nil {
		return err
	}
	w.types = make([]funcType, 0, n)
	for range n {
		t, err := w.readFuncType(r)
		if err != nil {
			return err
		}
		if t.nResults > 1 {
			w.features |= usesMultiValue
		}
		w.types = append(w.types, t)
	}
	return nil
}

func (w *walker) readFuncType(r *reader) (funcType, error) {
	start := r.pos
	form, err := r.byte()
	if err != nil {
		return funcType{}, err
	}
	switch form {
	case 0x60:
	case 0x5d:
		return funcType{}, r.unsupported(start, noStackSwitch)
	case 0x4e, 0x4f, 0x50, 0x5e, 0x5f:
		return funcType{}, r.unsupported(start, noGC)
	default:
		return funcType{}, r.fail(start, "0x%02x is not the form of a function type", form)
	}
	var t funcType
	if t.params, t.nParams, err = w.skipValueTypes(r, "parameters of a type"); err != nil {
		return funcType{}, err
	}
	t.results, t.nResults, err = w.skipValueTypes(r, "results of a type")
	return t, err
}

// skipValueTypes checks a vector of value types and returns where it lies.
func (w *walker) skipValueTypes(r *reader, what string) (offset uint32, n uint16, err error) {
	count, err := r.count(what, 1, min(w.limits.TypeValues, maxTypeValues))
	if err != nil {
		return 0, 0, err
	}
	first := r.pos
	for range count {
		t, err := r.valueType()
		if err != nil {
			return 0, 0, err
		}
		w.noteType(t)
	}
	return uint32(first), uint16(count), nil
}

// noteType notes the feature that a value type belongs to.
func (w *walker) noteType(t ValueType) {
	switch t {
	case V128:
		w.features |= usesSIMD
	case FuncRef, ExternRef:
		w.features |= usesReferenceTypes
	}
}

// importSection reads the imports and checks them against the allow-list.
func (w *walker) importSection(r *reader) error {
	const smallest = 4 // bytes: two empty names, kind, index
	n, err := r.count("imports", smallest, w.limits.Imports)
	if err != nil {
		return err
	}
	w.info.Imports = make([]Import, 0, n)
	for range n {
		i, index, err := w.readImport(r)
		if err != nil {
			return err
		}
		w.info.Imports = append(w.info.Imports, i)
		w.functions = append(w.functions, index)
	}
	w.imported = n
	return nil
}

func (w *walker) readImport(r *reader) (Import, uint32, error) {
	start := r.pos
	module, err := r.name("name of an imported module", w.limits.NameBytes)
	if err != nil {
		return Import{}, 0, err
	}
	name, err := r.name("name of an import", w.limits.NameBytes)
	if err != nil {
		return Import{}, 0, err
	}
	kind, err := r.byte()
	if err != nil {
		return Import{}, 0, err
	}
	switch Kind(kind) {
	case KindFunc:
	case kindTag:
		return Import{}, 0, r.unsupported(start, noExceptions)
	default:
		return Import{}, 0, r.fail(start, "%q %q imports a %v: only functions can be imported", module, name, Kind(kind))
	}
	index, err := r.index("type", len(w.types))
	if err != nil {
		return Import{}, 0, err
	}
	i := Import{module, name, w.funcType(index)}
	return i, index, w.allowed(r, start, i)
}

// allowed checks an import against the allow-list.
func (w *walker) allowed(r *reader, offset int, i Import) error {
	functions, known := w.limits.Allowed[i.Module]
	if !known {
		return r.fail(offset, "%q cannot be imported from %q: the host has no module of that name", i.Name, i.Module)
	}
	t, known := functions[i.Name]
	if !known {
		return r.fail(offset, "%q cannot be imported from %q: the host has no function of that name", i.Name, i.Module)
	}
	if !t.Equal(i.Type) {
		return r.fail(offset, "%q of %q is imported with the type %v, but has %v", i.Name, i.Module, i.Type, t)
	}
	return nil
}

// functionSection reads the types of the functions that the module defines.
func (w *walker) functionSection(r *reader) error {
	n, err := r.count("functions", 1, w.limits.Functions)
	if err != nil {
		return err
	}
	all := make([]uint32, len(w.functions), len(w.functions)+n)
	copy(all, w.functions)
	for range n {
		index, err := r.index("type", len(w.types))
		if err != nil {
			return err
		}
		all = append(all, index)
	}
	w.functions, w.defined = all, n
	return nil
}

// tagSection refuses the section of the exception handling proposal.
func (w *walker) tagSection(r *reader) error { return r.unsupported(r.pos, noExceptions) }

// startSection refuses the start function: it would run before the host's
// deadlines and grants are in force for the instance.
func (w *walker) startSection(r *reader) error {
	return r.fail(r.pos, "the module has a start function, which is not accepted: export it as _initialize")
}

// globalSection reads the globals.
func (w *walker) globalSection(r *reader) error {
	const smallest = 4 // bytes: type, mutability, opcode, end
	n, err := r.count("globals", smallest, w.limits.Globals)
	if err != nil {
		return err
	}
	w.globals = make([]globalType, 0, n)
	for range n {
		t, err := r.valueType()
		if err != nil {
			return err
		}
		w.noteType(t)
		start := r.pos
		mutable, err := r.byte()
		if err != nil {
			return err
		}
		if mutable > 1 {
			if mutable < 4 {
				return r.unsupported(start, noThreads)
			}
			return r.fail(start, "mutability 0x%02x of a global: 0 or 1 is needed", mutable)
		}
		if err := w.constant(r); err != nil {
			return err
		}
		w.globals = append(w.globals, globalType{t, mutable == 1})
	}
	return nil
}

// reservedPrefixes start the names of exports that the host adds to a module.
func reservedPrefixes() []string { return []string{"tars_", "__tars"} }

// exportSection reads the exports.
func (w *walker) exportSection(r *reader) error {
	w.exportsAt = r.pos
	const smallest = 3 // bytes: empty name, kind, index
	n, err := r.count("exports", smallest, w.limits.Exports)
	if err != nil {
		return err
	}
	w.info.Exports = make([]Export, 0, n)
	seen := make(map[string]bool, n)
	for range n {
		start := r.pos
		name, err := r.name("name of an export", w.limits.NameBytes)
		if err != nil {
			return err
		}
		if seen[name] {
			return r.fail(start, "two exports are named %q", name)
		}
		seen[name] = true
		for _, prefix := range reservedPrefixes() {
			if strings.HasPrefix(name, prefix) && !w.limits.HostExports {
				return r.fail(start, "export %q: names that start with %q are the host's", name, prefix)
			}
		}
		e, err := w.exported(r, name)
		if err != nil {
			return err
		}
		w.info.Exports = append(w.info.Exports, e)
	}
	return nil
}

// exported reads what is exported under a name.
func (w *walker) exported(r *reader, name string) (Export, error) {
	start := r.pos
	b, err := r.byte()
	if err != nil {
		return Export{}, err
	}
	e := Export{Name: name, Kind: Kind(b)}
	switch e.Kind {
	case KindFunc:
		index, err := r.index("function", len(w.functions))
		if err != nil {
			return Export{}, err
		}
		e.Type = w.funcType(w.functions[index])
	case KindTable:
		_, err = r.index("table", len(w.tables))
	case KindMemory:
		_, err = r.index("memory", w.memories)
	case KindGlobal:
		_, err = r.index("global", len(w.globals))
	case kindTag:
		return Export{}, r.unsupported(start, noExceptions)
	default:
		return Export{}, r.fail(start, "0x%02x is not a kind of export", b)
	}
	return e, err
}

// plural returns a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, found := strings.CutSuffix(noun, "y"); found {
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
