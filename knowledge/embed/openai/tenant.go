package openai

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/embed/outbound"
)

// probeTime is how long a tenant's server may take to show its first vector: some load
// the model only then.
const probeTime = 30 * time.Second

// Opener returns an opener of tenants' embedders, whose servers are where the policy
// allows.
func Opener(policy outbound.Policy) embed.Opener {
	return func(ctx context.Context, d embed.Definition, key string) (embed.Client, error) {
		return openFor(ctx, policy, d, key, systemClock())
	}
}

// openFor makes the client of a tenant's definition.
func openFor(ctx context.Context, policy outbound.Policy, d embed.Definition, key string, clock clock) (embed.Client, error) {
	if err := policy.CheckURL(d.BaseURL); err != nil {
		return nil, err
	}
	o := d.Options
	config := Config{
		ID: string(d.Name), BaseURL: d.BaseURL, APIKey: key, Model: d.Model, Known: d.Dimension,
		Dimensions: o.Dimensions, QueryPrefix: o.QueryPrefix, DocumentPrefix: o.DocumentPrefix,
		BatchSize: o.BatchSize, Parallel: o.Parallel, Timeout: o.Timeout,
	}
	checked, err := config.withDefaults()
	if err != nil {
		return nil, knowledge.Invalid("", "%s", err) // its texts hold no secrets
	}
	config.Transport = policy.Transport(checked.Parallel)
	if config.Known > 0 {
		return newClient(ctx, config, clock)
	}
	config.Retries = -1 // who waits for the answer can try again
	limited, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	client, err := newClient(limited, config, clock)
	if err != nil && ctx.Err() == nil {
		return nil, probeError(err)
	}
	return client, err
}

// probeError tells a tenant what to mend. It has the server's status but none of its
// words: what answers at an address may be no embedding server at all.
func probeError(err error) error {
	if errors.Is(err, outbound.ErrRefused) {
		return fmt.Errorf("%w (%w)", outbound.Explain(err), err)
	}
	status := new(StatusError)
	invalid := func(field, detail string) error {
		return fmt.Errorf("%w (%w)", knowledge.Invalid(field, "%s, with status %d", detail, status.Status), err)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w (%w)", knowledge.Unavailable("the embedding server did not answer in time"), err)
	case !errors.As(err, &status):
		return fmt.Errorf("%w (%w)", knowledge.Unavailable("the embedding server could not be reached, or its answer was none"), err)
	case status.Status == http.StatusUnauthorized || status.Status == http.StatusForbidden:
		return invalid("api_key", "was refused by the embedding server")
	case status.blamesInput():
		return invalid("model", "or an option was refused by the embedding server")
	case status.Status == http.StatusNotFound || status.Status == http.StatusMethodNotAllowed:
		return invalid("base_url", "has no such model, or no embeddings at this path")
	}
	return fmt.Errorf("%w (%w)", knowledge.Unavailable(fmt.Sprintf("the embedding server answered with status %d", status.Status)), err)
}
