package main

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/tars-project/tars/knowledge/embed/openai"
	"github.com/tars-project/tars/knowledge/embed/outbound"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost/cell"
)

// serverConfig is the configuration of a server, whoever starts it.
type serverConfig struct {
	Listen        string `env:"TARS_LISTEN" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where the API listens; port 0 takes a free one."`
	MetricsListen string `env:"TARS_METRICS_LISTEN" default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"Where /metrics listens, without authentication; \"off\" for nowhere."`

	AdminKey     string `env:"TARS_ADMIN_KEY" placeholder:"KEY" help:"The operator's token, at least 32 characters. Prefer the file."`
	AdminKeyFile string `env:"TARS_ADMIN_KEY_FILE" placeholder:"FILE" help:"File with the operator's token."`
	KEK          string `env:"TARS_KEK" placeholder:"BASE64" help:"Key-encryption keys, 32 bytes each in base64, comma between; the first is in use. Prefer the file."`
	KEKFile      string `env:"TARS_KEK_FILE" placeholder:"FILE" help:"File with the key-encryption keys, one a line; the first is in use."`

	DatabaseConns int           `env:"TARS_DATABASE_CONNS" default:"0" placeholder:"N" help:"Connections to the database; 0 means four for each core, at least 8."`
	QueryTimeout  time.Duration `env:"TARS_QUERY_TIMEOUT" default:"10s" help:"Deadline of a query that gives none, up to 60s."`
	QueryParallel int           `env:"TARS_QUERY_PARALLEL" default:"8" placeholder:"N" help:"Retrievals of one query at once; never more than half of the connections to the database."`
	Unindexed     string        `env:"TARS_UNINDEXED" default:"mark" enum:"mark,refuse" help:"A filter that looks at many records for a field that the collection does not declare: mark it in the plan, or refuse it."`
	UnindexedRows int64         `env:"TARS_UNINDEXED_ROWS" default:"100000" placeholder:"N" help:"How many records are many."`
	RecallSample  float64       `env:"TARS_RECALL_SAMPLE" default:"0.01" placeholder:"SHARE" help:"Share of searches by an index that are carried out once more exactly, in the background, to measure recall; 0 for none."`
	RecallBudget  time.Duration `env:"TARS_RECALL_BUDGET" default:"50ms" help:"Time of the database that measuring recall may take in a second."`
	IndexFrom     int64         `env:"TARS_INDEX_FROM" default:"4194304" placeholder:"BYTES" help:"Vectors of a collection from which it gets an index, if its definition leaves that to us."`
	IndexMemory   int64         `env:"TARS_INDEX_MEMORY" default:"0" placeholder:"BYTES" help:"The largest vector index of one collection, by estimate; 0 for no bound."`
	BuildMemory   int64         `env:"TARS_BUILD_MEMORY" default:"536870912" placeholder:"BYTES" help:"Memory of the database server for one index build."`
	BuildWorkers  int           `env:"TARS_BUILD_WORKERS" default:"1" placeholder:"N" help:"Processes of the database server that help with one index build; -1 for none."`
	JobWorkers    int           `env:"TARS_JOB_WORKERS" default:"4" placeholder:"N" help:"Background jobs at once on this node."`
	AnswerCache   int64         `name:"answer-cache-bytes" env:"TARS_ANSWER_CACHE_BYTES" default:"33554432" placeholder:"BYTES" help:"Most bytes of kept answers to queries, of collections that have a cache; 0 for none."`
	RecordingLife time.Duration `env:"TARS_RECORDING_LIFE" default:"24h" help:"How long a recording of a plugin call is kept, which POST /v1/calls/{call}/replay runs again; 1m to 720h."`
	RecordingMost int64         `name:"recording-bytes" env:"TARS_RECORDING_BYTES" default:"268435456" placeholder:"BYTES" help:"Most bytes of a tenant's recordings; the oldest go."`
	CallsKept     time.Duration `name:"calls-retention" env:"TARS_CALLS_RETENTION" default:"720h" help:"How long each call of a plugin is kept, which GET /v1/calls shows; at least 1h. Sums of usage are kept for ever."`
	AuditKept     time.Duration `name:"audit-retention" env:"TARS_AUDIT_RETENTION" default:"9600h" help:"How long events of the audit log are kept, 400 days by default; at least 24h."`
	StopTimeout   time.Duration `env:"TARS_STOP_TIMEOUT" default:"10s" help:"How long requests under way may take after SIGTERM, and background jobs half of it; these go on elsewhere."`

	MinGrade      string        `env:"TARS_MIN_GRADE" default:"jail" placeholder:"GRADE" help:"Weakest isolation of plugins to start with: jail-lite (no namespaces), jail, or jail+cgroup."`
	PluginSlots   int           `env:"TARS_PLUGIN_SLOTS" default:"0" placeholder:"N" help:"Plugin calls at once on this node; 0 means eight for each core."`
	PluginTenant  int           `name:"plugin-tenant-slots" env:"TARS_PLUGIN_TENANT_SLOTS" default:"0" placeholder:"N" help:"Plugin calls at once of one tenant; 0 means half of the node's."`
	PluginsLoaded int           `env:"TARS_PLUGINS_LOADED" default:"64" placeholder:"N" help:"Plugin versions kept ready; the one not used longest gives way."`
	PluginIdle    time.Duration `env:"TARS_PLUGIN_IDLE" default:"60s" help:"How long a cell without calls is kept."`
	PluginBlanks  int           `env:"TARS_PLUGIN_BLANKS" default:"2" placeholder:"N" help:"Sealed cells kept ready for the next plugin; 0 for none."`
	PluginDeaths  int           `env:"TARS_PLUGIN_DEATHS" default:"5" placeholder:"N" help:"Cells in a row that a plugin may kill before it is not run any more."`
	PluginWall    time.Duration `env:"TARS_PLUGIN_WALL" default:"2s" help:"Wall-clock limit of a call whose manifest names none."`
	PluginMaxWall time.Duration `env:"TARS_PLUGIN_MAX_WALL" default:"30s" help:"Longest wall-clock limit that a manifest may ask for."`
	PluginMemory  int64         `name:"plugin-max-memory" env:"TARS_PLUGIN_MAX_MEMORY" default:"268435456" placeholder:"BYTES" help:"Most linear memory that a manifest may ask for; a multiple of 65536."`
	PluginCache   string        `name:"plugin-cache-dir" env:"TARS_CACHE_DIR" placeholder:"DIR" help:"Where compiled plugins are kept for the next start; this user's alone. Default: a temporary folder for each run; for dev, a folder of its data."`
	PluginBytes   int64         `name:"plugin-cache-bytes" env:"TARS_CACHE_BYTES" default:"1073741824" placeholder:"BYTES" help:"Most bytes of compiled plugins; those not used longest go."`
	PluginCompile time.Duration `name:"plugin-compile-cpu" env:"TARS_PLUGIN_COMPILE_CPU" default:"5s" help:"Most CPU time to compile a plugin; one that takes more is refused."`
	PluginFuel    int64         `env:"TARS_PLUGIN_FUEL" default:"0" placeholder:"N" help:"Fuel of a call whose manifest names none; 0 means 10 for each nanosecond of its wall-clock limit."`
	PluginMaxFuel int64         `env:"TARS_PLUGIN_MAX_FUEL" default:"0" placeholder:"N" help:"Most fuel that a manifest may ask for; 0 means 10 for each nanosecond of the longest wall-clock limit."`
	PluginNode    int64         `name:"plugin-node-memory" env:"TARS_PLUGIN_NODE_MEMORY" default:"0" placeholder:"BYTES" help:"Most memory that all plugin calls together may come to need; calls beyond it wait. 0 means half of the machine's, or of the container's."`
	PluginModule  int64         `name:"plugin-max-module" env:"TARS_PLUGIN_MAX_MODULE" default:"33554432" placeholder:"BYTES" help:"Largest module."`

	OpenAIURL        string `name:"openai-url" env:"TARS_OPENAI_URL" placeholder:"URL" help:"Base of an OpenAI-compatible embedding server, such as http://127.0.0.1:8000/v1; offers the embedder \"openai\"."`
	OpenAIKey        string `name:"openai-key" env:"TARS_OPENAI_KEY" placeholder:"KEY" help:"Its bearer token."`
	OpenAIModel      string `name:"openai-model" env:"TARS_OPENAI_MODEL" placeholder:"NAME" help:"Its model."`
	OpenAIDimensions int    `name:"openai-dimensions" env:"TARS_OPENAI_DIMENSIONS" placeholder:"N" help:"Dimensions to ask it for; 0 leaves it to the model."`
	EmbedderHosts    string `name:"embedder-hosts" env:"TARS_EMBEDDER_HOSTS" placeholder:"LIST" help:"Where tenants' embedding servers may be besides public addresses: hosts, addresses and networks with commas between, such as ollama.internal:11434,10.1.0.0/16; these by http too. Default: nowhere."`
	QueryCache       int64  `name:"query-cache-bytes" env:"TARS_QUERY_CACHE_BYTES" default:"33554432" placeholder:"BYTES" help:"Most bytes of remembered vectors of questions; 0 for none."`

	LogLevel  slog.Level `env:"TARS_LOG_LEVEL" default:"${loglevel=info}" placeholder:"LEVEL" help:"debug, info (one line a request), warn or error."`
	LogFormat string     `env:"TARS_LOG_FORMAT" default:"text" enum:"text,json" help:"text or json."`
}

