//go:build unix && !linux

package pglocal

import "syscall"

// setDeathSignal does nothing where there is no such signal: the watchdog
// ends the server there.
func setDeathSignal(*syscall.SysProcAttr, syscall.Signal) {}

// canListProcesses tells whether processesIn sees anything at all.
const canListProcesses = false

// processesIn finds none where there is no /proc: PostgreSQL's own lock file
// is then the only guard.
func processesIn(string) ([]int, error) { return nil, nil }
