//go:build cgo && linux

// The lock that the worker turns behind itself before it looks at a byte.
#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOBODY = 65534 };

// shed gives up what root could still do: with its user go all capabilities.
static void shed_privileges(void) {
	if (geteuid() == 0) {
		if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY)) {
			// In a container without the capability to change the user.
		}
	}
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};
	syscall(SYS_capset, &head, none);
}

static void limit(int resource, rlim_t value) {
	struct rlimit l = {value, value};
	setrlimit(resource, &l);
}

static rlim_t address_space(const struct config *cfg) {
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	if (f) {
		if (fscanf(f, "%lu", &pages) != 1)
			pages = 0;
		fclose(f);
	}
	if (!pages)
		return RLIM_INFINITY;
	// Decoders keep up to ten frames of 1.5 bytes a pixel with their edges
	// and tables, and we keep three.
	return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (256u << 20) + (rlim_t)cfg->max_pixels * 48;
}

static void limit_resources(rlim_t memory) {
	limit(RLIMIT_AS, memory);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_FSIZE, 0);
	limit(RLIMIT_NPROC, 0);
	limit(RLIMIT_MEMLOCK, 0);
	limit(RLIMIT_NOFILE, WORKER_MEMORY_FD + 1); // all are in use
}

// Landlock's interface is given here by its numbers, since headers of older
// systems know fewer rights than the kernel that we run on.
struct landlock_rules { uint64_t fs, net, scoped; };

static int landlock_enter(void) {
#ifdef SYS_landlock_create_ruleset
	int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* LANDLOCK_CREATE_RULESET_VERSION */);
	if (abi < 1)
		return abi < 0 ? -errno : -ENOSYS;
	struct landlock_rules rules = {.fs = (1u << 13) - 1};
	size_t size = sizeof rules.fs;
	if (abi >= 2)
		rules.fs |= 1u << 13; // REFER
	if (abi >= 3)
		rules.fs |= 1u << 14; // TRUNCATE
	if (abi >= 4) {
		rules.net = 3; // BIND_TCP, CONNECT_TCP
		size = sizeof rules.fs + sizeof rules.net;
	}
	if (abi >= 5)
		rules.fs |= 1u << 15; // IOCTL_DEV
	if (abi >= 6) {
		rules.scoped = 3; // ABSTRACT_UNIX_SOCKET, SIGNAL
		size = sizeof rules;
	}
	// No rule is added: everything that is handled is denied.
	int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
	if (fd < 0)
		return -errno;
	int err = (int)syscall(SYS_landlock_restrict_self, fd, 0) ? -errno : abi;
	close(fd);
	return err;
#else
	return -ENOSYS;
#endif
}

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "the picture worker's system call filter knows amd64 and arm64"
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
#define ALLOW_CALL(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), ALLOW
// ALLOW_DATA lets a memory call pass unless it asks for executable pages.
#define ALLOW_DATA(name)                                        \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 4),      \
	LOAD(args[2]),                                              \
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 4 /* PROT_EXEC */, 0, 1), \
	KILL, ALLOW

// seccomp_enter allows what decoding needs: the two sides of the socket,
// memory, time, and to end. Anything else kills the worker.
static int seccomp_enter(void) {
	struct sock_filter filter[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
		KILL,
		LOAD(nr),
		ALLOW_CALL(read), ALLOW_CALL(write),
		ALLOW_DATA(mmap), ALLOW_DATA(mprotect),
		ALLOW_CALL(munmap), ALLOW_CALL(mremap), ALLOW_CALL(madvise), ALLOW_CALL(brk),
		ALLOW_CALL(futex), ALLOW_CALL(sched_yield),
		ALLOW_CALL(clock_gettime), ALLOW_CALL(getrandom),
		ALLOW_CALL(rt_sigreturn), ALLOW_CALL(rt_sigprocmask),
		ALLOW_CALL(getpid), ALLOW_CALL(gettid), // abort()
		ALLOW_CALL(exit), ALLOW_CALL(exit_group),
		KILL,
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) ? -errno : 1;
}

// sandbox_enter locks the worker down as far as the kernel can, and reports
// how far that was. What the terminal or the service manager signals is for
// the parent, which ends the worker itself.
void sandbox_enter(const struct config *cfg, struct hello *report) {
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	pid_t parent = getppid();
	syscall(SYS_close_range, WORKER_MEMORY_FD + 1, ~0u, 0);
	rlim_t memory = address_space(cfg);
	shed_privileges();
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	// A change of user forgets the parent's death signal: ask again, and see
	// that the parent did not die in between.
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	report->landlock = cfg->debug & 1 ? 0 : landlock_enter();
	limit_resources(memory); // not sooner: a ruleset is a descriptor
	report->seccomp = cfg->debug & 2 ? 0 : seccomp_enter();
}