// settings are what the configuration means, checked.
type settings struct {
	adminKey string
	ring     *tenancy.Ring
	grade    cell.Grade
	conns    int
	slots    int
	tenant   int
	memory   int64 // of all plugin calls
	defaults plugins.Defaults
	openai   *openai.Config  // nil without one
	outbound outbound.Policy // of tenants' embedding servers
}

// settings checks the configuration and tells every problem at once.
func (c *serverConfig) settings() (settings, error) {
	var p problems
	var s settings
	var err error
	if s.adminKey, err = valueOrFile(c.AdminKey, c.AdminKeyFile); err != nil {
		p.add("admin-key", "%v", err)
	} else if len(s.adminKey) < tenancy.MinAdminKey {
		p.add("admin-key", "has %d characters; need at least %d (try: openssl rand -hex 32)", len(s.adminKey), tenancy.MinAdminKey)
	}
	if s.ring, err = c.ring(); err != nil {
		p.add("kek", "%v", err)
	}
	if s.grade, err = cell.ParseGrade(c.MinGrade); err != nil {
		p.add("min-grade", "%v", err)
	}
	for _, n := range []struct {
		flag          string
		value         int
		least, atMost int
	}{
		{"database-conns", c.DatabaseConns, 0, 1000},
		{"query-parallel", c.QueryParallel, 1, 64},
		{"job-workers", c.JobWorkers, 1, 100},
		{"plugin-slots", c.PluginSlots, 0, 10_000},
		{"plugin-tenant-slots", c.PluginTenant, 0, 10_000},
		{"plugins-loaded", c.PluginsLoaded, 1, 10_000},
		{"plugin-blanks", c.PluginBlanks, 0, 1000},
		{"plugin-deaths", c.PluginDeaths, 1, 1000},
	} {
		if n.value < n.least || n.value > n.atMost {
			p.add(n.flag, "is %d; need %d to %d", n.value, n.least, n.atMost)
		}
	}
	if !(c.RecallSample >= 0 && c.RecallSample <= 1) {
		p.add("recall-sample", "is %g; need 0 to 1", c.RecallSample)
	}
	if c.RecordingLife < time.Minute || c.RecordingLife > 30*24*time.Hour {
		p.add("recording-life", "is %s; need 1m to 720h", c.RecordingLife)
	}
	if c.RecordingMost < 1 {
		p.add("recording-bytes", "is %d; need at least 1", c.RecordingMost)
	}
	if c.CallsKept < time.Hour || c.CallsKept > 10*365*24*time.Hour {
		p.add("calls-retention", "is %s; need 1h to 87600h, ten years", c.CallsKept)
	}
	if c.AuditKept < 24*time.Hour || c.AuditKept > 100*365*24*time.Hour {
		p.add("audit-retention", "is %s; need 24h to 876000h, a hundred years", c.AuditKept)
	}
	if c.UnindexedRows < 0 {
		p.add("unindexed-rows", "is %d; need 0 or more", c.UnindexedRows)
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
		most  time.Duration
	}{
		{"query-timeout", c.QueryTimeout, query.MaxTimeout},
		{"stop-timeout", c.StopTimeout, time.Hour},
		{"recall-budget", c.RecallBudget, time.Second},
		{"plugin-idle", c.PluginIdle, 24 * time.Hour},
		{"plugin-max-wall", c.PluginMaxWall, 10 * time.Minute},
		{"plugin-compile-cpu", c.PluginCompile, 10 * time.Minute},
		{"plugin-wall", c.PluginWall, c.PluginMaxWall},
	} {
		if d.value <= 0 || d.value > d.most {
			p.add(d.flag, "is %s; need more than 0, up to %s", d.value, d.most)
		}
	}
	if c.PluginMemory < 1<<20 || c.PluginMemory > 4<<30 || c.PluginMemory%(64<<10) != 0 {
		p.add("plugin-max-memory", "is %d; need a multiple of 65536 from 1 MiB to 4 GiB", c.PluginMemory)
	}
	if c.PluginFuel < 0 {
		p.add("plugin-fuel", "is %d; need 1 or more, or 0 for the default", c.PluginFuel)
	}
	if c.PluginMaxFuel < 0 || c.PluginMaxFuel > 0 && c.PluginMaxFuel < c.PluginFuel {
		p.add("plugin-max-fuel", "is %d; need --plugin-fuel or more, or 0 for the default", c.PluginMaxFuel)
	}
	if c.PluginModule < 1 || c.PluginModule > 128<<20 {
		p.add("plugin-max-module", "is %d; need 1 to %d", c.PluginModule, 128<<20)
	}
	if c.PluginBytes < 1<<20 || c.PluginBytes > 1<<50 {
		p.add("plugin-cache-bytes", "is %d; need 1 MiB to 1 PiB", c.PluginBytes)
	}
	if c.OpenAIURL != "" {
		s.openai = &openai.Config{BaseURL: c.OpenAIURL, APIKey: c.OpenAIKey, Model: c.OpenAIModel, Dimensions: c.OpenAIDimensions}
		if c.OpenAIModel == "" {
			p.add("openai-model", "is missing; --openai-url needs it")
		}
	}
	if s.outbound, err = outbound.Parse(c.EmbedderHosts); err != nil {
		p.add("embedder-hosts", "%v", err)
	}
	if c.QueryCache < 0 || c.QueryCache > 1<<40 {
		p.add("query-cache-bytes", "is %d; need 0 to %d", c.QueryCache, int64(1<<40))
	}
	s.derive(c)
	if s.memory, err = c.nodeMemory(); err != nil {
		p.add("plugin-node-memory", "is not given, and %v", err)
	} else if need := s.defaults.Most().Reservation(); s.memory < need {
		p.add("plugin-node-memory", "is %d; need %d for one call of --plugin-max-memory with its stack and tables", s.memory, need)
	}
	return s, p.err()
}

