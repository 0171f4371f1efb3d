package wasm

import (
	"slices"
	"unicode/utf8"
)

// custom reads a custom section. Only the name section must be well-formed:
// the engine reads it. Others are counted and left alone.
func (w *walker) custom(r *reader) error {
	start := r.pos
	w.customBytes += int64(r.left())
	if w.customBytes > w.limits.CustomBytes {
		return r.over(start, "custom sections, bytes", w.customBytes, w.limits.CustomBytes)
	}
	if len(w.info.CustomSections) >= w.limits.CustomSections {
		return r.over(start, "custom sections", int64(len(w.info.CustomSections))+1, int64(w.limits.CustomSections))
	}
	name, err := r.name("name of a custom section", w.limits.NameBytes)
	if err != nil {
		return err
	}
	w.info.CustomSections = append(w.info.CustomSections, name)
	switch name {
	case "name":
		if r.section = "name"; w.named {
			return r.fail(start, "the section appears twice")
		}
		w.named = true
		return nameSection(r)
	case "producers":
		w.producers(*r)
	}
	r.pos = r.end
	return nil
}

// Subsections of the name section that the engine reads.
const (
	nameOfModule    = 0
	namesOfFuncs    = 1
	namesOfLocals   = 2
	smallestName    = 2 // bytes: index, empty name
	smallestNameMap = 2 // bytes: index, no names
)

// nameSection reads the name section.
func nameSection(r *reader) error {
	for r.left() > 0 {
		id, err := r.byte()
		if err != nil {
			return err
		}
		size, err := r.count("bytes of a subsection", 1, r.left())
		if err != nil {
			return err
		}
		s, err := r.sub(size)
		if err != nil {
			return err
		}
		switch id {
		case nameOfModule:
			err = s.skipName()
		case namesOfFuncs:
			err = s.nameMap()
		case namesOfLocals:
			err = s.nameMaps()
		default:
			continue
		}
		if err != nil {
			return err
		}
		if err := s.done(); err != nil {
			return err
		}
	}
	return nil
}

// nameMaps reads a vector of indices, each with a name map.
func (r *reader) nameMaps() error {
	n, err := r.count("functions with names", smallestNameMap, r.left())
	if err != nil {
		return err
	}
	for range n {
		if _, err := r.u32(); err != nil {
			return err
		}
		if err := r.nameMap(); err != nil {
			return err
		}
	}
	return nil
}

// nameMap reads a vector of indices, each with a name.
func (r *reader) nameMap() error {
	n, err := r.count("names", smallestName, r.left())
	if err != nil {
		return err
	}
	for range n {
		if _, err := r.u32(); err != nil {
			return err
		}
		if err := r.skipName(); err != nil {
			return err
		}
	}
	return nil
}

// skipName reads a name of any length without copying it.
func (r *reader) skipName() error {
	start := r.pos
	n, err := r.count("bytes of a name", 1, r.left())
	if err != nil {
		return err
	}
	b, err := r.bytes(n)
	if err == nil && !utf8.Valid(b) {
		return r.fail(start, "a name is not valid UTF-8")
	}
	return err
}

const (
	mostProducers    = 16
	mostProducerName = 256 // bytes
)

// producers notes the tools that made the module. The section is advice:
// what is malformed or too long ends the reading and is no error. r is a copy,
// so that nothing of this section is left unread.
func (w *walker) producers(r reader) {
	roles := []string{"language", "processed-by", "sdk"}
	fields, err := r.count("fields", 2, r.left())
	if err != nil {
		return
	}
	for range fields {
		role, err := r.name("field", mostProducerName)
		if err != nil || !slices.Contains(roles, role) {
			return
		}
		tools, err := r.count("tools", 2, mostProducers)
		if err != nil {
			return
		}
		for range tools {
			name, err := r.name("tool", mostProducerName)
			if err != nil {
				return
			}
			version, err := r.name("version", mostProducerName)
			if err != nil || len(w.info.Producers) == mostProducers {
				return
			}
			w.info.Producers = append(w.info.Producers, Tool{role, name, version})
		}
	}
}
