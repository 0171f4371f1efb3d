package sdk

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestGuide: the plugins in docs/plugins.md build with the SDK as it is given out,
// without a network.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/plugins.md")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := Go()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"go.mod": []byte("module tars.local/longest\n\ngo 1.24\n")}
	for name, data := range sources {
		files["tars/"+name] = data
	}
	examples := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(guide, -1)
	if len(examples) < 5 {
		t.Fatalf("the guide has %d examples, want one for each capability", len(examples))
	}
	for i, example := range examples {
		files[fmt.Sprintf("example%d/main.go", i)] = example[1]
	}
	dir := t.TempDir()
	for name, data := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	vet := exec.CommandContext(t.Context(), "go", "vet", "./example...")
	vet.Dir = dir
	vet.Env = append(os.Environ(), "GOFLAGS=", "GOPROXY=off")
	if out, err := vet.CombinedOutput(); err != nil {
		t.Errorf("go vet of the guide's examples: %v\n%s", err, out)
	}
}
