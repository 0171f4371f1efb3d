package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tars-project/tars/cmd/tars/demo"
	"github.com/tars-project/tars/cmd/tars/rest"
)

// smokeCommand does what "tars dev" does, in a folder and on ports of its own,
// checks each step as a client sees it, and that nothing is left behind.
type smokeCommand struct {
	localFolders
	DatabaseURL string `env:"DATABASE_URL" placeholder:"URL" help:"Use this database and start none; it gets the demo's tenant."`
	Guests      string `env:"TARS_GUESTS" default:"bin/guests" placeholder:"DIR" help:"Where \"make guests\" put the compiled plugins."`
	MinGrade    string `env:"TARS_MIN_GRADE" default:"jail" placeholder:"GRADE" help:"Weakest isolation of plugins to accept."`
}

// report is the last line that smoke prints.
type report struct {
	OK        bool            `json:"ok"`
	Seconds   float64         `json:"seconds"`
	Passages  int             `json:"passages"`
	Answer    string          `json:"answer"`
	Citations []demo.Citation `json:"citations"`
	Tier      string          `json:"tier"`
}

func (c *smokeCommand) Run(ctx context.Context, w *world) error {
	began := time.Now()
	r := report{Citations: []demo.Citation{}}
	err := c.run(ctx, w, &r)
	r.OK, r.Seconds = err == nil, float64(time.Since(began).Milliseconds())/1000
	line, encodeErr := json.Marshal(r)
	if encodeErr != nil {
		return errors.Join(err, encodeErr)
	}
	if err != nil {
		fmt.Fprintln(w.stderr, "smoke: FAILED:", err)
	}
	fmt.Fprintln(w.stdout, string(line))
	if err != nil {
		return &exitError{1}
	}
	return nil
}

// run does the whole of it in a temporary folder, which is gone afterwards.
func (c *smokeCommand) run(ctx context.Context, w *world, r *report) error {
	dir, err := os.MkdirTemp("", "tars-smoke-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)                      // after a failure; emptied tells of trouble after success
	if err := os.Chmod(dir, 0o755); err != nil { // the database's account passes through
		return err
	}
	dev, err := c.dev(dir)
	if err != nil {
		return err
	}
	var children []process
	err = dev.start(ctx, w, func(ctx context.Context, _ *server, d demo.Demo) error {
		defer func() { children = descendants(os.Getpid()) }()
		return c.steps(ctx, d, r)
	})
	if err != nil {
		return err
	}
	return errors.Join(gone(children), emptied(ctx, dir))
}

// dev is the development server of the smoke test, with its defaults.
func (c *smokeCommand) dev(dir string) (*devCommand, error) {
	dev := &devCommand{}
	if err := kong.ApplyDefaults(dev, kong.Vars{"loglevel": "warn"}); err != nil {
		return nil, err
	}
	dev.devFolders = devFolders{c.localFolders, dir}
	dev.DatabaseURL, dev.Guests = c.DatabaseURL, c.Guests
	dev.Listen, dev.MetricsListen, dev.MinGrade = "127.0.0.1:0", "127.0.0.1:0", c.MinGrade
	dev.AdminKey, dev.AdminKeyFile, dev.KEK, dev.KEKFile, dev.PluginCache = "", "", "", "", ""
	return dev, nil
}

// steps does the main job and checks it.
func (c *smokeCommand) steps(ctx context.Context, d demo.Demo, r *report) error {
	result, err := d.Run(ctx)
	if err != nil {
		return err
	}
	r.Passages, r.Answer, r.Citations = result.Passages, result.Answer, result.Citations
	if r.Passages < 2000 {
		return fmt.Errorf("ingested %d passages, want at least 2000", r.Passages)
	}
	client := rest.New(d.BaseURL, result.Token)
	if err := checkCitations(ctx, client, result.Citations); err != nil {
		return err
	}
	for _, receipt := range result.Receipts {
		if r.Tier = receipt.Tier; r.Tier != "process" {
			return fmt.Errorf("plugin %s ran in tier %q, want process", receipt.Plugin, receipt.Tier)
		}
	}
	if err := c.secret(ctx, client); err != nil {
		return err
	}
	_, err = rest.New(d.BaseURL, "tars_wrong").Do(ctx, http.MethodGet, "/v1/collections", nil, nil)
	if err == nil {
		return errors.New("a wrong key was let in")
	}
	if !rest.IsStatus(err, http.StatusUnauthorized) {
		return fmt.Errorf("a wrong key was not refused with status 401: %w", err)
	}
	return nil
}

// secret ingests one passage with a word that occurs nowhere else, and asks for it
// without naming it: the answer must cite that passage.
func (c *smokeCommand) secret(ctx context.Context, client *rest.Client) error {
	word := strings.ToLower(rand.Text())
	record := map[string]any{
		"id":   "smoke/" + word,
		"text": "Harbour pilots\n\nThe harbour pilots of Bremerhaven hail the lighthouse keeper with the watchword " + word + " before each night passage.",
	}
	path := "/v1/collections/" + demo.Collection + "/records"
	if _, err := client.Do(ctx, http.MethodPost, path, map[string]any{"records": []any{record}}, nil); err != nil {
		return fmt.Errorf("ingest the passage with the random word: %w", err)
	}
	found, err := demo.Ask(ctx, client, "With which watchword do the harbour pilots hail the lighthouse keeper?")
	if err != nil {
		return err
	}
	for _, citation := range found.Citations {
		if citation.ID == record["id"] && citation.Verified && strings.Contains(citation.Quote, word) {
			return nil
		}
	}
	return fmt.Errorf("the passage with the random word %q is not cited; the answer was: %s", word, found.Answer)
}

// checkCitations reads each cited record and looks for the quote where it is said
// to stand.
func checkCitations(ctx context.Context, client *rest.Client, citations []demo.Citation) error {
	if len(citations) == 0 {
		return errors.New("the answer has no citation")
	}
	for _, c := range citations {
		var record struct {
			Text    string `json:"text"`
			Version int64  `json:"version"`
		}
		path := "/v1/collections/" + c.Collection + "/records/" + url.PathEscape(c.ID)
		if _, err := client.Do(ctx, http.MethodGet, path, nil, &record); err != nil {
			return fmt.Errorf("read cited record %q: %w", c.ID, err)
		}
		if !c.Verified || record.Version != c.Version || c.Start < 0 || c.End > len(record.Text) || c.Start > c.End || record.Text[c.Start:c.End] != c.Quote {
			return fmt.Errorf("citation of %q, bytes %d-%d, does not stand in the record", c.ID, c.Start, c.End)
		}
	}
	return nil
}

// emptied removes the folder and tells of anything that cannot be removed.
func emptied(ctx context.Context, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("left behind: %w", err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("left behind: %s", dir)
	}
	return ctx.Err()
}
