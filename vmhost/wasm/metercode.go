package wasm

import "slices"

// code returns the code section: the guest's functions, then the helpers.
func (m *meter) code() ([]byte, error) {
	r := m.parts[sectionCode]
	if r.left() > 0 {
		if _, err := r.u32(); err != nil { // as many as are declared: checked before
			return nil, err
		}
	}
	bodies := make([]byte, 0, 2*r.left()+r.left()/2)
	var buffer []byte
	for i := range m.w.defined {
		index := m.w.imported + i
		size, err := r.u32()
		if err != nil {
			return nil, err
		}
		content, err := r.sub(int(size))
		if err != nil {
			return nil, err
		}
		if buffer, err = m.function(buffer[:0], index, content); err != nil {
			return nil, inFunction(err, index)
		}
		bodies = appendSized(bodies, buffer)
	}
	for done := 0; done < len(m.helpers); { // a helper may need others
		bodies = appendSized(bodies, m.helperBody(m.helpers[done]))
		done++
	}
	n := m.w.defined + len(m.helpers)
	if n == 0 {
		return nil, nil
	}
	return slices.Concat(appendUnsigned(nil, uint64(n)), bodies), nil
}

// function appends the metered body of a function to out.
func (m *meter) function(out []byte, index int, r reader) ([]byte, error) {
	m.current = m.w.functions[index]
	t := m.w.types[m.current]
	out, declared, vectors, err := m.locals(out, &r, t)
	if err != nil {
		return nil, err
	}
	code := instructionReader{reader: r, maxTargets: m.w.limits.BrTable, targets: m.w.targets}
	f, err := m.survey(code, t, declared+int64(t.nParams), vectors)
	if err != nil {
		return nil, err
	}
	m.largest = max(m.largest, f.bytes)
	b := bodyMeter{
		instructionReader: code,
		m:                 m,
		frame:             f,
		framed:            f.calls || f.bytes > leafFrame,
		temp:              uint32(declared) + uint32(t.nParams),
		out:               out,
		blocks:            m.open[:0],
	}
	if err := b.rewrite(declared); err != nil {
		return nil, err
	}
	m.open, m.w.targets = b.blocks, b.targets
	return b.out, nil
}

// locals appends the declarations of locals with the meter's own, and returns
// how many the guest declares and whether any is a vector.
func (m *meter) locals(out []byte, r *reader, t funcType) (_ []byte, declared int64, vectors bool, err error) {
	vectors = slices.Contains(m.w.module[t.params:][:t.nParams], byte(V128))
	groups, err := r.u32()
	if err != nil {
		return nil, 0, false, err
	}
	start := r.pos
	for range groups {
		n, err := r.u32()
		if err != nil {
			return nil, 0, false, err
		}
		t, err := r.valueType()
		if err != nil {
			return nil, 0, false, err
		}
		declared += int64(n)
		vectors = vectors || t == V128
	}
	out = appendUnsigned(out, uint64(groups)+1)
	out = append(out, r.module[start:r.pos]...)
	return append(out, 1, byte(I64)), declared, vectors, nil
}

// inRegisters reports whether the engine passes the parameters and the results
// of a type in registers, on every processor that it compiles for.
func (m *meter) inRegisters(t funcType) bool {
	const (
		mostNumbers = 7 // integers and references, beside the engine's own two
		mostFloats  = 8
	)
	fit := func(types []byte) bool {
		numbers, floats := 0, 0
		for _, t := range types {
			switch ValueType(t) {
			case F32, F64, V128:
				floats++
			default:
				numbers++
			}
		}
		return numbers <= mostNumbers && floats <= mostFloats
	}
	return fit(m.w.module[t.params:][:t.nParams]) && fit(m.w.module[t.results:][:t.nResults])
}

// nameSection returns the name section with the names of the module and of the
// functions. Others are left out.
func (m *meter) nameSection() ([]byte, error) {
	r := m.names
	if r.left() == 0 {
		return nil, nil
	}
	out := appendName(nil, "name")
	for r.left() > 0 {
		id, err := r.byte()
		if err != nil {
			return nil, err
		}
		size, err := r.u32()
		if err != nil {
			return nil, err
		}
		s, err := r.sub(int(size))
		if err != nil {
			return nil, err
		}
		switch id {
		case nameOfModule:
			out = appendSized(append(out, id), s.module[s.pos:s.end])
		case namesOfFuncs:
			names, err := m.functionNames(&s)
			if err != nil {
				return nil, err
			}
			out = appendSized(append(out, id), names)
		}
	}
	return out, nil
}

// functionNames returns the names of functions without those of functions that
// there are not.
func (m *meter) functionNames(r *reader) ([]byte, error) {
	n, err := r.u32()
	if err != nil {
		return nil, err
	}
	kept := 0
	var names []byte
	for range n {
		index, err := r.u32()
		if err != nil {
			return nil, err
		}
		start := r.pos
		if err := r.skipName(); err != nil {
			return nil, err
		}
		if int64(index) < int64(len(m.w.functions)) {
			names = appendUnsigned(names, uint64(m.remap(index)))
			names = append(names, r.module[start:r.pos]...)
			kept++
		}
	}
	return append(appendUnsigned(nil, uint64(kept)), names...), nil
}
