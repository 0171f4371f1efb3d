package pglocal

import (
	"os/exec"
	"runtime"
	"syscall"
)

// child is a process that we started, wait for, and that ends with us.
type child struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended and err is set
	err    error
}

// startChild starts cmd, which gets sig when this process ends. The kernel
// ties that to the thread that started the child and not to the process, so
// one goroutine keeps that thread for as long as the child lives.
func startChild(cmd *exec.Cmd, sig syscall.Signal) (*child, error) {
	setDeathSignal(cmd.SysProcAttr, sig)
	c := &child{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// signal sends sig unless the child has ended.
func (c *child) signal(sig syscall.Signal) {
	_ = c.cmd.Process.Signal(sig) // fails only when it has ended
}
