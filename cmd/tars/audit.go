package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/audit"
)

type auditCommand struct {
	Export auditExport `cmd:"" help:"Write the audit log as JSON lines to a file, and check it."`
	Verify auditVerify `cmd:"" help:"Check exported files, without a server: name the first line that is not as it was written."`
}

// auditExport writes a chain to a file.
type auditExport struct {
	remote
	After  int64  `placeholder:"N" help:"Only the events after the one with this number."`
	Of     string `placeholder:"TENANT" help:"With the operator's key: of this tenant; without it, the operator's own."`
	Admin  bool   `help:"The key is the operator's."`
	Target string `arg:"" optional:"" name:"file" help:"Where it goes; standard output without it. It appears when it is whole."`
}

// Run carries out the command.
func (c *auditExport) Run(ctx context.Context, w *world) error {
	path := "/v1/audit"
	switch {
	case c.Of != "":
		path = "/v1/admin/tenants/" + url.PathEscape(c.Of) + "/audit"
	case c.Admin:
		path = "/v1/admin/audit"
	}
	if c.After != 0 {
		path += "?after=" + strconv.FormatInt(c.After, 10)
	}
	body, err := c.client().GetAs(ctx, path, http.Header{"Accept": {"application/x-ndjson"}})
	if err != nil {
		return fmt.Errorf("export the audit log: %w", err)
	}
	defer body.Close()
	copyChain := func(to io.Writer) error {
		chain, err := readChain(io.TeeReader(body, to), nil)
		if err == nil {
			fmt.Fprintln(w.stderr, chain)
		}
		return err
	}
	if c.Target == "" {
		return copyChain(w.stdout)
	}
	return writeWhole(c.Target, copyChain)
}

// auditVerify checks files.
type auditVerify struct {
	Head  string   `placeholder:"SEQ:HASH" help:"An event that the chain must have, noted when it was checked before: then the end cannot have been cut off and made anew."`
	Files []string `arg:"" name:"file" help:"Exports of one log, one after the other; - is standard input."`
}

