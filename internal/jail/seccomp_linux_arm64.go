package jail

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_AARCH64
	// lastCall is the highest system call number that we know.
	lastCall = unix.SYS_MSEAL
)

// deniedHere are denied calls that only this architecture has.
var deniedHere = []uintptr{unix.SYS_KEXEC_FILE_LOAD}
