package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
)

// exportCommand writes what a tenant has to a file.
type exportCommand struct {
	remote
	Collection string `help:"This collection alone; without it, all of the tenant's."`
	File       string `arg:"" optional:"" help:"Where it goes; standard output without it. It appears when it is whole."`
}

// Run carries out the command.
func (c *exportCommand) Run(ctx context.Context, w *world) error {
	path := "/v1/export"
	if c.Collection != "" {
		path = "/v1/collections/" + url.PathEscape(c.Collection) + "/export"
	}
	body, err := c.client().Get(ctx, path)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer body.Close()
	counted := &countingReader{r: body}
	defer reportProgress(w.stderr, "exported", counted, -1)()
	if c.File == "" {
		return copyExport(w.stdout, counted)
	}
	return writeWhole(c.File, func(to io.Writer) error { return copyExport(to, counted) })
}

// writeWhole makes a file that is there only once it is whole and on disk.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*")
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	err = write(file)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	return err
}

// copyExport copies an export and makes sure that its last line came.
func copyExport(to io.Writer, from io.Reader) error {
	last := &lastLine{}
	if _, err := io.Copy(io.MultiWriter(to, last), from); err != nil {
		return fmt.Errorf("export was cut: %w", err)
	}
	var line struct {
		End   bool
		Count int64
	}
	if err := json.Unmarshal(last.text(), &line); err != nil || !line.End {
		return errors.New("export was cut: its last line did not come")
	}
	return nil
}

// lastLine keeps the end of what is written: more than the last line of an export.
type lastLine struct{ tail []byte }

func (l *lastLine) Write(p []byte) (int, error) {
	const most = 128
	l.tail = append(l.tail, p[max(0, len(p)-most):]...)
	l.tail = l.tail[max(0, len(l.tail)-most):]
	return len(p), nil
}

func (l *lastLine) text() []byte {
	text := bytes.TrimSuffix(l.tail, []byte("\n"))
	return text[bytes.LastIndexByte(text, '\n')+1:]
}

// importCommand writes a file's lines to a collection, or restores a tenant.
type importCommand struct {
	remote
	Collection string `help:"Into this collection; without it, the file is the export of a whole tenant."`
	Mode       string `help:"Which records may be written: upsert, insert_only, update_only, or restore, which keeps versions and times." enum:"upsert,insert_only,update_only,restore" default:"upsert"`
	OnError    string `help:"What a bad line does: fail or skip." enum:"fail,skip" default:"fail"`
	Name       string `help:"Name of this import, by which it is resumed. By default it is made of the file's path, size and time and of where it goes."`
	Retries    int    `help:"How often to go on after the connection broke." default:"5"`
	File       string `arg:"" help:"The file, in NDJSON; .gz and .zst are sent as they are."`
}

// imported is what the API says of an import.
type imported struct {
	ID                     string
	Lines, Written, Failed int64
	Faults                 []struct {
		Line          int64
		Field, Detail string
	}
}

// Run carries out the command. It goes on where it was when the connection breaks,
// and when it is called again for the same file.
func (c *importCommand) Run(ctx context.Context, w *world) error {
	path, key, err := c.target()
	if err != nil {
		return err
	}
	client := c.client()
	for attempt := 0; ; attempt++ {
		x, err := c.send(ctx, w, client, path, key)
		if err == nil {
			c.report(w, x)
			return nil
		}
		if attempt == c.Retries || !mayPass(err) || ctx.Err() != nil {
			return fmt.Errorf("import: %w", err)
		}
		fmt.Fprintf(w.stderr, "import: %v; going on\n", err)
		select {
		case <-time.After(time.Duration(attempt+1) * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// target is where the file goes, and the key of the import.
func (c *importCommand) target() (path, key string, err error) {
	path = "/v1/import"
	if c.Collection != "" {
		query := url.Values{"mode": {c.Mode}, "on_error": {c.OnError}}
		path = "/v1/collections/" + url.PathEscape(c.Collection) + "/import?" + query.Encode()
	}
	if c.Name != "" {
		return path, c.Name, nil
	}
	name, err := filepath.Abs(c.File)
	if err != nil {
		return "", "", fmt.Errorf("import: %w", err)
	}
	info, err := os.Stat(name)
	if err != nil {
		return "", "", fmt.Errorf("import: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%d", path, name, info.Size(), info.ModTime().UnixNano()))
	return path, fmt.Sprintf("file-%x", sum[:16]), nil
}

// send sends the file once.
func (c *importCommand) send(ctx context.Context, w *world, client *rest.Client, path, key string) (imported, error) {
	var x imported
	file, err := os.Open(c.File)
	if err != nil {
		return x, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return x, err
	}
	header := http.Header{"Content-Type": {"application/x-ndjson"}, "Idempotency-Key": {key}}
	switch filepath.Ext(c.File) {
	case ".gz":
		header.Set("Content-Encoding", "gzip")
	case ".zst":
		header.Set("Content-Encoding", "zstd")
	}
	counted := &countingReader{r: bufio.NewReaderSize(file, 256<<10)}
	defer reportProgress(w.stderr, "sent", counted, info.Size())()
	return x, client.Send(ctx, path, header, counted, &x)
}

func (c *importCommand) report(w *world, x imported) {
	fmt.Fprintf(w.stderr, "import %s: %d lines, %d written, %d bad\n", x.ID, x.Lines, x.Written, x.Failed)
	for _, f := range x.Faults {
		fmt.Fprintf(w.stderr, "  line %d: %s %s\n", f.Line, f.Field, f.Detail)
	}
}

// mayPass reports an error after which the same import may go on.
func mayPass(err error) bool {
	var p *rest.Problem
	if !errors.As(err, &p) {
		return !errors.Is(err, os.ErrNotExist)
	}
	return p.Status == http.StatusTooManyRequests || p.Status >= 500 || p.Type == "/problems/request-running"
}

// countingReader counts what is read of it, for the progress.
type countingReader struct {
	r io.Reader
	n atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// reportProgress writes each second how much of total, -1 if unknown, has passed.
// The function that it returns ends that with a last line.
func reportProgress(to io.Writer, what string, counted *countingReader, total int64) func() {
	start := time.Now()
	line := func() {
		n := counted.n.Load()
		share := ""
		if total > 0 {
			share = fmt.Sprintf(" of %.1f (%d%%)", float64(total)/1e6, 100*n/total)
		}
		fmt.Fprintf(to, "%s %.1f%s MB in %s\n", what, float64(n)/1e6, share, time.Since(start).Round(100*time.Millisecond))
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				line()
			case <-stop:
				line()
				return
			}
		}
	}()
	return func() { close(stop); <-done }
}
