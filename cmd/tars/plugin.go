package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/plugins/sdk"
)

type pluginCommand struct {
	New    pluginNew    `cmd:"" help:"Write a small plugin in Go to start from."`
	Build  pluginBuild  `cmd:"" help:"Compile a plugin in Go to WebAssembly."`
	Push   pluginPush   `cmd:"" help:"Upload a plugin as a new version."`
	Invoke pluginInvoke `cmd:"" help:"Call a plugin directly."`
	Replay pluginReplay `cmd:"" help:"Run a recorded call again on this machine, and show what differs."`
}

// remote says which server to ask, as whom.
type remote struct {
	Server string `env:"TARS_SERVER" default:"http://127.0.0.1:8080" placeholder:"URL" help:"The server."`
	Key    string `env:"TARS_KEY" required:"" placeholder:"KEY" help:"API key of the tenant."`
}

func (r remote) client() *rest.Client { return rest.New(r.Server, r.Key) }

// starter is what a new plugin consists of.
//
//go:embed starter/*.tmpl
var starter embed.FS

type pluginNew struct {
	Dir        string `arg:"" help:"Folder to make; its last element names the plugin."`
	Capability string `enum:"rank,merge,guard" default:"rank" help:"What it is to do: ${enum}."`
}

// starters say what each plugin to start from does.
func starters() map[plugins.Capability]string {
	return map[plugins.Capability]string{
		plugins.Rank:  "Puts candidates that hold more of the question's words first.",
		plugins.Merge: "Fuses what the legs of a query found by the places that candidates have.",
		plugins.Guard: "Refuses questions that hold a word, and masks it in what was found.",
	}
}

func (c *pluginNew) Run(w *world) error {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return err
	}
	name, err := plugins.ParseName(filepath.Base(dir))
	if err != nil {
		return fmt.Errorf("the folder's name names the plugin, but it %w", err)
	}
	files, err := starterFiles(name, plugins.Capability(c.Capability))
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("%s is there already; need a folder that is not", c.Dir)
	}
	for file, data := range files {
		target := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, data, 0o644); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(w.stdout, "wrote %[1]s: main.go, plugin.json and the SDK (tars/)\nnext: tars plugin build %[1]s && tars plugin push %[1]s\n", c.Dir)
	return err
}

// starterFiles are the files of a new plugin: a module of its own with the SDK in
// it, so that it builds anywhere, offline.
func starterFiles(name plugins.Name, capability plugins.Capability) (map[string][]byte, error) {
	files := map[string][]byte{}
	fill := strings.NewReplacer("PLUGIN_NAME", string(name), "PLUGIN_CAPABILITY", string(capability), "PLUGIN_DESCRIPTION", starters()[capability])
	for file, template := range map[string]string{"main.go": string(capability) + ".go", "plugin.json": "plugin.json", "go.mod": "go.mod"} {
		data, err := starter.ReadFile("starter/" + template + ".tmpl")
		if err != nil {
			return nil, err
		}
		files[file] = []byte(fill.Replace(string(data)))
	}
	sources, err := sdk.Go()
	if err != nil {
		return nil, err
	}
	for file, data := range sources {
		files[filepath.Join("tars", file)] = data
	}
	return files, nil
}

type pluginBuild struct {
	Dir string `arg:"" default:"." help:"Folder of the plugin's main package."`
	Out string `short:"o" placeholder:"FILE" help:"The module; default: plugin.wasm in that folder."`
}

func (c *pluginBuild) Run(ctx context.Context, w *world) error {
	manifest, _, err := readManifest(c.Dir)
	if err != nil {
		return err
	}
	out := c.Out
	if out == "" {
		out = filepath.Join(c.Dir, "plugin.wasm")
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, ".")
	build.Dir = c.Dir
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	build.Stdout, build.Stderr = w.stderr, w.stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	info, err := os.Stat(out)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.stdout, "%s: plugin %q, %.1f MB\n", out, manifest.Name, float64(info.Size())/1e6)
	return err
}

// readManifest reads and checks the plugin.json of a folder.
func readManifest(dir string) (plugins.Manifest, []byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, "plugin.json"))
	if err != nil {
		return plugins.Manifest{}, nil, err
	}
	m, err := plugins.ParseManifest(data)
	return m, data, err
}

type pluginPush struct {
	remote
	Dir    string `arg:"" default:"." help:"Folder with plugin.json and the module."`
	Module string `placeholder:"FILE" help:"The module; default: plugin.wasm in that folder."`
	Alias  string `default:"live" placeholder:"NAME" help:"Make this alias name the version; empty for none."`
}

func (c *pluginPush) Run(ctx context.Context, w *world) error {
	manifest, data, err := readManifest(c.Dir)
	if err != nil {
		return err
	}
	file := c.Module
	if file == "" {
		file = filepath.Join(c.Dir, "plugin.wasm")
	}
	module, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w; run tars plugin build %s", err, c.Dir)
	}
	if err != nil {
		return err
	}
	path := "/v1/plugins/" + string(manifest.Name)
	var v struct {
		Version int    `json:"version"`
		Digest  string `json:"digest"`
	}
	status, err := c.client().Upload(ctx, path+"/versions", data, module, &v)
	if err != nil {
		return err
	}
	word := "is there already as"
	if status == http.StatusCreated {
		word = "uploaded as"
	}
	fmt.Fprintf(w.stdout, "plugin %q %s version %d, %s\n", manifest.Name, word, v.Version, v.Digest)
	if c.Alias == "" {
		return nil
	}
	if _, err := c.client().Do(ctx, http.MethodPut, path+"/aliases/"+c.Alias, map[string]any{"version": v.Version}, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.stdout, "alias %q names version %d\n", c.Alias, v.Version)
	return err
}

type pluginInvoke struct {
	remote
	Name       string `arg:"" help:"The plugin; NAME or NAME@VERSION, where VERSION is an alias, a number or sha256:…"`
	Capability string `arg:"" help:"What to call it for, such as rank."`
	Input      string `placeholder:"FILE" help:"File with the input, one JSON value; default: standard input."`
}

func (c *pluginInvoke) Run(ctx context.Context, w *world) error {
	var input []byte
	var err error
	if c.Input == "" {
		input, err = io.ReadAll(w.stdin)
	} else {
		input, err = os.ReadFile(c.Input)
	}
	if err != nil {
		return err
	}
	if !json.Valid(input) {
		return errors.New("the input is not JSON")
	}
	name, version, _ := strings.Cut(c.Name, "@")
	request := map[string]any{"capability": c.Capability, "input": json.RawMessage(input)}
	if version != "" {
		request["version"] = version
	}
	var out json.RawMessage
	if _, err := c.client().Do(ctx, http.MethodPost, "/v1/plugins/"+name+"/invoke", request, &out); err != nil {
		return err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, out, "", "  "); err != nil {
		return fmt.Errorf("answer: %w at %s", err, strconv.Itoa(len(out)))
	}
	_, err = fmt.Fprintln(w.stdout, pretty.String())
	return err
}
