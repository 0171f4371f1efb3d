package vmhosttest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Languages are those of the sample plugins in plugins/guests/languages. Each
// does the same; see languages.md there.
func Languages() []string {
	return []string{"assemblyscript", "c", "go", "micropython", "quickjs", "rust", "zig"}
}

// Language returns the module of a language's sample plugin, or of another plugin in
// a folder beside them, such as c-rerank. It is built by
// make, which fetches the language's compiler when it is not there.
func Language(t testing.TB, name string) []byte {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatalf("find the repository: %v", err)
	}
	dir := strings.TrimSpace(string(root))
	file := filepath.Join("bin/guests/languages", name+".wasm")
	build := exec.CommandContext(context.WithoutCancel(t.Context()), "make", "--silent", "--no-print-directory", "-C", dir, file)
	build.Env = append(os.Environ(), "MAKEFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", file, err, out)
	}
	module, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return module
}
