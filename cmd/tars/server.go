package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/tars-project/tars/api"
	"github.com/tars-project/tars/knowledge/audit"
	"github.com/tars-project/tars/knowledge/audit/pgaudit"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/ingest"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/ledger/pgledger"
	"github.com/tars-project/tars/knowledge/pgjobs"
	"github.com/tars-project/tars/knowledge/pgstore"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/recordings/pgrecordings"
	"github.com/tars-project/tars/knowledge/shares"
	"github.com/tars-project/tars/knowledge/shares/pgshares"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/knowledge/tenancy/pgtenancy"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/plugins/pgcatalog"
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
	"github.com/tars-project/tars/vmhost/wasm"
)

// server is everything that a running TARS consists of, wired.
type server struct {
	config *serverConfig
	logger *slog.Logger
	pools  pools
	runner *pgjobs.Runner // background work
	store  *pgstore.Store
	keys   *tenancy.Keys
	ledger *pgledger.Store
	book   *ledger.Book // of what is used, for the ledger

	audit    *pgaudit.Store
	auditLog *audit.Log // of what this process does, for the audit

	recordings *pgrecordings.Store

	directory *tenancy.Recent
	catalog   *plugins.Recent
	embedders *embed.Registry
	shares    *shares.Registry

	host     *vmhost.Host
	cells    *cell.Driver // of the host, for its figures
	loader   *plugins.Loader
	api      *http.Server
	metrics  *http.Server // nil without one
	listener net.Listener
	second   net.Listener // of the metrics; nil without them
}

// pools are the connections to the database, one pool a role.
type pools struct{ app, jobs *pgxpool.Pool }

func (p pools) close() {
	p.app.Close()
	p.jobs.Close()
}

// newServer wires a server and takes its ports. Whatever it started is ended
// again when it returns an error.
func newServer(ctx context.Context, c *serverConfig, s settings, urls databaseURLs, logger *slog.Logger) (srv *server, err error) {
	srv = &server{config: c, logger: logger}
	defer func() {
		if err != nil {
			srv.close(context.WithoutCancel(ctx))
		}
	}()
	if srv.pools, err = urls.open(ctx, s.conns, logger); err != nil {
		return srv, err
	}
	srv.ledger = pgledger.New(srv.pools.app, srv.pools.jobs)
	srv.recordings = pgrecordings.New(srv.pools.app, srv.pools.jobs)
	srv.book = ledger.NewBook(srv.ledger, ledger.Options{Log: logger})
	srv.audit = pgaudit.New(srv.pools.app, srv.pools.jobs)
	srv.auditLog = audit.NewLog(srv.audit, audit.Options{Log: logger})
	if err := srv.startHost(c, s); err != nil {
		return srv, err
	}
	srv.directory = tenancy.NewRecent(pgtenancy.New(srv.pools.app, srv.pools.jobs))
	if srv.keys, err = tenancy.NewKeys(srv.directory, s.ring, s.adminKey); err != nil {
		return srv, err
	}
	if err := srv.openEmbedders(ctx, c, s); err != nil {
		return srv, err
	}
	srv.store = pgstore.New(srv.pools.app, srv.pools.jobs, storeOptions(c))
	srv.shares = shares.NewRegistry(pgshares.New(srv.pools.app, srv.pools.jobs), logger)
	if srv.runner, err = srv.newRunner(c); err != nil {
		return srv, err
	}
	srv.catalog = plugins.NewRecent(pgcatalog.New(srv.pools.app))
	srv.loader = plugins.NewLoader(srv.host, s.defaults, c.PluginsLoaded)
	engine := &query.Engine{
		Store: srv.store, Embedders: srv.embedders, Shares: srv.shares,
		Parallel: fairShare(c.QueryParallel, s.conns), Timeout: c.QueryTimeout, Ledger: srv.book,
	}
	recorder := &plugins.Recorder{Store: srv.recordings, Ring: s.ring, Life: c.RecordingLife, Most: c.RecordingMost}
	runner := &plugins.Runner{
		Catalog: srv.catalog, Loader: srv.loader, Policies: srv.directory, Tier: srv.host.Tier(), REST: api.Guests{Engine: engine},
		Recorder: recorder, Log: logger, Ledger: srv.book,
	}
	engine.Plugins = runner
	writer := &ingest.Writer{Store: srv.store, Embedders: srv.embedders}
	metrics := api.NewMetrics()
	if c.AnswerCache > 0 {
		engine.Answers = query.NewAnswerCache(c.AnswerCache)
		metrics.RegisterAnswers(func() api.AnswerStats { return api.AnswerStats(engine.Answers.Stats()) })
	}
	metrics.RegisterCells(srv.cellStats)
	metrics.RegisterRecall(func() api.RecallStats { return api.RecallStats(srv.store.RecallStats()) })
	metrics.RegisterJobs(srv.jobCounts)
	metrics.RegisterLedger(func() api.LedgerStats { return api.LedgerStats(srv.book.Stats()) })
	metrics.RegisterAudit(func() api.AuditStats { return api.AuditStats(srv.auditLog.Stats()) })
	srv.registerEmbedders(metrics)
	handler, err := api.New(api.Services{
		Keys:        srv.keys,
		Tenants:     srv.keys,
		Collections: srv.store,
		Names:       srv.store,
		Health:      srv.store,
		Records:     srv.store,
		Writer:      writer,
		Importer:    &ingest.Importer{Store: srv.store, Writer: writer},
		Documents:   &ingest.Documents{Store: srv.store, Writer: writer, Extractor: reading{srv.cells}, Chunker: runner},
		Embedders:   srv.embedders,
		Engine:      engine,
		Registry:    &plugins.Registry{Catalog: srv.catalog, Loader: srv.loader, Defaults: s.defaults, WASM: moduleLimits(c)},
		Catalog:     srv.catalog,
		Invoker:     runner,
		Recorder:    recorder,
		Quarantine:  plugins.Quarantine{Host: srv.host},
		Jobs:        pgjobs.New(srv.pools.app),
		Reembedder:  srv,
		Ledger:      srv.ledger,
		Audit:       srv.audit,
		AuditLog:    srv.auditLog,
		Shares:      srv.shares,
	}, api.Options{Log: logger, Metrics: metrics, Checks: srv.readiness(), MaxModule: c.PluginModule})
	if err != nil {
		return srv, err
	}
	return srv, srv.listen(ctx, handler, metrics)
}

