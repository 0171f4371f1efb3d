package openai

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// Config says which model to ask where. The zero value of a field with a
// default means the default.
type Config struct {
	ID      string // id of the embedder; default "openai"
	BaseURL string // such as https://api.openai.com/v1; "/embeddings" is added. Required
	APIKey  string // sent as a bearer token; empty sends none
	Model   string // such as text-embedding-3-small. Required

	Dimensions int // length of vectors to ask for; 0 leaves it to the model and sends nothing
	// Known is the length of vectors as an earlier client learned it: then none is
	// asked for, and an answer of another length is refused. 0 learns it.
	Known int

	// Some models want to be told what a text is for by its first words, such
	// as "query: " and "passage: " (e5), or "search_query: " (nomic).
	QueryPrefix    string
	DocumentPrefix string

	// BatchSize is the most texts in a request, 1 to 2048; default 32, what most
	// self-hosted servers accept. Fewer are sent where more would make an answer
	// that may be longer than 16 MiB.
	BatchSize int
	Parallel  int // most requests at once, over all calls, 1 to 64; default 4

	Timeout time.Duration // longest wait for one answer; default 30s
	Retries int           // further attempts after a failed one, -1 to 10; -1 is none; default 4
	MaxWait time.Duration // longest pause before an attempt, also when the server asks for more; default 30s

	// Transport sends the requests; nil is a plain one without a proxy.
	Transport http.RoundTripper
}

// withDefaults returns c with its zero fields filled in, or an error that tells
// every problem of it.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.ID, "openai")
	setDefault(&c.BatchSize, 32)
	setDefault(&c.Parallel, 4)
	setDefault(&c.Timeout, 30*time.Second)
	setDefault(&c.Retries, 4)
	setDefault(&c.MaxWait, 30*time.Second)
	c.BaseURL = strings.TrimRight(c.BaseURL, "/")

	var problems []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	problems = append(problems, checkURL(c.BaseURL))
	check(c.Model != "", "model is required")
	check(!strings.ContainsAny(c.APIKey, "\r\n\x00"), "API key has a line break or NUL")
	check(c.Dimensions >= 0 && c.Dimensions <= knowledge.MaxDimension, "dimensions = %d, want 0 to %d", c.Dimensions, knowledge.MaxDimension)
	check(c.Known >= 0 && c.Known <= knowledge.MaxDimension, "known dimension = %d, want 0 to %d", c.Known, knowledge.MaxDimension)
	check(c.BatchSize >= 1 && c.BatchSize <= 2048, "batch size = %d, want 1 to 2048", c.BatchSize)
	check(c.Parallel >= 1 && c.Parallel <= 64, "parallel = %d, want 1 to 64", c.Parallel)
	check(c.Timeout > 0, "timeout = %v, want more than 0", c.Timeout)
	check(c.Retries >= -1 && c.Retries <= 10, "retries = %d, want -1 to 10", c.Retries)
	check(c.MaxWait > 0, "longest wait = %v, want more than 0", c.MaxWait)
	return c, errors.Join(problems...)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// checkURL never shows the URL's user part or query, which may be secrets.
func checkURL(base string) error {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return errors.New("base URL cannot be parsed")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return errors.New("base URL must be an absolute http or https URL")
	case u.User != nil:
		return errors.New("base URL must not hold a user or password; use the API key")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("base URL must not have a query or fragment")
	}
	return nil
}

// version names the vector space: the model, and a sign of the prefixes, as
// the same text gives other vectors under other prefixes. The address is left
// out so that a server can move.
func (c Config) version() string {
	if c.QueryPrefix == "" && c.DocumentPrefix == "" {
		return c.Model
	}
	sum := fnv.New32a()
	fmt.Fprintf(sum, "%q %q", c.QueryPrefix, c.DocumentPrefix)
	return fmt.Sprintf("%s+prefix-%08x", c.Model, sum.Sum32())
}