// Run carries out the command.
func (c *auditVerify) Run(_ context.Context, w *world) error {
	chain := &chain{}
	if err := chain.expect(c.Head); err != nil {
		return err
	}
	for _, name := range c.Files {
		if err := verifyFile(name, w.stdin, chain); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if chain.wanted != nil && !chain.met {
		return fmt.Errorf("the chain does not have event %d of --head", chain.wanted.Seq)
	}
	_, err := fmt.Fprintln(w.stdout, chain)
	return err
}

func verifyFile(name string, stdin io.Reader, known *chain) error {
	if name == "-" {
		_, err := readChain(stdin, known)
		return err
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = readChain(file, known)
	return err
}

// chain is how far a log has been checked.
type chain struct {
	log         string
	first, last audit.Mark
	events      int64
	begun       bool
	wanted      *audit.Mark // that it must come by; nil: any
	met         bool
}

// String is what there is to tell: the last part is for --head.
func (c *chain) String() string {
	return fmt.Sprintf("the log of %s is whole: %d events after number %d, up to %d:%s", c.log, c.events, c.first.Seq, c.last.Seq, c.last.Hash)
}

// expect reads --head.
func (c *chain) expect(head string) error {
	if head == "" {
		return nil
	}
	seq, hash, _ := strings.Cut(head, ":")
	n, err := strconv.ParseInt(seq, 10, 64)
	if err == nil {
		c.wanted = &audit.Mark{Seq: n}
		c.wanted.Hash, err = audit.ParseHash(hash)
	}
	if err != nil {
		return fmt.Errorf("--head: need what was printed before, a number, a colon and a hash: %w", err)
	}
	return nil
}

// reached notes a place in the chain.
func (c *chain) reached(m audit.Mark) error {
	c.last = m
	if c.wanted == nil || m.Seq != c.wanted.Seq {
		return nil
	}
	if c.met = m.Hash == c.wanted.Hash; !c.met {
		return fmt.Errorf("event %d is another than that of --head", m.Seq)
	}
	return nil
}

// maxAuditLine is longer than any line of an export: names of 1 KiB and some details.
const maxAuditLine = 1 << 20

// markLine is a place in a chain as it is written.
type markLine struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

func (m markLine) mark() (audit.Mark, error) {
	hash, err := audit.ParseHash(m.Hash)
	return audit.Mark{Seq: m.Seq, Hash: hash}, err
}

// firstLine, eventLine and endLine are the lines of an export, with their members in the
// order in which the server writes them.
type firstLine struct {
	Format int      `json:"audit"`
	Log    string   `json:"log"`
	After  markLine `json:"after"`
}

type eventLine struct {
	Actor   string    `json:"actor"`
	At      time.Time `json:"at"`
	Details []string  `json:"details"`
	Hash    string    `json:"hash"`
	ID      string    `json:"id"`
	Object  struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
	} `json:"object"`
	Operation string `json:"operation"`
	Outcome   string `json:"outcome"`
	Previous  string `json:"previous"`
	Remote    string `json:"remote"`
	RequestID string `json:"request_id"`
	Seq       int64  `json:"seq"`
	Status    int    `json:"status"`
}

type endLine struct {
	End bool `json:"end"`
	markLine
}

func (l eventLine) entry() (e audit.Entry, err error) {
	e = audit.Entry{Seq: l.Seq, Event: audit.Event{
		ID: l.ID, At: l.At, Actor: l.Actor, Remote: l.Remote, Operation: l.Operation, Kind: l.Object.Kind, Name: l.Object.Name,
		Status: l.Status, Outcome: l.Outcome, RequestID: l.RequestID, Details: l.Details,
	}}
	if e.Previous, err = audit.ParseHash(l.Previous); err == nil {
		e.Hash, err = audit.ParseHash(l.Hash)
	}
	if err == nil && !l.At.Equal(l.At.Truncate(time.Microsecond)) {
		err = errors.New("its time is finer than a microsecond") // which the hash would not show
	}
	return e, err
}

// strictly decodes a line that is, to the byte, as the server writes it: a member that is
// there twice, or in other letters, would show one reader what another does not see.
func strictly(line []byte, into any) error {
	if err := json.Unmarshal(line, into); err != nil {
		return err
	}
	written, err := json.Marshal(into)
	if err != nil {
		return err
	}
	if !bytes.Equal(written, line) {
		return errors.New("it is not as a server writes it")
	}
	return nil
}

// readChain checks an export, which goes on from known unless that is nil or not begun.
// An error names the first line that does not fit.
func readChain(from io.Reader, known *chain) (*chain, error) {
	if known == nil {
		known = &chain{}
	}
	r := &chainReader{lines: bufio.NewScanner(from), chain: known}
	r.lines.Buffer(nil, maxAuditLine)
	if err := r.read(); err != nil {
		return nil, fmt.Errorf("line %d: %w", r.line, err)
	}
	return known, nil
}

type chainReader struct {
	lines *bufio.Scanner
	line  int
	chain *chain
}

// next returns the next line; false at the end.
func (r *chainReader) next() ([]byte, bool, error) {
	r.line++
	if r.lines.Scan() {
		return r.lines.Bytes(), true, nil
	}
	return nil, false, r.lines.Err()
}

func (r *chainReader) read() error {
	v, err := r.begin()
	if err != nil {
		return err
	}
	for {
		text, ok, err := r.next()
		switch {
		case err != nil:
			return err
		case !ok:
			return fmt.Errorf("the file ends here, without its last line: events from %d on are missing", v.At().Seq+1)
		case bytes.HasPrefix(text, []byte(`{"end":`)):
			return r.end(text, v)
		}
		if err := r.event(text, v); err != nil {
			return err
		}
	}
}

// begin reads the first line.
func (r *chainReader) begin() (*audit.Verifier, error) {
	text, _, err := r.next()
	if err != nil {
		return nil, err
	}
	var first firstLine
	if err := strictly(text, &first); err != nil || first.Format != 1 {
		return nil, errors.New("is not the first line of an exported audit log")
	}
	after, err := first.After.mark()
	c := r.chain
	switch {
	case err != nil:
		return nil, err
	case !c.begun:
		c.begun, c.log, c.first = true, first.Log, after
	case c.log != first.Log:
		return nil, fmt.Errorf("is of the log of %s, and the file before of that of %s", first.Log, c.log)
	case c.last != after:
		return nil, fmt.Errorf("goes on after event %d, and the file before ends with another, %d", after.Seq, c.last.Seq)
	}
	if after.Seq == 0 && after != (audit.Mark{}) {
		return nil, errors.New("the beginning has a hash other than zeros")
	}
	return audit.NewVerifier(knowledge.TenantID(first.Log), after), c.reached(after)
}

func (r *chainReader) event(text []byte, v *audit.Verifier) error {
	var line eventLine
	if err := strictly(text, &line); err != nil {
		return fmt.Errorf("is not an event: %w", err)
	}
	e, err := line.entry()
	if err == nil {
		err = v.Next(e)
	}
	if err != nil {
		return err
	}
	r.chain.events++
	return r.chain.reached(e.Mark())
}

func (r *chainReader) end(text []byte, v *audit.Verifier) error {
	var line endLine
	if err := strictly(text, &line); err != nil || !line.End {
		return errors.New("is not the last line of an exported audit log")
	}
	end, err := line.mark()
	if err == nil {
		err = v.End(end)
	}
	if err != nil {
		return err
	}
	if _, more, err := r.next(); more || err != nil {
		return errors.Join(errors.New("comes after the last line"), err)
	}
	return nil
}
