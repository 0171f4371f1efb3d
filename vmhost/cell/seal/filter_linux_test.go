//go:build amd64 || arm64

package seal

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// run runs the filter as the kernel would and returns its verdict.
func run(t *testing.T, p program, arch, number uint32, args [6]uint64) uint32 {
	t.Helper()
	data := binary.LittleEndian.AppendUint32(nil, number)
	data = binary.LittleEndian.AppendUint32(data, arch)
	data = binary.LittleEndian.AppendUint64(data, 0) // instruction pointer
	for _, a := range args {
		data = binary.LittleEndian.AppendUint64(data, a)
	}
	var acc uint32
	for pc := 0; pc < len(p); pc++ {
		in := p[pc]
		jump := func(yes bool) {
			if yes {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		}
		switch in.Code {
		case load:
			acc = binary.LittleEndian.Uint32(data[in.K:])
		case and:
			acc &= in.K
		case ifEqual:
			jump(acc == in.K)
		case ifAbove:
			jump(acc >= in.K)
		case result:
			return in.K
		default:
			t.Fatalf("instruction %d has code %#x", pc, in.Code)
		}
	}
	t.Fatal("the filter runs off its end")
	return 0
}

// TestFilter: verdicts on calls and arguments, without a kernel.
func TestFilter(t *testing.T) {
	const pid = 77
	const thread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
	const anon = unix.MAP_ANONYMOUS | unix.MAP_PRIVATE
	const rw, rx = unix.PROT_READ | unix.PROT_WRITE, unix.PROT_READ | unix.PROT_EXEC
	const pagemap, image = 8, 10
	p := build(pid, images{pagemap: pagemap, files: []int{image - 1, image}})
	for _, c := range []struct {
		name   string
		number uintptr
		args   [6]uint64
		want   uint32
	}{
		{"read", unix.SYS_READ, [6]uint64{}, resultAllow},
		{"exit_group", unix.SYS_EXIT_GROUP, [6]uint64{}, resultAllow},
		{"openat", unix.SYS_OPENAT, [6]uint64{}, resultRefuse},
		{"ioctl", unix.SYS_IOCTL, [6]uint64{}, resultRefuse},
		{"socket", unix.SYS_SOCKET, [6]uint64{}, resultKill},
		{"execve", unix.SYS_EXECVE, [6]uint64{}, resultKill},
		{"clone3", unix.SYS_CLONE3, [6]uint64{}, resultKill},
		{"a thread", unix.SYS_CLONE, [6]uint64{thread}, resultAllow},
		{"a thread with storage", unix.SYS_CLONE, [6]uint64{thread | unix.CLONE_SETTLS}, resultAllow},
		{"a process", unix.SYS_CLONE, [6]uint64{uint64(unix.SIGCHLD)}, resultKill},
		{"a thread in a namespace", unix.SYS_CLONE, [6]uint64{thread | unix.CLONE_NEWUSER}, resultKill},
		// The numbers of calls that are allowed, where the broken library
		// would have compared them with the argument.
		{"clone of flags that are a number", unix.SYS_CLONE, [6]uint64{uint64(unix.SYS_READ)}, resultKill},
		{"clone of flags that are openat", unix.SYS_CLONE, [6]uint64{uint64(unix.SYS_OPENAT)}, resultKill},
		{"memory", unix.SYS_MMAP, [6]uint64{0, 4096, rw, anon}, resultAllow},
		{"reserved memory", unix.SYS_MMAP, [6]uint64{0, 4096, unix.PROT_NONE, anon | unix.MAP_NORESERVE}, resultAllow},
		{"code", unix.SYS_MMAP, [6]uint64{0, 4096, rx, anon}, resultKill},
		{"writable code", unix.SYS_MMAP, [6]uint64{0, 4096, rw | unix.PROT_EXEC, anon}, resultKill},
		{"a file", unix.SYS_MMAP, [6]uint64{0, 4096, unix.PROT_READ, unix.MAP_PRIVATE}, resultKill},
		{"an image", unix.SYS_MMAP, [6]uint64{0, 4096, rw, unix.MAP_PRIVATE | unix.MAP_FIXED, image}, resultAllow},
		{"the other image", unix.SYS_MMAP, [6]uint64{0, 4096, rw, unix.MAP_PRIVATE, image - 1}, resultAllow},
		{"an image, shared", unix.SYS_MMAP, [6]uint64{0, 4096, rw, unix.MAP_SHARED, image}, resultKill},
		{"an image, shared and checked", unix.SYS_MMAP, [6]uint64{0, 4096, rw, unix.MAP_SHARED_VALIDATE, image}, resultKill},
		{"code of an image", unix.SYS_MMAP, [6]uint64{0, 4096, rx, unix.MAP_PRIVATE, image}, resultKill},
		{"the pagemap as a file", unix.SYS_MMAP, [6]uint64{0, 4096, unix.PROT_READ, unix.MAP_PRIVATE, pagemap}, resultKill},
		{"size of an image", unix.SYS_FTRUNCATE, [6]uint64{image, 4096}, resultAllow},
		{"size of the wire", unix.SYS_FTRUNCATE, [6]uint64{WireFD, 4096}, resultKill},
		{"write an image", unix.SYS_PWRITE64, [6]uint64{image, 0, 1, 0}, resultAllow},
		{"write another at a place", unix.SYS_PWRITE64, [6]uint64{1, 0, 1, 0}, resultKill},
		{"seal an image", unix.SYS_FCNTL, [6]uint64{image, unix.F_ADD_SEALS, unix.F_SEAL_WRITE}, resultAllow},
		{"seal another", unix.SYS_FCNTL, [6]uint64{1, unix.F_ADD_SEALS, unix.F_SEAL_WRITE}, resultRefuse},
		{"copy an image's descriptor", unix.SYS_FCNTL, [6]uint64{image, unix.F_DUPFD, 0}, resultRefuse},
		{"scan pages", unix.SYS_IOCTL, [6]uint64{pagemap, pagemapScan}, resultAllow},
		{"scan pages of another", unix.SYS_IOCTL, [6]uint64{image, pagemapScan}, resultRefuse},
		{"another ioctl of the pagemap", unix.SYS_IOCTL, [6]uint64{pagemap, pagemapScan + 1}, resultRefuse},
		{"make code", unix.SYS_MPROTECT, [6]uint64{0, 4096, rx}, resultAllow},
		{"make writable code", unix.SYS_MPROTECT, [6]uint64{0, 4096, rw | unix.PROT_EXEC}, resultKill},
		{"make code to write", unix.SYS_MPROTECT, [6]uint64{0, 4096, unix.PROT_WRITE | unix.PROT_EXEC}, resultKill},
		{"name memory", unix.SYS_PRCTL, [6]uint64{unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME}, resultAllow},
		{"be dumpable", unix.SYS_PRCTL, [6]uint64{unix.PR_SET_DUMPABLE, 1}, resultKill},
		{"interrupt a thread of its own", unix.SYS_TGKILL, [6]uint64{pid, 1}, resultAllow},
		{"interrupt another's", unix.SYS_TGKILL, [6]uint64{pid + 1, 1}, resultKill},
	} {
		if got := run(t, p, auditArch, uint32(c.number), c.args); got != c.want {
			t.Errorf("%s: verdict %#x, want %#x", c.name, got, c.want)
		}
		if got := run(t, p, auditArch^1, uint32(c.number), c.args); got != resultKill {
			t.Errorf("%s of another architecture: verdict %#x, want kill", c.name, got)
		}
		if got := run(t, p, auditArch, uint32(c.number)|x32Calls, c.args); got != resultKill {
			t.Errorf("%s of the x32 table: verdict %#x, want kill", c.name, got)
		}
	}
	allowedCount := 0
	for number := range uint32(600) {
		if run(t, p, auditArch, number, [6]uint64{}) == resultAllow {
			allowedCount++
		}
	}
	if want := len(allowed) + 1; allowedCount != want { // mprotect to nothing
		t.Errorf("%d calls are allowed with arguments of zero, want %d", allowedCount, want)
	}
}

// TestLandlockAttr: each ABI is asked for all that it knows and nothing more.
func TestLandlockAttr(t *testing.T) {
	for _, c := range []struct {
		abi  int
		want landlockAttr
		size uintptr
	}{
		{1, landlockAttr{fs: 0x1fff}, 8},
		{2, landlockAttr{fs: 0x3fff}, 8},
		{3, landlockAttr{fs: 0x7fff}, 8},
		{4, landlockAttr{fs: 0x7fff, net: 3}, 16},
		{5, landlockAttr{fs: 0xffff, net: 3}, 16},
		{6, landlockAttr{fs: 0xffff, net: 3, scoped: 1}, 24},
		{7, landlockAttr{fs: 0xffff, net: 3, scoped: 3}, 24},
		{10, landlockAttr{fs: 0xffff, net: 3, scoped: 3}, 24},
	} {
		if got, size := attrFor(c.abi); got != c.want || size != c.size {
			t.Errorf("attrFor(%d) = %+v, %d bytes, want %+v, %d bytes", c.abi, got, size, c.want, c.size)
		}
	}
}
