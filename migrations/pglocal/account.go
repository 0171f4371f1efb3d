package pglocal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// account is who runs the server.
type account struct {
	name     string
	uid, gid int
	switched bool // this process is root and must become it
}

// serverAccount picks the account: ourselves, or under root the first of
// postgres and nobody, since PostgreSQL refuses root. initdb asks the passwd
// database for the name of its user, so an account without an entry there
// (an arbitrary uid in a container, say) is refused here, with the reason.
func serverAccount() (account, error) {
	uid := os.Getuid()
	if uid != 0 {
		return lookupAccount(uid)
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		a, err := newAccount(u)
		if err != nil {
			return account{}, err
		}
		a.switched = true
		return a, nil
	}
	return account{}, fmt.Errorf("%w: PostgreSQL refuses root, and there is neither a user postgres nor nobody", ErrAccount)
}

func lookupAccount(uid int) (account, error) {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return account{}, fmt.Errorf("%w: uid %d has no entry in /etc/passwd, which initdb needs: add one, or set DATABASE_URL", ErrAccount, uid)
	}
	return newAccount(u)
}

func newAccount(u *user.User) (account, error) {
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return account{}, fmt.Errorf("%w: user %s: %w", ErrAccount, u.Username, err)
	}
	return account{name: u.Username, uid: uid, gid: gid}, nil
}

// groupAttr puts a child into a process group of its own, so that it and its
// children can be ended at once, and a Ctrl-C at the terminal reaches us first.
func groupAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// attr makes a child run as the account, in a process group of its own.
func (a account) attr() *syscall.SysProcAttr {
	attr := groupAttr()
	if a.switched {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// mkdir makes a folder that only the account, and root, can enter.
func (a account) mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return a.own(dir)
}

// own gives a folder to the account alone.
func (a account) own(dir string) error {
	if a.switched {
		if err := os.Chown(dir, a.uid, a.gid); err != nil {
			return err
		}
	}
	return os.Chmod(dir, 0o700)
}

// reaches checks that the account can enter dir, by doing it: permissions of
// every parent count, and only the kernel knows all rules that apply.
func (a account) reaches(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `cd "$1"`, "sh", dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = a.attr()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: user %s cannot enter %s (%w: %.200s): choose a folder that it can reach", ErrAccount, a.name, dir, err, out)
	}
	return nil
}
