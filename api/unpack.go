package api

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/tars-project/tars/knowledge"
)

// Bounds of what a compressed body unpacks to.
const (
	maxRatio     = 200      // times its own size,
	ratioSlack   = 16 << 20 // beyond the first so many bytes
	maxWindow    = 8 << 20  // of zstd, which is held in memory
	errRatioText = "unpacks to more than %d times its size"
)

// unpacked returns a body as it was before the encoding, which is gzip, zstd, or
// none. Close frees what that takes; the body itself is not closed.
func unpacked(body io.Reader, encoding string) (io.ReadCloser, error) {
	u := &unpacker{packed: &tallied{r: body}}
	switch encoding {
	case "gzip":
		u.open = func() (io.Reader, func(), error) {
			z, err := gzip.NewReader(u.packed)
			return z, func() {}, err
		}
	case "zstd":
		u.open = func() (io.Reader, func(), error) {
			z, err := zstd.NewReader(u.packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
			if err != nil {
				return nil, nil, err
			}
			return z, z.Close, nil
		}
	case "", "identity":
		return io.NopCloser(body), nil
	default:
		return nil, errMediaType
	}
	return u, nil
}

// unpacker unpacks a body and watches how much that is.
type unpacker struct {
	packed *tallied
	open   func() (io.Reader, func(), error)
	plain  io.Reader // nil until the first read
	end    func()
	n      int64 // bytes given
}

// Read implements io.Reader. Errors are those of the body, or an InvalidError.
func (u *unpacker) Read(p []byte) (int, error) {
	if u.plain == nil {
		var err error
		if u.plain, u.end, err = u.open(); err != nil {
			u.plain = nil
			return 0, u.fault(err)
		}
	}
	n, err := u.plain.Read(p)
	if u.n += int64(n); u.n > ratioSlack && u.n > maxRatio*u.packed.n {
		return 0, knowledge.Invalid("", errRatioText, maxRatio)
	}
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = u.fault(err)
	}
	return n, err
}

// fault tells a body that broke off from one that was packed badly.
func (u *unpacker) fault(err error) error {
	switch {
	case u.packed.err != nil:
		return u.packed.err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return knowledge.Invalid("", "needs a window of more than %d MiB to unpack", maxWindow>>20)
	}
	return fmt.Errorf("%w (%w)", knowledge.Invalid("", "is not in the encoding that Content-Encoding says, or was cut"), err)
}

// Close implements io.Closer.
func (u *unpacker) Close() error {
	if u.end != nil {
		u.end()
	}
	return nil
}

// tallied counts what is read, and keeps the error that ended it.
type tallied struct {
	r   io.Reader
	n   int64
	err error
}

func (t *tallied) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.n += int64(n)
	if err != nil && (!errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		t.err = err
	}
	return n, err
}
