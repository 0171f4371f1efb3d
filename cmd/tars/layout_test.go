package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tars-project/tars/"

// mayImport is the map of design: which top folder may import which others of
// ours. cmd may import all.
var mayImport = map[string][]string{
	"knowledge": {}, "vmhost": {}, "migrations": {},
	"plugins": {"knowledge", "vmhost"},
	"api":     {"knowledge", "plugins", "vmhost"}, // vmhost for its kinds of error alone
}

// homes are the folders that may import a foreign package; tests of them too.
var homes = map[string][]string{
	"github.com/labstack/echo/":         {"api"},
	"github.com/maypok86/otter/":        {"knowledge/recent"},
	"github.com/jackc/pgx/":             {"knowledge/pgtx", "knowledge/pgstore", "knowledge/embed/pgembed", "knowledge/audit/pgaudit", "knowledge/ledger/pgledger", "knowledge/pgjobs", "knowledge/shares/pgshares", "knowledge/tenancy/pgtenancy", "knowledge/recordings/pgrecordings", "plugins/pgcatalog", "migrations", "cmd/tars"},
	"github.com/pgvector/":              {"knowledge/pgstore"},
	"github.com/tetratelabs/wazero":     {"vmhost/wazerovm"},
	"github.com/golang-migrate/":        {"migrations"},
	"github.com/riverqueue/":            {"knowledge/pgjobs", "knowledge/shares/pgshares", "migrations"}, // who runs jobs, and who makes its tables
	"github.com/testcontainers/":        {"migrations/pgtest"},
	"github.com/alecthomas/kong":        {"cmd/tars"},
	"github.com/getkin/kin-openapi/":    {"api"},
	"github.com/oapi-codegen/":          {"api"},
	"github.com/prometheus/":            {"api"},
	"github.com/landlock-lsm/":          {"vmhost/cell"},
	"golang.org/x/sys/":                 {"vmhost/cell", "vmhost/wazerovm", "migrations/pglocal", "migrations/pgtest", "knowledge/embed/local/internal/gemm"},
	"github.com/go-json-experiment/":    {"api", "plugins"},
	"github.com/sony/gobreaker/":        {"knowledge/embed/openai"},
	"github.com/kljensen/snowball":      {"knowledge/embed/local"},
	"gonum.org/v1/gonum":                {"knowledge/embed/local/internal/fit"}, // what makes data, and is not shipped
	"github.com/swaggest/swgui":         {"api"},
	"github.com/modelcontextprotocol/":  {"api", "cmd/tars"}, // who serves it, and the test that asks the shipped server
	"github.com/klauspost/compress/":    {"api"},
	"golang.org/x/net/html":             {"cmd/tars/demo/corpus", "cmd/tars/embedbench", "knowledge/document"},
	"github.com/yuin/goldmark":          {"knowledge/document"},
	"github.com/ledongthuc/pdf":         {"knowledge/document"},
	"github.com/clipperhouse/uax29":     {"knowledge/document"},
	"golang.org/x/term":                 {"cmd/tars"},
	"github.com/schollz/progressbar/":   {"cmd/tars/files"},
	"github.com/docker/":                {"migrations"},
	"github.com/jackc/puddle/":          {},
	"github.com/spf13/cobra":            {},
	"github.com/elastic/go-seccomp-bpf": {},
}

// engines are the drivers without a sandbox around them, and who may build them
// into what is shipped: the inside of a cell alone. So nothing that serve reads
// can make it run guests in its own process.
var engines = map[string][]string{
	"vmhost/wazerovm": {"vmhost/cell"},
	"vmhost/fakevm":   {},
}

// testOnly are packages that only tests, and packages of tests, may import.
var testOnly = []string{"testing", "net/http/httptest", "github.com/anishathalye/porcupine", "go.uber.org/goleak", "pgregory.net/rapid", "github.com/google/go-cmp/cmp"}