// fairShare is how many retrievals of one query run at once: as many as wanted,
// but never more than half of the connections to the database.
func fairShare(wanted, conns int) int { return max(1, min(wanted, conns/2)) }

// storeOptions are the settings of the store.
func storeOptions(c *serverConfig) pgstore.Options {
	rows := c.UnindexedRows
	if rows == 0 {
		rows = -1
	}
	return pgstore.Options{
		Unindexed: pgstore.UnindexedPolicy(c.Unindexed), UnindexedRows: rows,
		RecallShare: c.RecallSample, RecallBudget: c.RecallBudget,
		IndexFrom: c.IndexFrom, IndexMemory: c.IndexMemory, BuildMemory: c.BuildMemory, BuildWorkers: c.BuildWorkers,
	}
}

// startHost starts what runs guests: cells, and the host above them.
func (srv *server) startHost(c *serverConfig, s settings) error {
	driver, err := cell.New(cell.Options{
		MinGrade: s.grade, MaxCells: c.PluginsLoaded + c.PluginBlanks, Blanks: c.PluginBlanks, GuestMemory: c.PluginMemory,
		QuarantineAfter: c.PluginDeaths, IdleTimeout: c.PluginIdle, CompileCPU: c.PluginCompile,
		CacheDir: c.PluginCache, CacheBytes: c.PluginBytes, CacheKey: s.ring.CacheKey(), Logger: srv.logger,
	})
	if err != nil {
		return err
	}
	srv.cells = driver
	srv.host, err = vmhost.New(driver, vmhost.Options{
		Slots: s.slots, PerAccount: s.tenant, Memory: s.memory,
		MaxLimits: s.defaults.Most(),
		WASM:      moduleLimits(c),
		Logger:    srv.logger,
	})
	if err != nil {
		return errors.Join(err, driver.Close())
	}
	return nil
}

// cellStats are the figures of the cells, for the metrics.
func (srv *server) cellStats() api.CellStats {
	s := srv.cells.Stats()
	stats := api.CellStats{
		Cells: s.Cells, Blanks: s.Blanks, Quarantined: s.Quarantined,
		Adoptions: s.Adoptions, ColdStarts: s.ColdStarts, BlankFailures: s.BlankFailures, Deaths: make(map[string]int64, len(s.Deaths)),
	}
	for cause, n := range s.Deaths {
		stats.Deaths[string(cause)] = n
	}
	return stats
}

// moduleLimits are the caps on modules, the same at upload and at each load.
func moduleLimits(c *serverConfig) wasm.Limits {
	limits := wasm.DefaultLimits()
	limits.Size = c.PluginModule
	limits.MemoryPages = uint32(c.PluginMemory >> 16)
	return limits
}

