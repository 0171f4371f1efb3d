// Package api serves TARS over HTTP, as openapi.yaml says. It knows HTTP and
// nothing else: it finds out who asks, checks and decodes the request, calls the
// domain, and turns what comes back, errors too, into JSON.
//
// A request passes, in this order: [Server.observe] (request id, log, metrics,
// panics, and errors in errors.go), the router, and then, for each operation of
// openapi.yaml, [Server.guard]: authentication before anything of the body is
// read, parameters, the body's type and size, deadlines. Package oapi, which is
// generated, calls the handler, for which package body reads the body.
//
// What it leaves to others: listening and stopping (cmd/tars), and all rules about
// what is stored and who is who (packages knowledge, plugins and tenancy).
package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tars-project/tars/api/oapi"
)

// Services are what the handlers need of the rest. Every field must be set.
type Services struct {
	Keys        authenticator  // tenancy.Keys
	Tenants     tenants        // tenancy.Keys
	Collections collections    // a knowledge.Store
	Names       names          // a knowledge.Store
	Health      healths        // that of the store
	Records     records        // a knowledge.Store
	Writer      writer         // ingest.Writer
	Importer    importer       // ingest.Importer
	Documents   documents      // ingest.Documents
	Embedders   embedders      // embed.Registry
	Engine      engine         // query.Engine
	Shares      sharing        // shares.Registry
	Catalog     catalog        // a plugins.Catalog
	Registry    registry       // plugins.Registry
	Invoker     invoker        // plugins.Runner
	Recorder    recordingStore // plugins.Recorder
	Quarantine  quarantine     // plugins.Quarantine
	Jobs        background     // pgjobs.Jobs
	Reembedder  reembedder     // the server, which enqueues
	Ledger      ledgerReader   // a ledger.Store
	Audit       auditReader    // an audit.Store
	AuditLog    auditLog       // audit.Log
}

// Options are the settings of a [Server]. The zero value is good.
type Options struct {
	Log     *slog.Logger // nil means slog.Default()
	Metrics *Metrics     // nil means that nothing is counted
	Checks  []Check      // what /readyz runs
	// MaxModule is the most bytes of an uploaded module; 0 means 32 MiB.
	MaxModule int64
	// Heartbeat is how often a stream without news says that it lives; 0 means 15 s.
	Heartbeat time.Duration
}

// Server answers the requests of openapi.yaml. It is safe for concurrent use.
type Server struct {
	services   Services
	log        *slog.Logger
	metrics    *Metrics
	checks     []Check
	maxModule  int64
	operations map[string]*operation // by operationId
	exports    *slots
	imports    *slots
	documents  *slots
	heartbeat  time.Duration
	streams    *streams
	tools      []tool
	echo       *echo.Echo
}

// New returns a server. It returns an error only when openapi.yaml and this
// package do not fit together.
func New(services Services, options Options) (*Server, error) {
	s := &Server{
		services: services, log: options.Log, metrics: options.Metrics,
		checks: options.Checks, maxModule: options.MaxModule, heartbeat: options.Heartbeat, streams: newStreams(), echo: echo.New(),
	}
	s.exports, s.imports = newSlots(maxExports, maxExportsEach, "exports"), newSlots(maxImports, maxImportsEach, "imports")
	s.documents = newSlots(maxDocuments, maxDocumentsEach, "documents")
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.maxModule == 0 {
		s.maxModule = 32 << 20
	}
	if s.heartbeat == 0 {
		s.heartbeat = 15 * time.Second
	}
	document := oapi.Document()
	var err error
	if s.operations, err = operationsOf(document, s.maxModule); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	if s.tools, err = s.newTools(document); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	s.routes(document)
	return s, nil
}

func (s *Server) routes(document []byte) {
	guards := make(map[string][]echo.MiddlewareFunc, len(s.operations))
	for id, op := range s.operations {
		guards[id] = []echo.MiddlewareFunc{s.guard(op)}
	}
	s.echo.Binder = binder{}
	s.echo.HTTPErrorHandler = s.fail
	s.echo.Use(s.observe)
	handler := oapi.NewStrictHandler(s, nil)
	oapi.RegisterHandlersWithOptions(s.echo, handler, oapi.RegisterHandlersOptions{OperationMiddlewares: guards})
	s.routeDocs(document, guards)
	s.routeMCP(guards)
}

// ServeHTTP answers one request. HEAD takes the way of GET; net/http drops the
// body, for it looks at the request that it made itself.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		r = r.WithContext(r.Context())
		r.Method = http.MethodGet
	}
	s.echo.ServeHTTP(w, r)
}