// pkg is what of `go list -json` is looked at.
type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
	if len(all) < 20 {
		t.Fatalf("go list gave %d packages; the test looks at too few", len(all))
	}
	return all
}

func TestLayoutImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, fault := range faults(p) {
			t.Error(fault)
		}
	}
}

// TestLayoutSeesPlantedImports shows that the test above can fail.
func TestLayoutSeesPlantedImports(t *testing.T) {
	for _, planted := range []pkg{
		{ImportPath: module + "knowledge", Imports: []string{module + "plugins"}},
		{ImportPath: module + "vmhost/cell", Imports: []string{module + "knowledge"}},
		{ImportPath: module + "plugins", Imports: []string{module + "api"}},
		{ImportPath: module + "knowledge/query", Imports: []string{"github.com/jackc/pgx/v5"}},
		{ImportPath: module + "knowledge/jobs", Imports: []string{"github.com/riverqueue/river"}},
		{ImportPath: module + "plugins", TestImports: []string{"github.com/tetratelabs/wazero"}},
		{ImportPath: module + "knowledge", Imports: []string{"testing"}},
		{ImportPath: module + "util"},
		{ImportPath: module + "cmd/tars", Imports: []string{module + "vmhost/wazerovm"}},
		{ImportPath: module + "vmhost", Imports: []string{module + "vmhost/fakevm"}},
	} {
		if len(faults(planted)) == 0 {
			t.Errorf("faults(%v) is empty, want one", planted)
		}
	}
}

// TestEngineIsInCellsAlone: in the package that has both sides of a cell, the
// engine is made in the function that is the inside's whole life, and nowhere else.
func TestEngineIsInCellsAlone(t *testing.T) {
	const dir = "../../vmhost/cell"
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("Glob(%s) = %d files, %v", dir, len(files), err)
	}
	made := map[string]int{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					// Its version is a word; everything else runs.
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "wazerovm" && s.Sel.Name != "EngineVersion" {
						made[f.Name.Name]++
					}
				}
				return true
			})
		}
	}
	if len(made) != 1 || made["Main"] == 0 {
		t.Errorf("the engine is used in the functions %v of %s, want Main alone", made, dir)
	}
}

func faults(p pkg) []string {
	var found []string
	path := strings.TrimPrefix(p.ImportPath, module)
	top, _, _ := strings.Cut(path, "/")
	if _, known := mayImport[top]; !known && top != "cmd" {
		found = append(found, path+": is in no folder of the design")
	}
	all := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
	for _, imported := range all {
		if ours, ok := strings.CutPrefix(imported, module); ok {
			other, _, _ := strings.Cut(ours, "/")
			// Packages of tests may use the databases and guests of tests.
			ofTests := !slices.Contains(p.Imports, imported) && (other == "migrations" || strings.HasSuffix(ours, "test"))
			if top != "cmd" && other != top && !slices.Contains(mayImport[top], other) && !ofTests {
				found = append(found, path+" imports "+ours)
			}
			continue
		}
		for prefix, folders := range homes {
			if !strings.HasPrefix(imported, prefix) {
				continue
			}
			atHome := slices.ContainsFunc(folders, func(f string) bool { return path == f || strings.HasPrefix(path, f+"/") })
			databaseTest := prefix == "github.com/jackc/pgx/" && !slices.Contains(p.Imports, imported)
			if !atHome && !databaseTest {
				found = append(found, path+" imports "+imported+", whose home is "+strings.Join(folders, ", "))
			}
		}
	}
	for _, imported := range p.Imports {
		if users, engine := engines[strings.TrimPrefix(imported, module)]; engine && !slices.Contains(users, path) {
			found = append(found, path+" imports "+imported+" outside tests")
		}
		if slices.Contains(testOnly, imported) && !strings.HasSuffix(path, "test") {
			found = append(found, path+" imports "+imported+" outside tests")
		}
	}
	return found
}
