//go:build amd64 || arm64

package seal

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// insideFolder is where the folder is in a root of the process's own.
const insideFolder = "/code"

// mountFolder makes the folder inside the directory that becomes the root.
func mountFolder(root string, plan Plan) error {
	if plan.Folder == FolderNone {
		return nil
	}
	at := root + insideFolder
	if err := unix.Mkdir(at, 0o555); err != nil {
		return err
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if plan.Folder == FolderWrite {
		// Inodes: the folder, the engine's own folder in it, a file and
		// the one that it replaces, and as many again.
		options := fmt.Sprintf("size=%d,nr_inodes=8,mode=0700", plan.FolderBytes)
		return unix.Mount("code", at, "tmpfs", flags, options)
	}
	// The working directory, by no path: the user of a cell could not walk it,
	// and a descriptor from outside belongs to the mounts outside.
	if err := unix.Mount(".", at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, "")
}

// openFolder returns a descriptor that names the folder, and a path by which the
// process finds it from now on. In a root of its own the descriptor is needed
// for Landlock's rule alone.
func openFolder(plan Plan) (fd int, path string, err error) {
	name := "."
	if plan.Namespaces {
		name = insideFolder
	}
	fd, err = unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, "", err
	}
	if plan.Namespaces {
		return fd, insideFolder, nil
	}
	return fd, "/proc/self/fd/" + strconv.Itoa(fd), nil
}

// folderRights are what Landlock lets a process do beneath its folder.
func folderRights(folder Folder) uint64 {
	switch folder {
	case FolderRead:
		return unix.LANDLOCK_ACCESS_FS_READ_FILE
	case FolderWrite:
		return unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
			unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE
	default:
		return 0
	}
}
