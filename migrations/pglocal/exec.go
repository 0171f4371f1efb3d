package pglocal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// TestURLVariable is the environment variable by which Exec tells its command
// of the server, and where package pgtest looks for it.
const TestURLVariable = "TARS_TEST_DATABASE_URL"

// Exec starts an ephemeral server, runs a command with TestURLVariable set to
// its superuser URL, waits for the command, and removes the server. One server
// so serves all test binaries of a run.
//
// env is the command's environment before that variable is added; argv is its
// name and arguments, and must not be empty. The exit code is the command's,
// or 128 plus the signal that ended it; the error tells why no command was
// run, or that cleaning up failed. When ctx ends the command gets SIGTERM,
// and ten seconds later SIGKILL. The command stays in this process's group,
// so that a Ctrl-C at the terminal reaches it too.
func Exec(ctx context.Context, opts Options, env, argv []string, stdin io.Reader, stdout, stderr io.Writer) (exitCode int, err error) {
	if len(argv) == 0 {
		return 0, errors.New("no command to run")
	}
	opts.Ephemeral = true
	s, err := Start(ctx, opts)
	if err != nil {
		return 0, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if closeErr := s.Close(ctx); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("remove the server: %w", closeErr))
		}
	}()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(env[:len(env):len(env)], TestURLVariable+"="+s.URL)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exitStatus(exit.ProcessState), nil
	case err != nil:
		return 0, fmt.Errorf("run %s: %w", argv[0], err)
	}
	return 0, nil
}

// exitStatus is what a shell would tell.
func exitStatus(state *os.ProcessState) int {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}
