//go:build amd64 || arm64

package jail

import (
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Rights on files, by what they are given for.
const (
	readFiles  = unix.LANDLOCK_ACCESS_FS_READ_FILE
	readTree   = readFiles | unix.LANDLOCK_ACCESS_FS_READ_DIR
	runFile    = readFiles | unix.LANDLOCK_ACCESS_FS_EXECUTE
	writeFiles = readFiles | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	// No links, sockets, pipes or devices, and nothing that could be run.
	writeTree = readTree | writeFiles | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_REFER
	// onFile are the rights that a rule on a file, not a folder, may have.
	onFile = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// system is what any command reads: libraries, fonts, and what the C library
// asks of the machine.
var system = []string{
	"/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/local/lib", "/lib", "/lib64",
	"/usr/share", "/usr/local/share", "/var/cache/fontconfig",
	"/etc/fonts", "/etc/ld.so.cache", "/etc/localtime",
	"/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/sys/vm/overcommit_memory",
	"/sys/devices/system", "/dev/urandom",
}

// loaders start programs that are linked dynamically; the kernel runs them.
var loaders = []string{"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-aarch64.so.1"}

// landlockABI is the version of the kernel's Landlock interface, 0 for none.
func landlockABI() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

// handled is all that a version of the interface can deny. The structure's
// size tells the kernel how much of it we know.
func handled(abi int) (attr unix.LandlockRulesetAttr, size uintptr) {
	attr.Handled_access_fs = 1<<13 - 1
	size = unsafe.Sizeof(attr.Handled_access_fs)
	if abi >= 2 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size += unsafe.Sizeof(attr.Handled_access_net)
	}
	if abi >= 5 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
		size += unsafe.Sizeof(attr.Scoped)
	}
	return attr, size
}

// restrictPaths keeps the command to its folder and the system's libraries.
func restrictPaths(p policy) error {
	abi := landlockABI()
	if abi < 1 {
		return nil
	}
	attr, size := handled(abi)
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("make ruleset: %w", errno)
	}
	ruleset := int(fd)
	defer unix.Close(ruleset)
	if err := allowPaths(ruleset, attr.Handled_access_fs, p); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); errno != 0 {
		return fmt.Errorf("enter ruleset: %w", errno)
	}
	return nil
}

func allowPaths(ruleset int, known uint64, p policy) error {
	command, err := filepath.EvalSymlinks(p.Path)
	if err != nil {
		return fmt.Errorf("find %s: %w", p.Path, err)
	}
	for _, must := range []struct {
		path   string
		rights uint64
	}{{command, runFile}, {p.Dir, writeTree}} {
		if err := allow(ruleset, must.path, must.rights&known); err != nil {
			return err
		}
	}
	for _, path := range p.ReadOnly {
		if err := allow(ruleset, path, readTree&known); err != nil {
			return err
		}
	}
	if err := allow(ruleset, "/dev/null", writeFiles&known); err != nil {
		return err
	}
	for _, path := range system {
		if err := allow(ruleset, path, readTree&known); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	for _, path := range loaders {
		if err := allow(ruleset, path, runFile&known); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// allow adds a rule: rights beneath a folder, or on a file.
func allow(ruleset int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "let through", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "let through", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= onFile
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return &os.PathError{Op: "let through", Path: path, Err: errno}
	}
	return nil
}
