//go:build cgo && linux

// Misbehaviour on demand, for the tests of the walls around the worker. It
// is dead code unless the parent's environment variable asks for it, which
// only the package's tests set.
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static int asks(const uint8_t *data, size_t size, const char *what) {
	return size == strlen(what) && !memcmp(data, what, size);
}

// debug_misbehave ends the worker with the error number of what it tried, so
// that the test can tell "refused" from "killed" and from "worked" (0).
void debug_misbehave(const uint8_t *data, size_t size) {
	char *const none[] = {NULL};
	int result = -1;
	if (asks(data, size, "debug open"))
		result = open("/etc/passwd", O_RDONLY);
	else if (asks(data, size, "debug close and open")) {
		close(WORKER_MEMORY_FD); // or the limit on descriptors comes first
		result = open("/etc/passwd", O_RDONLY);
	} else if (asks(data, size, "debug socket"))
		result = socket(AF_INET, SOCK_STREAM, 0);
	else if (asks(data, size, "debug execve"))
		result = execve("/bin/true", none, none);
	else if (asks(data, size, "debug fork"))
		result = fork();
	else if (asks(data, size, "debug code"))
		result = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
	else if (asks(data, size, "debug truncate"))
		result = ftruncate(WORKER_MEMORY_FD, 0);
	else if (asks(data, size, "debug memory"))
		result = malloc((size_t)16 << 30) ? 0 : -1;
	else if (asks(data, size, "debug crash"))
		abort();
	else if (asks(data, size, "debug hang"))
		for (volatile int i = 0;; i++) {
		}
	else if (asks(data, size, "debug sleep")) {
		char c;
		while (read(WORKER_SOCKET_FD, &c, 1) > 0) {
		}
	} else
		return;
	_exit(result < 0 ? errno : 0);
}
