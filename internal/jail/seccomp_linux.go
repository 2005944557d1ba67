//go:build amd64 || arm64

package jail

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets into struct seccomp_data (linux/seccomp.h).
const (
	dataNumber = 0
	dataArch   = 4
	dataArg0   = 16 // its low half: both architectures are little-endian
)

// Return values of a filter (linux/seccomp.h).
const (
	retAllow       = 0x7fff0000
	retErrno       = 0x00050000
	retKillProcess = 0x80000000
)

// Supported tells what the kernel gives a jail.
func Supported() Protection {
	_, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	return Protection{Landlock: landlockABI(), Seccomp: err == nil}
}

// denied are the system calls that answer EPERM: the network and other ways
// out, other processes, the kernel's larger subsystems that exploits begin
// with, and what changes files in ways that Landlock does not see.
var denied = []uintptr{
	unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4,
	unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_PROCESS_MRELEASE, unix.SYS_KCMP,
	unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_PIDFD_SEND_SIGNAL,
	unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO,
	unix.SYS_SETSID, unix.SYS_SETPGID, unix.SYS_EXECVEAT, unix.SYS_UNSHARE, unix.SYS_SETNS,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_FANOTIFY_INIT,
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_TRUNCATE, unix.SYS_UTIMENSAT,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, unix.SYS_VMSPLICE,
	unix.SYS_KEXEC_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_REBOOT,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_SYSLOG, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_PERSONALITY,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
	unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES, unix.SYS_NFSSERVCTL, unix.SYS_MEMFD_SECRET,
	unix.SYS_MQ_OPEN, unix.SYS_MSGGET, unix.SYS_SHMGET, unix.SYS_SEMGET,
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func answer(value uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: value}
}

func jump(test uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, Jt: yes, Jf: no, K: k}
}

// program is the filter of a process whose number is pid. A call is looked up
// one by one; the kernel remembers which are always allowed.
func program(pid int) []unix.SockFilter {
	const eperm, enosys = retErrno | uint32(unix.EPERM), retErrno | uint32(unix.ENOSYS)
	f := []unix.SockFilter{
		load(dataArch),
		jump(unix.BPF_JEQ, auditArch, 1, 0),
		answer(retKillProcess),
		load(dataNumber),
		// Calls that were not known when this was written, and the second
		// numbering of amd64 (x32) with them.
		jump(unix.BPF_JGT, lastCall, 0, 1),
		answer(enosys),
	}
	for _, call := range append(denied, deniedHere...) {
		f = append(f, jump(unix.BPF_JEQ, uint32(call), 0, 1), answer(eperm))
	}
	return append(
		f,
		// The C library falls back to clone, whose flags can be seen here.
		jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), answer(enosys),
		// Threads, but no processes.
		jump(unix.BPF_JEQ, unix.SYS_CLONE, 0, 4), load(dataArg0), jump(unix.BPF_JSET, unix.CLONE_THREAD, 0, 1), answer(retAllow), answer(eperm),
		// Signals to itself, as abort sends one.
		jump(unix.BPF_JEQ, unix.SYS_TGKILL, 0, 4), load(dataArg0), jump(unix.BPF_JEQ, uint32(pid), 0, 1), answer(retAllow), answer(eperm),
		// Its own limits.
		jump(unix.BPF_JEQ, unix.SYS_PRLIMIT64, 0, 5), load(dataArg0), jump(unix.BPF_JEQ, 0, 1, 0), jump(unix.BPF_JEQ, uint32(pid), 0, 1), answer(retAllow), answer(eperm),
		answer(retAllow),
	)
}

// filterCalls puts the filter over this thread.
func filterCalls() error {
	if !Supported().Seccomp {
		return nil
	}
	f := program(os.Getpid())
	p := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&p)), 0, 0)
	runtime.KeepAlive(f)
	if err != nil {
		return fmt.Errorf("filter system calls: %w", err)
	}
	return nil
}
