//go:build linux && (amd64 || arm64)

package main

import "golang.org/x/sys/unix"

// kernelAttempts are calls into parts of the kernel that no guest needs.
func kernelAttempts() map[string]attempt {
	const wire = 3
	return map[string]attempt{
		"socketpair":    call(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM, 0, 0),
		"connect":       call(unix.SYS_CONNECT, wire, 0, 0),
		"bind":          call(unix.SYS_BIND, wire, 0, 0),
		"listen":        call(unix.SYS_LISTEN, wire, 1),
		"accept":        call(unix.SYS_ACCEPT4, wire, 0, 0, 0),
		"shutdown":      call(unix.SYS_SHUTDOWN, wire, unix.SHUT_RDWR),
		"sendto":        call(unix.SYS_SENDTO, wire, 0, 0, unix.MSG_OOB, 0, 0),
		"recvfrom":      call(unix.SYS_RECVFROM, wire, 0, 0, unix.MSG_PEEK, 0, 0),
		"sendmmsg":      call(unix.SYS_SENDMMSG, wire, 0, 0, 0), // SCM_RIGHTS by another door
		"recvmmsg":      call(unix.SYS_RECVMMSG, wire, 0, 0, 0, 0),
		"peer-name":     call(unix.SYS_GETPEERNAME, wire, 0, 0),
		"peer-of-wire":  call(unix.SYS_GETSOCKOPT, wire, unix.SOL_SOCKET, unix.SO_PEERCRED, 0, 0),
		"uring-enter":   call(unix.SYS_IO_URING_ENTER, 4, 1, 0, 0, 0, 0),
		"uring-attach":  call(unix.SYS_IO_URING_REGISTER, 4, 0, 0, 0),
		"aio":           call(unix.SYS_IO_SETUP, 1, 0),
		"request-key":   call(unix.SYS_REQUEST_KEY, text("user"), text("x"), 0, 0),
		"fanotify":      call(unix.SYS_FANOTIFY_INIT, 0, 0),
		"by-handle":     call(unix.SYS_OPEN_BY_HANDLE_AT, wire, 0, 0), // how Docker was left in 2014
		"to-handle":     call(unix.SYS_NAME_TO_HANDLE_AT, wire, text("/"), 0, 0, 0),
		"move-mount":    call(unix.SYS_MOVE_MOUNT, wire, text(""), wire, text(""), 0),
		"open-tree":     call(unix.SYS_OPEN_TREE, 0, text("/"), unix.OPEN_TREE_CLONE),
		"mount-attr":    call(unix.SYS_MOUNT_SETATTR, 0, text("/"), 0, 0, 0),
		"swap":          call(unix.SYS_SWAPON, text("/x"), 0),
		"quota":         call(unix.SYS_QUOTACTL, 0, 0, 0, 0),
		"accounting":    call(unix.SYS_ACCT, 0),
		"kernel-log":    call(unix.SYS_SYSLOG, 3, 0, 0),
		"host-name":     call(unix.SYS_SETHOSTNAME, text("x"), 1),
		"msgget":        call(unix.SYS_MSGGET, 0, 0o1600),
		"semget":        call(unix.SYS_SEMGET, 0, 1, 0o1600),
		"mq-open":       call(unix.SYS_MQ_OPEN, text("x"), unix.O_CREAT, 0o600, 0),
		"splice":        call(unix.SYS_SPLICE, wire, 0, wire, 0, 1, 0),
		"vmsplice":      call(unix.SYS_VMSPLICE, wire, 0, 0, 0),
		"copy-range":    call(unix.SYS_COPY_FILE_RANGE, wire, 0, wire, 0, 1, 0),
		"sendfile":      call(unix.SYS_SENDFILE, wire, wire, 0, 1),
		"memfd-secret":  call(unix.SYS_MEMFD_SECRET, 0),
		"mlock":         call(unix.SYS_MLOCK, 0, 1<<30),
		"mremap":        call(unix.SYS_MREMAP, 0, 0, 0, 0, 0),
		"pkey":          call(unix.SYS_PKEY_ALLOC, 0, 0),
		"rseq":          call(unix.SYS_RSEQ, 0, 0, 0, 0),
		"move-pages":    call(unix.SYS_MOVE_PAGES, 1, 0, 0, 0, 0, 0),
		"advise-others": call(unix.SYS_PROCESS_MADVISE, wire, 0, 0, unix.MADV_COLD, 0),
		"adjust-clock":  call(unix.SYS_ADJTIMEX, 0),
		"timer":         call(unix.SYS_TIMER_CREATE, 0, 0, 0),
		"timerfd":       call(unix.SYS_TIMERFD_CREATE, 0, 0),
		"eventfd":       call(unix.SYS_EVENTFD2, 0, 0),
		"signalfd":      call(unix.SYS_SIGNALFD4, ^uintptr(0), 0, 0, 0),
		"new-poller":    call(unix.SYS_EPOLL_CREATE1, 0),
		"landlock":      call(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 0),
	}
}
