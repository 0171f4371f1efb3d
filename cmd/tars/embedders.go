package main

import (
	"context"
	"fmt"

	"github.com/tars-project/tars/api"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/embed/local"
	"github.com/tars-project/tars/knowledge/embed/openai"
	"github.com/tars-project/tars/knowledge/embed/pgembed"
)

// openEmbedders makes the embedders that this server offers, and what finds those of
// tenants.
func (srv *server) openEmbedders(ctx context.Context, c *serverConfig, s settings) error {
	node, err := nodeEmbedders(ctx, s)
	if err != nil {
		return err
	}
	parts := embed.Parts{Node: node, Store: pgembed.New(srv.pools.app), Ring: s.ring, Open: openai.Opener(s.outbound), Ledger: srv.book}
	if c.QueryCache > 0 {
		parts.Cache = embed.NewQueryCache(c.QueryCache)
	}
	srv.embedders = embed.NewRegistry(parts)
	return nil
}

// nodeEmbedders are the embedders that every tenant has.
func nodeEmbedders(ctx context.Context, s settings) (*embed.Set, error) {
	builtIn, err := builtInEmbedders()
	if err != nil || s.openai == nil {
		return builtIn, err
	}
	remote, err := openai.New(ctx, *s.openai)
	if err != nil {
		return nil, fmt.Errorf("embedding server: %w", err)
	}
	return builtIn.With(remote)
}

// builtInEmbedders are those that need nothing but this program.
func builtInEmbedders() (*embed.Set, error) {
	fast, err := local.NewFast()
	if err != nil {
		return nil, err
	}
	full, err := local.New(fast)
	if err != nil {
		return nil, err
	}
	return embed.NewSet(full, fast)
}

// registerEmbedders adds the figures of embedders to the metrics.
func (srv *server) registerEmbedders(metrics *api.Metrics) {
	var cache func() embed.CacheStats
	if srv.embedders.Cache != nil {
		cache = srv.embedders.Cache.Stats
	}
	metrics.RegisterEmbedders(srv.embedders.Used, cache)
}

func (srv *server) closeEmbedders() {
	if srv.embedders == nil {
		return
	}
	if srv.embedders.Cache != nil {
		srv.embedders.Cache.Close()
	}
	srv.embedders.Close()
}
