//go:build cgo && linux

// The worker's entry and loop.
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <libavcodec/avcodec.h>

static uint64_t clock_ns(clockid_t id) {
	struct timespec t;
	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

void fail(struct response *res, enum status status, const char *reason) {
	res->status = status;
	if (reason && !res->reason[0])
		snprintf(res->reason, sizeof res->reason, "%s", reason);
}

// one makes one picture of size bytes at data. bare leaves out what is not
// decode, scale, JPEG and tensor.
static void one(const struct request *req, const uint8_t *data, size_t size, int bare,
                AVFrame *frame, struct response *res) {
	uint64_t start = now_ns();
	int status = decode_keyframe((int)req->codec, data, size, frame, res->reason);
	res->decode_ns = now_ns() - start;
	if (status != STATUS_OK)
		fail(res, status, "no picture");
	else
		render((int)req->codec, frame, req, bare, res);
	av_frame_unref(frame);
}

// floor_rounds runs the bare C calls over a batch of keyframes, each with its
// 32-bit length before it and padding behind, and takes the processor's time.
static void floor_rounds(const struct request *req, const uint8_t *batch, AVFrame *frame, struct response *res) {
	for (uint32_t round = 0; round <= req->rounds && res->status == STATUS_OK; round++) {
		uint64_t start = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
		uint32_t frames = 0;
		for (size_t at = 0; at + 4 <= req->length && res->status == STATUS_OK; frames++) {
			uint32_t size;
			memcpy(&size, batch + at, 4);
			at += 4;
			if (size > req->length - at) {
				fail(res, STATUS_INTERNAL, "batch is cut");
				return;
			}
			one(req, batch + at, size, 1, frame, res);
			at += size + AV_INPUT_BUFFER_PADDING_SIZE;
		}
		if (round == 0) // the first round warms caches and buffers
			continue;
		res->cpu_ns += clock_ns(CLOCK_PROCESS_CPUTIME_ID) - start;
		res->frames += frames;
	}
}

static void serve(const struct config *cfg, const uint8_t *memory) {
	AVFrame *frame = av_frame_alloc();
	struct request req;
	while (frame && read(WORKER_SOCKET_FD, &req, sizeof req) == sizeof req) {
		struct response res = {.seq = req.seq};
		if (req.length > cfg->request_cap)
			fail(&res, STATUS_INTERNAL, "request exceeds its mapping");
		else if (req.op == OP_FLOOR)
			floor_rounds(&req, memory, frame, &res);
		else {
			if (cfg->debug)
				debug_misbehave(memory, req.length);
			one(&req, memory, req.length, 0, frame, &res);
		}
		if (write(WORKER_SOCKET_FD, &res, sizeof res) != sizeof res)
			break;
	}
}

static int read_config(int argc, char **argv, char **envp, struct config *cfg) {
	if (argc < 5 || argc - 5 > MAX_TENSORS)
		return -1;
	cfg->request_cap = strtoull(argv[2], NULL, 10);
	cfg->jpeg_cap = strtoull(argv[3], NULL, 10);
	cfg->max_pixels = strtoll(argv[4], NULL, 10);
	for (int i = 5; i < argc; i++)
		cfg->tensor_size[cfg->tensors++] = atoi(argv[i]);
	for (; *envp; envp++)
		if (!strncmp(*envp, "STILLWATCH_PICTURE_DEBUG=", 25))
			cfg->debug = atoi(*envp + 25);
	return 0;
}

static int run(int argc, char **argv, char **envp) {
	struct config cfg = {0};
	struct stat st;
	if (read_config(argc, argv, envp, &cfg) || fstat(WORKER_MEMORY_FD, &st))
		return 2;
	size_t tensors = 0;
	for (int i = 0; i < cfg.tensors; i++)
		tensors += (size_t)cfg.tensor_size[i] * cfg.tensor_size[i] * 3;
	if ((size_t)st.st_size < cfg.request_cap + cfg.jpeg_cap + tensors)
		return 2;
	uint8_t *memory = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, WORKER_MEMORY_FD, 0);
	if (memory == MAP_FAILED)
		return 2;
	// Pictures come and go in the same sizes: keep their pages rather than
	// have the kernel clear them anew for each frame.
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	mallopt(M_ARENA_MAX, 1);
	struct hello hello = {.magic = HELLO_MAGIC};
	uint8_t *jpeg = memory + cfg.request_cap;
	hello.codecs = decoders_open(cfg.max_pixels);
	if (!hello.codecs || render_open(&cfg, jpeg, jpeg + cfg.jpeg_cap))
		return 3;
	sandbox_enter(&cfg, &hello);
	if (write(WORKER_SOCKET_FD, &hello, sizeof hello) != sizeof hello)
		return 4;
	serve(&cfg, memory);
	return 0;
}

// enter runs before main, and so before the Go runtime: glibc gives
// constructors the program's arguments. A worker never returns from here.
__attribute__((constructor)) static void enter(int argc, char **argv, char **envp) {
	if (argc < 2 || strcmp(argv[1], "__picture-worker"))
		return;
	_exit(run(argc, argv, envp));
}
