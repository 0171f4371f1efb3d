package artifact

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// killEnv gives another process of the test its directory.
const killEnv = "TARS_ARTIFACT_TEST_KILL"

// TestKilledTask is the process that TestKilled kills: it has written an entry but
// for its last step, and holds a folder.
func TestKilledTask(t *testing.T) {
	dir := os.Getenv(killEnv)
	if dir == "" {
		return // in any other process there is nothing to do
	}
	c := open(t, Options{Dir: dir})
	put(t, c, newFolder(t, c, 0), keep(t, c, "whole"))
	d, err := c.Draft()
	if err != nil {
		t.Fatal(err)
	}
	if err := writeEntry(d.file, secret, keyOf(c, "half"), sample("half")); err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	select {}
}

// TestKilled: a process that is killed between writing an entry and giving it its
// name leaves nothing that the next one does not remove, and takes nothing with it.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledTask$")
	cmd.Env = append(os.Environ(), killEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line := bufio.NewScanner(out); !line.Scan() || line.Text() != "ready" {
		t.Errorf("the process says %q", line.Text())
	}
	drafts := func() []string {
		names, err := filepath.Glob(filepath.Join(dir, runName, "*", draftPrefix+"*"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	// While it lives, another lets it be.
	open(t, Options{Dir: dir})
	if got := drafts(); len(got) != 1 {
		t.Errorf("drafts of a process that lives: %q, want one", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed

	c := open(t, Options{Dir: dir})
	if got := drafts(); len(got) != 0 {
		t.Errorf("drafts %q are left of a killed process", got)
	}
	if runs, err := os.ReadDir(c.runs()); err != nil || len(runs) != 2 { // of the two caches of this test
		t.Errorf("folders of processes: %v, %v, want two", runs, err)
	}
	if _, ok := get(t, c, keyOf(c, "half")); ok {
		t.Error("an entry that was not finished is there")
	}
	if _, ok := get(t, c, keyOf(c, "whole")); !ok {
		t.Error("an entry that was finished is gone")
	}
}
