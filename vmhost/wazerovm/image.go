package wazerovm

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/tetratelabs/wazero/api"
)

// An image is a program made ready: initialised, primed, and frozen. It is what
// every VM of the program is at the start of a call.
//
// It has a part for each core instance of a VM: one for a core module, several
// that may share memories for a component. A part is the contents of the memory
// that the instance brings, if it brings one, and the values of its mutable
// globals. Tables and segments are not in it: a module that can change them is
// not restored (see wasm.Metered.Unrestorable), so that in a new instance they
// are as in the image.
type image struct {
	parts []imagePart
}

type imagePart struct {
	memory  *frozen // nil: the instance brings none
	globals []uint64
}

// frozen is the contents of a memory in a file.
type frozen struct {
	fd   int
	view []byte // the contents, to be read; nil before they are taken
}

// Files are descriptors that a process must open before it closes itself off.
// They stay open.
type Files struct {
	Pagemap int   // /proc/self/pagemap; -1 when the process may not look at it
	Images  []int // memory files without a name and without seals, one for each image
}

func (f *Files) pagemap() int {
	if f == nil {
		return -1
	}
	return f.Pagemap
}

func (f *Files) close() {
	if f == nil {
		return
	}
	for _, fd := range append(f.Images, f.Pagemap) {
		if fd >= 0 {
			_ = unix.Close(fd) // was only read, or is memory
		}
	}
}

var (
	errNoScan  = errors.New("no means to find written pages")
	errNoFiles = errors.New("no file for another image")
)

// newImage returns an image of VMs like v that holds nothing yet, in files of
// which each memory takes one.
func newImage(v *vm, files []int) (*image, error) {
	img := &image{parts: make([]imagePart, len(v.cores))}
	for i, c := range v.cores {
		if c.memory == nil || c.memory.size == 0 {
			continue
		}
		if len(files) == 0 {
			return nil, errNoFiles
		}
		img.parts[i].memory = &frozen{fd: files[0]}
		files = files[1:]
	}
	return img, nil
}

// take makes the image what the VM is now, and puts the VM on it. No other VM may
// be on the image, which must not be sealed.
func (img *image) take(v *vm) error {
	for i, c := range v.cores {
		part := &img.parts[i]
		part.globals = part.globals[:0]
		for _, g := range c.globals {
			part.globals = append(part.globals, g.Get())
		}
		if part.memory != nil {
			if err := part.memory.take(c.memory); err != nil {
				return err
			}
		}
	}
	return v.settle(img)
}

// take copies the memory, which may be a copy of what the file held before.
func (f *frozen) take(m *memory) error {
	contents := bytes.Clone(m.view())
	if err := errors.Join(f.close(), rewrite(f.fd, contents)); err != nil {
		return err
	}
	view, err := viewImage(f.fd, len(contents))
	if err != nil {
		return err
	}
	f.view = view
	return nil
}

func (f *frozen) close() error {
	if f.view == nil {
		return nil
	}
	view := f.view
	f.view = nil
	return unix.Munmap(view)
}

// seal keeps everybody from changing the image from here on.
func (img *image) seal() error {
	for _, part := range img.parts {
		if part.memory != nil {
			if err := seal(part.memory.fd); err != nil {
				return err
			}
		}
	}
	return nil
}

// close lets go of the image. No VM may be on it any more.
func (img *image) close() error {
	if img == nil {
		return nil
	}
	var errs []error
	for _, part := range img.parts {
		if part.memory != nil {
			errs = append(errs, part.memory.close())
		}
	}
	return errors.Join(errs...)
}

// settle puts a new VM on an image: its memories become private copies and its
// globals get their values.
func (v *vm) settle(img *image) error {
	if len(img.parts) != len(v.cores) {
		return fmt.Errorf("an image of %d instances for a VM of %d", len(img.parts), len(v.cores))
	}
	for i, c := range v.cores {
		part := img.parts[i]
		if part.memory != nil {
			if err := c.settle(part.memory); err != nil {
				return err
			}
		}
		c.setGlobals(part.globals)
	}
	return nil
}

// settle puts the instance's memory on its image.
func (c *core) settle(f *frozen) error {
	if missing := int64(len(f.view)) - c.memory.size; missing > 0 { // it grew before it was frozen
		if _, ok := c.module.Memory().Grow(uint32(missing / pageSize)); !ok {
			return fmt.Errorf("memory of %d bytes cannot grow to the %d of its image", c.memory.size, len(f.view))
		}
	}
	return c.memory.settle(f)
}

func (c *core) setGlobals(values []uint64) {
	for i, g := range c.globals {
		g.Set(values[i])
	}
}

// restore puts the VM back at its image, exactly: what the call wrote is
// overwritten or dropped. It refuses what it cannot undo, and the VM must then be
// thrown away.
func (v *vm) restore(img *image) error {
	if v.instance.IsClosed() {
		return errors.New("the instance is closed")
	}
	for i, c := range v.cores {
		part := img.parts[i]
		if part.memory != nil {
			if err := c.memory.restore(part.memory, &v.pages); err != nil {
				return err
			}
		}
		c.setGlobals(part.globals)
	}
	return nil
}

// trim gives up the pages that the VM keeps to be fast. It must be at its image.
func (v *vm) trim() error {
	for _, c := range v.cores {
		if c.memory != nil {
			if err := c.memory.trim(); err != nil {
				return err
			}
		}
	}
	return nil
}

// mutableGlobals looks up the globals that a restore puts back.
func mutableGlobals(m api.Module, names []string) ([]api.MutableGlobal, error) {
	list := make([]api.MutableGlobal, len(names))
	for i, name := range names {
		g, ok := m.ExportedGlobal(name).(api.MutableGlobal)
		if !ok {
			return nil, fmt.Errorf("the meter did not export %q", name)
		}
		list[i] = g
	}
	return list, nil
}
