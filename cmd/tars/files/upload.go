// Package files sends files to a collection as documents. What it finds there already
// with the same content it does not send, so that a run that was stopped goes on where
// it was when it is begun again.
//
// What it leaves to others: flags and what they mean (cmd/tars), HTTP (cmd/tars/rest).
package files

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/knowledge"
)

// Run is one run. Set every field before Do.
type Run struct {
	Client        *rest.Client
	Collection    string
	Found         Found
	Prefix        string         // of the ids; what is missing is looked for below it
	Metadata      map[string]any // of each document
	Chunker       string         // plugin that cuts documents, "name" or "name@version"; empty: none
	Parallel      int            // requests at once, 1 or more
	Resend        bool           // send what has the same content too
	DeleteMissing bool           // delete the documents that are below Prefix and not in Found
	DryRun        bool           // change nothing
	New           bool           // the collection is not there: it has no documents
	// Say is told of what is done, or would be: "send" or "delete", and an id. It
	// may be called from several goroutines at once; nil: nobody wants to know.
	Say func(verb, id string)

	Progress *Progress

	mu       sync.Mutex
	failures []Failure
}

// job is a file and what the server has of it, nil if nothing.
type job struct {
	File
	there *stored
}

// Do sends the files, and returns what failed, in order. The error is not nil when
// the run could not go on; a file that fails is no reason for that.
func (r *Run) Do(ctx context.Context) ([]Failure, error) {
	r.failures = slices.Clone(r.Found.Faults)
	var missing []string
	g, inner := errgroup.WithContext(ctx)
	jobs := make(chan job, r.Parallel)
	g.Go(func() (err error) {
		defer close(jobs)
		missing, err = r.plan(inner, jobs)
		return err
	})
	for range r.Parallel {
		g.Go(func() error {
			for j := range jobs {
				if err := r.one(inner, j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	if err == nil && len(missing) > 0 {
		err = r.deleteAll(ctx, missing)
	}
	slices.SortStableFunc(r.failures, func(a, b Failure) int { return cmp.Compare(a.What, b.What) })
	return r.failures, err
}

// plan hands out the files, each beside what the server has of it, and returns the
// documents that it has beside them.
func (r *Run) plan(ctx context.Context, jobs chan<- job) ([]string, error) {
	remote := &list{client: r.Client, path: r.path(""), prefix: r.Prefix, ended: r.New}
	var missing []string
	// upTo passes over what the server has before an id; and beside all if there is none.
	upTo := func(id string) (*stored, error) {
		for {
			d, err := remote.peek(ctx)
			if d == nil || err != nil || id != "" && d.ID > id {
				return nil, err
			}
			remote.next()
			if d.ID == id {
				return d, nil
			}
			if r.DeleteMissing {
				missing = append(missing, d.ID)
			}
		}
	}
	for _, file := range r.Found.Files {
		there, err := upTo(file.ID)
		if err != nil {
			return nil, err
		}
		select {
		case jobs <- job{file, there}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if !r.DeleteMissing {
		return nil, nil
	}
	_, err := upTo("")
	return missing, err
}

// one sends a file unless it is there. Its error ends the run; what is wrong with the
// file itself is noted.
func (r *Run) one(ctx context.Context, j job) error {
	done, err := r.send(ctx, j)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		r.fail(j.ID, err)
	}
	r.Progress.file(j.Size, done, err != nil)
	return fatal(err)
}

// fatal returns an error after which no other file has a chance either.
func fatal(err error) error {
	var p *rest.Problem
	if errors.As(err, &p) && (p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden) {
		return err
	}
	return nil
}

// sent is what became of a file.
type sent struct {
	written            bool
	passages, embedded int
}

func (r *Run) send(ctx context.Context, j job) (sent, error) {
	if j.Size > knowledge.MaxSource {
		return sent{}, fmt.Errorf("has %d bytes; at most %d are allowed", j.Size, knowledge.MaxSource)
	}
	source, err := os.ReadFile(j.Path)
	if err != nil {
		return sent{}, err
	}
	if !r.Resend && j.there != nil && r.same(*j.there, j.File, source) {
		return sent{passages: j.there.Passages}, nil
	}
	r.say("send", j.ID)
	if r.DryRun {
		return sent{written: true}, nil
	}
	query := url.Values{}
	if len(r.Metadata) > 0 {
		metadata, err := json.Marshal(r.Metadata)
		if err != nil {
			return sent{}, err
		}
		query.Set("metadata", string(metadata))
	}
	if name, version, given := strings.Cut(r.Chunker, "@"); name != "" {
		query.Set("chunker", name)
		if given {
			query.Set("chunker_version", version)
		}
	}
	path := r.path(j.ID)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var out struct {
		Document  stored
		Unchanged bool
		Embedded  int
	}
	err = patiently(ctx, func() error {
		return r.Client.Put(ctx, path, http.Header{"Content-Type": {j.MediaType}}, source, &out)
	})
	return sent{!out.Unchanged, out.Document.Passages, out.Embedded}, err
}

// same reports that the server has just this.
func (r *Run) same(d stored, f File, source []byte) bool {
	sum := sha256.Sum256(source)
	return d.SHA256 == hex.EncodeToString(sum[:]) && d.MediaType == f.MediaType &&
		(len(d.Metadata) == 0 && len(r.Metadata) == 0 || reflect.DeepEqual(d.Metadata, r.Metadata))
}

// deleteAll deletes documents.
func (r *Run) deleteAll(ctx context.Context, ids []string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.Parallel)
	for _, id := range ids {
		g.Go(func() error {
			r.say("delete", id)
			if r.DryRun {
				return nil
			}
			err := patiently(ctx, func() error {
				_, err := r.Client.Do(ctx, http.MethodDelete, r.path(id), nil, nil)
				return err
			})
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err == nil || rest.IsStatus(err, http.StatusNotFound):
				r.Progress.deleted()
			default:
				r.fail(id, err)
			}
			return fatal(err)
		})
	}
	return g.Wait()
}

// path is where the documents are, or the one of an id.
func (r *Run) path(id string) string {
	path := "/v1/collections/" + url.PathEscape(r.Collection) + "/documents"
	if id == "" {
		return path
	}
	return path + "/" + escape(id)
}

func (r *Run) say(verb, id string) {
	if r.Say != nil {
		r.Say(verb, id)
	}
}

func (r *Run) fail(what string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, Failure{what, err})
}