// readiness are the checks of /readyz.
func (srv *server) readiness() []api.Check {
	return []api.Check{
		{Name: "database", Run: func(ctx context.Context) (string, error) {
			_, err := pgstore.Inspect(ctx, srv.pools.app)
			return "", err
		}},
		{Name: "isolation", Run: func(context.Context) (string, error) {
			return srv.host.Tier().String() + " (" + srv.host.Grade() + ")", nil
		}},
	}
}

// listen takes the ports.
func (srv *server) listen(ctx context.Context, handler *api.Server, metrics *api.Metrics) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", srv.config.Listen)
	if err != nil {
		return fmt.Errorf("listen for the API: %w", err)
	}
	srv.listener = api.Listener(l)
	srv.api = api.HTTPServer(handler, srv.logger)
	if srv.config.MetricsListen == "off" {
		return nil
	}
	if srv.second, err = lc.Listen(ctx, "tcp", srv.config.MetricsListen); err != nil {
		return fmt.Errorf("listen for metrics: %w", err)
	}
	srv.metrics = api.HTTPServer(metrics.Handler(), srv.logger)
	return nil
}

// url is where the API answers.
func (srv *server) url() string { return "http://" + srv.listener.Addr().String() }

// run serves until ctx ends, or until beside returns, if it is not nil: beside
// runs once the server answers, and its error is returned. Then the server stops
// taking requests, lets those under way finish, and ends everything it started.
func (srv *server) run(outer context.Context, beside func(context.Context) error) error {
	if err := srv.runner.Start(outer); err != nil {
		srv.close(context.WithoutCancel(outer))
		return err
	}
	g, ctx := errgroup.WithContext(outer)
	serve := func(s *http.Server, l net.Listener) {
		g.Go(func() error {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve: %w", err)
			}
			return nil
		})
	}
	serve(srv.api, srv.listener)
	if srv.metrics != nil {
		serve(srv.metrics, srv.second)
	}
	srv.logger.Info("serving", "url", srv.url(), "isolation", srv.host.Tier().String(), "grade", srv.host.Grade())
	g.Go(func() error {
		srv.store.MeasureRecall(ctx, func(err error) { srv.logger.Warn("background work", "error", err) })
		return nil
	})
	g.Go(func() error { return srv.noteUse(ctx) })
	g.Go(func() error { return srv.tendTouched(ctx) })
	stop := make(chan struct{})
	if beside != nil {
		g.Go(func() error {
			defer close(stop)
			return beside(ctx)
		})
	}
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-stop:
		}
		srv.logger.Info("stopping")
		return srv.shutdown(context.WithoutCancel(ctx))
	})
	err := g.Wait()
	srv.close(context.WithoutCancel(outer))
	if errors.Is(err, errStopped) || outer.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// errStopped ends the group of run when there is nothing wrong.
var errStopped = errors.New("stopped")

// shutdown lets requests and jobs under way finish, within the configured time.
func (srv *server) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, srv.config.StopTimeout)
	defer cancel()
	var background error
	var wait sync.WaitGroup
	wait.Go(func() { background = srv.runner.Stop(ctx) })
	err := srv.api.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests were cut off after %s: %w", srv.config.StopTimeout, err), srv.api.Close())
	}
	if srv.metrics != nil {
		err = errors.Join(err, srv.metrics.Close())
	}
	wait.Wait()
	if err = errors.Join(err, background); err == nil {
		err = errStopped
	}
	return err
}

// close ends what newServer started, in the order that nothing loses what it
// stands on.
func (srv *server) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, l := range []net.Listener{srv.listener, srv.second} {
		if l != nil {
			_ = l.Close() // closed already after Serve
		}
	}
	if srv.loader != nil {
		srv.loader.Close()
	}
	if srv.host != nil {
		if err := srv.host.Close(ctx); err != nil {
			srv.logger.Warn("end cells", "error", err)
		}
	}
	if srv.keys != nil {
		if err := srv.keys.FlushUse(ctx); err != nil {
			srv.logger.Warn("last use of keys", "error", err)
		}
	}
	if srv.directory != nil {
		srv.directory.Close()
	}
	if srv.catalog != nil {
		srv.catalog.Close()
	}
	srv.closeEmbedders()
	if srv.book != nil { // nobody is left who notes
		if err := srv.book.Close(ctx); err != nil {
			srv.logger.Warn("what was used is not all written", "error", err)
		}
	}
	if srv.auditLog != nil { // nobody is left who does anything
		if err := srv.auditLog.Close(ctx); err != nil {
			srv.logger.Warn("the audit log is not all written", "error", err)
		}
	}
	if srv.shares != nil { // nobody is left who reads
		if err := srv.shares.Close(ctx); err != nil {
			srv.logger.Warn("reads of shares are not all written", "error", err)
		}
	}
	if srv.pools.app != nil {
		srv.pools.close()
	}
}
