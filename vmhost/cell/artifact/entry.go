package artifact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tars-project/tars/vmhost"
)

// An entry's file is the code, then module, header and name, then a trailer of
// fixed length:
//
//	magic     16 bytes
//	key       32 bytes
//	lengths   four uint64, little-endian: code, module, header, name
//	mac       32 bytes, over all before it
//
// The code comes first so that the file itself is what the engine reads: it looks
// at nothing behind the end of its own data.
const (
	magic      = formatVersion + "\n"
	macLen     = sha256.Size
	parts      = 4
	trailerLen = len(magic) + len(Key{}) + parts*8 + macLen
	// maxPart keeps sums of lengths far from the end of an int64.
	maxPart = 1 << 40
)

// errInvalid: a file is not the entry that it should be.
var errInvalid = errors.New("not the entry that was written")

// layout is where the parts of an entry are in its file.
type layout struct {
	code, module, header, name int64 // lengths, in the order of the file
}

func (l layout) size() int64 { return l.code + l.module + l.header + l.name + int64(trailerLen) }

// writeEntry writes an entry to w.
func writeEntry(w io.Writer, secret []byte, key Key, a vmhost.Artifact) error {
	if err := Check(a); err != nil {
		return err
	}
	mac := hmac.New(sha256.New, secret)
	both := io.MultiWriter(w, mac)
	trailer := append([]byte(magic), key[:]...)
	for _, part := range [parts][]byte{a.Code, a.Module, a.Header, []byte(a.Name)} {
		trailer = binary.LittleEndian.AppendUint64(trailer, uint64(len(part)))
		if _, err := both.Write(part); err != nil {
			return err
		}
	}
	if _, err := both.Write(trailer); err != nil {
		return err
	}
	_, err := w.Write(mac.Sum(nil))
	return err
}

// readEntry verifies the file of an entry, all of it, and says where its parts
// are. Its memory does not depend on the file's size. The error is errInvalid, or
// one of reading.
func readEntry(r io.ReaderAt, size int64, secret []byte, key Key) (layout, error) {
	if size < int64(trailerLen) {
		return layout{}, errInvalid
	}
	trailer := make([]byte, trailerLen)
	if err := readFull(r, trailer, size-int64(trailerLen)); err != nil {
		return layout{}, err
	}
	mac := hmac.New(sha256.New, secret)
	if _, err := io.Copy(mac, io.NewSectionReader(r, 0, size-macLen)); err != nil {
		return layout{}, err
	}
	fields, sum := trailer[:trailerLen-macLen], trailer[trailerLen-macLen:]
	if !hmac.Equal(mac.Sum(nil), sum) {
		return layout{}, errInvalid
	}
	// From here on the file is as somebody with the secret wrote it, but it
	// may be another entry's, or of another format.
	if string(fields[:len(magic)]) != magic || Key(fields[len(magic):][:len(Key{})]) != key {
		return layout{}, errInvalid
	}
	var lengths [parts]int64
	for i := range lengths {
		n := binary.LittleEndian.Uint64(fields[len(magic)+len(Key{})+8*i:])
		if n > maxPart {
			return layout{}, errInvalid
		}
		lengths[i] = int64(n)
	}
	l := layout{code: lengths[0], module: lengths[1], header: lengths[2], name: lengths[3]}
	if l.size() != size || l.header > vmhost.MaxArtifactHeader || l.name > maxName {
		return layout{}, errInvalid
	}
	return l, nil
}

func readFull(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	return errors.Join(err, io.ErrUnexpectedEOF)
}

// maxName bounds the name of an artifact's file, bytes.
const maxName = 256

// Check reports an artifact that is not kept: it must have all parts, a header
// within its bound, and a name that is one folder and one file, "wazero-" and
// what names a version, then 64 hexadecimal digits. No name leads out of the
// folder that it is put in.
func Check(a vmhost.Artifact) error {
	folder, file, ok := strings.Cut(a.Name, "/")
	switch {
	case len(a.Name) > maxName || !ok || !strings.HasPrefix(folder, "wazero-") || strings.TrimLeft(folder, wordChars) != "":
		return fmt.Errorf("artifact: a file of the name %.300q", a.Name)
	case !isKey(file):
		return fmt.Errorf("artifact: a file of the name %.300q", a.Name)
	case len(a.Module) == 0 || len(a.Code) == 0:
		return fmt.Errorf("artifact: a module of %d bytes and code of %d", len(a.Module), len(a.Code))
	case len(a.Header) == 0 || len(a.Header) > vmhost.MaxArtifactHeader:
		return fmt.Errorf("artifact: a header of %d bytes, the most is %d", len(a.Header), vmhost.MaxArtifactHeader)
	default:
		return nil
	}
}

const wordChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-_"

// isKey reports whether s is 64 hexadecimal digits.
func isKey(s string) bool {
	_, ok := parseKey(s)
	return ok
}
