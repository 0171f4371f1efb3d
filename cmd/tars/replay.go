package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/plugins/memcatalog"
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
	"github.com/tars-project/tars/vmhost/wasm"
)

type pluginReplay struct {
	Recording string `arg:"" help:"The recording: a file, or the id of a call (call_…), which is fetched from the server."`
	Module    string `default:"plugin.wasm" placeholder:"FILE" help:"The module to run it with."`
	Save      string `placeholder:"FILE" help:"Keep the fetched recording in this file; it holds texts of the tenant's."`
	Server    string `env:"TARS_SERVER" default:"http://127.0.0.1:8080" placeholder:"URL" help:"The server to fetch from."`
	Key       string `env:"TARS_KEY" placeholder:"KEY" help:"API key of the tenant, to fetch with."`
	MinGrade  string `env:"TARS_MIN_GRADE" default:"jail-lite" placeholder:"GRADE" help:"Weakest isolation to run it in: jail-lite (no namespaces), jail, or jail+cgroup."`
}

// maxReplay bounds what a replay on this machine may take: more than servers allow.
const maxReplay = time.Minute

// errDiffers is the error of a replay that gave something else.
var errDiffers = errors.New("the replay differs from the recording")

// Run carries out the command.
func (c *pluginReplay) Run(ctx context.Context, w *world) error {
	document, err := c.read(ctx)
	if err != nil {
		return err
	}
	recording, err := plugins.ParseRecording(document)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Recording, err)
	}
	module, err := os.ReadFile(c.Module)
	if err != nil {
		return fmt.Errorf("the module: %w; name it with --module", err)
	}
	replayed, err := c.replay(ctx, recording, module)
	if err != nil {
		return err
	}
	if err := printReplay(w.stdout, recording, replayed); err != nil {
		return err
	}
	if !replayed.Same {
		return errDiffers
	}
	return nil
}

// read returns the recording's document.
func (c *pluginReplay) read(ctx context.Context) ([]byte, error) {
	id, err := ledger.ParseID(c.Recording)
	if err != nil { // a file
		return os.ReadFile(c.Recording)
	}
	if c.Key == "" {
		return nil, errors.New("--key: is missing; a recording is fetched with it")
	}
	var document json.RawMessage
	if _, err := (remote{c.Server, c.Key}).client().Do(ctx, http.MethodGet, "/v1/calls/"+string(id)+"/recording", nil, &document); err != nil {
		return nil, err
	}
	if c.Save != "" {
		if err := os.WriteFile(c.Save, document, 0o600); err != nil {
			return nil, err
		}
	}
	return document, nil
}

// alone is a tenant without limits of its own, for what runs on this machine for its
// owner.
type alone struct{}

func (alone) Tenant(_ context.Context, id knowledge.TenantID) (tenancy.Tenant, error) {
	return tenancy.Tenant{ID: id}, nil
}

// replay runs a recorded call with a module in a cell of its own.
func (c *pluginReplay) replay(ctx context.Context, recording plugins.Recording, module []byte) (replayed plugins.Replayed, err error) {
	grade, err := cell.ParseGrade(c.MinGrade)
	if err != nil {
		return replayed, fmt.Errorf("--min-grade: %w", err)
	}
	manifest, err := plugins.ParseManifest(recording.Manifest)
	if err != nil {
		return replayed, err
	}
	defaults := callDefaults(&serverConfig{PluginMemory: 1 << 30, PluginWall: 2 * maxReplay, PluginMaxWall: 2 * maxReplay})
	driver, err := cell.New(cell.Options{MinGrade: grade, MaxCells: 2, GuestMemory: 1 << 30, CompileCPU: maxReplay})
	if err != nil {
		return replayed, err
	}
	host, err := vmhost.New(driver, vmhost.Options{Slots: 1, MaxLimits: defaults.Most()})
	if err != nil {
		return replayed, errors.Join(err, driver.Close())
	}
	defer func() { err = errors.Join(err, host.Close(context.WithoutCancel(ctx))) }()
	catalog, loader := new(memcatalog.Catalog), plugins.NewLoader(host, defaults, 1)
	defer loader.Close()
	const owner = knowledge.TenantID("local")
	limits := wasm.DefaultLimits()
	registry := &plugins.Registry{Catalog: catalog, Loader: loader, Defaults: defaults, WASM: limits}
	version, _, err := registry.Upload(ctx, owner, tenancy.Policy{}, manifest, module)
	if err != nil {
		return replayed, err
	}
	runner := &plugins.Runner{Catalog: catalog, Loader: loader, Policies: alone{}, Tier: host.Tier()}
	return runner.Replay(ctx, owner, recording, &plugins.Ref{Number: version.Number})
}

// printReplay tells what a replay gave.
func printReplay(to io.Writer, recording plugins.Recording, r plugins.Replayed) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s of plugin %q, %s, recorded %s with version %d\n", recording.Call, recording.Plugin, recording.Capability, recording.Recorded.Format("2006-01-02 15:04:05Z"), recording.Version)
	if r.Version.Digest.String() == recording.Digest {
		fmt.Fprintln(&b, "the module is that of the recording")
	} else {
		fmt.Fprintln(&b, "the module is another than that of the recording")
	}
	for _, o := range []struct {
		name string
		plugins.RecordedOutcome
	}{{"before", r.Before}, {"after", r.After}} {
		fmt.Fprintf(&b, "%-7s %-10s fuel %d, %.1f ms in the VM, %d bytes out", o.name, o.Outcome, o.Fuel, float64(o.VM)/1000, len(o.Output))
		if o.Detail != "" {
			fmt.Fprintf(&b, ": %s", o.Detail)
		}
		fmt.Fprintln(&b)
		for _, line := range o.Logs {
			fmt.Fprintf(&b, "        log: %s\n", line)
		}
	}
	if r.Diverged >= 0 {
		fmt.Fprintf(&b, "it asked its host for something else from host call %d on\n", r.Diverged)
	}
	for _, d := range r.Output {
		fmt.Fprintf(&b, "%q: %s, now %s\n", d.Pointer, orNothing(d.Before), orNothing(d.After))
	}
	if r.Same {
		fmt.Fprintln(&b, "the same")
	}
	_, err := to.Write(b.Bytes())
	return err
}

func orNothing(value []byte) string {
	if value == nil {
		return "nothing"
	}
	return string(value)
}