// nodeMemory is the memory for all plugin calls.
func (c *serverConfig) nodeMemory() (int64, error) {
	if c.PluginNode != 0 {
		return c.PluginNode, nil
	}
	all, err := machineMemory()
	return all / 2, err
}

// derive fills in what follows from the configuration and the machine.
func (s *settings) derive(c *serverConfig) {
	cores := runtime.GOMAXPROCS(0)
	s.conns, s.slots, s.tenant = c.DatabaseConns, c.PluginSlots, c.PluginTenant
	if s.conns == 0 {
		s.conns = max(8, 4*cores)
	}
	if s.slots == 0 {
		s.slots = 8 * cores
	}
	if s.tenant == 0 {
		s.tenant = max(1, s.slots/2)
	}
	s.defaults = callDefaults(c)
}

// callDefaults are the caps of plugin calls.
func callDefaults(c *serverConfig) plugins.Defaults {
	return plugins.Defaults{
		Memory: min(64<<20, c.PluginMemory), MaxMemory: c.PluginMemory,
		Wall: c.PluginWall, MaxWall: c.PluginMaxWall,
		Input:  16 << 20, // 200 candidates with a megabyte of text each are refused, 200 usual ones pass
		Output: 1 << 20, MaxOutput: 8 << 20,
		Logs: 16 << 10,
		Fuel: c.PluginFuel, MaxFuel: c.PluginMaxFuel,
		HostCalls: 100, MaxHostCalls: 1000,
	}
}

// ring reads the key-encryption keys.
func (c *serverConfig) ring() (*tenancy.Ring, error) {
	text, err := valueOrFile(c.KEK, c.KEKFile)
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' || r == ' ' || r == '\r' }) {
		key, err := base64.StdEncoding.DecodeString(word)
		if err != nil {
			return nil, fmt.Errorf("key %d is not base64 (try: openssl rand -base64 32)", len(keys)+1)
		}
		keys = append(keys, key)
	}
	return tenancy.NewRing(keys...)
}

// valueOrFile returns value, or the content of the file without white space
// around it.
func valueOrFile(value, file string) (string, error) {
	switch {
	case value != "" && file != "":
		return "", fmt.Errorf("is given, and so is its file; need one of them")
	case file == "":
		return value, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(data)), nil
}

// logger makes the log of the configuration's format and level.
func (c *serverConfig) logger(w *world) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w.stderr, options))
	}
	return slog.New(slog.NewTextHandler(w.stderr, options))
}
