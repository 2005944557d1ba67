// The picture worker: the C program inside the program that decodes what
// strangers send. It shares nothing with the Go side but one mapping of
// memory and one socket, both made by the parent.
#ifndef STILLWATCH_PICTURE_WORKER_H
#define STILLWATCH_PICTURE_WORKER_H

#include <libavutil/frame.h>
#include <stddef.h>
#include <stdint.h>

// WIDE has the compiler make a second version for wider registers, which is
// chosen when the program is loaded.
#if defined(__x86_64__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

enum { WORKER_SOCKET_FD = 3, WORKER_MEMORY_FD = 4, MAX_TENSORS = 4 };

enum op { OP_PICTURE = 1, OP_FLOOR = 2 };

enum status {
	STATUS_OK = 0,
	STATUS_UNDECODABLE = 1,
	STATUS_UNSUPPORTED = 2,
	STATUS_TOO_LARGE = 3,
	STATUS_INTERNAL = 4,
};

// request and response cross the socket as they lie in memory: both ends are
// the same binary. wire.go holds the same layouts.
struct request {
	uint32_t seq, op, codec, length;
	uint32_t max_height, rotation, quality, rounds;
};

struct response {
	uint32_t seq, status;
	uint32_t jpeg_length, width, height, source_width, source_height, frames;
	uint64_t phash;
	double luma_mean, luma_std;
	uint64_t decode_ns, scale_ns, encode_ns, tensor_ns, cpu_ns;
	char reason[64];
};

struct hello {
	uint32_t magic, codecs; // codecs: bit n is codec n
	int32_t landlock;       // ABI version in force, or minus errno
	int32_t seccomp;        // 1 in force, or minus errno
};

#define HELLO_MAGIC 0x73746c77u

// config comes from the parent's command line.
struct config {
	size_t request_cap, jpeg_cap; // bytes
	int64_t max_pixels;
	int tensors;
	int tensor_size[MAX_TENSORS];
	int debug; // tests only: see debug.c
};

// planes is an 8-bit 4:2:0 picture; chroma is (w+1)/2 by (h+1)/2.
struct planes {
	const uint8_t *data[3];
	int stride[3];
	int w, h;
	int floored; // values were rounded down and lie half a level too low
};

// plane_buffer owns the memory of a picture and only ever grows.
struct plane_buffer {
	uint8_t *base;
	size_t cap;
	uint8_t *data[3];
	int stride[3];
};

// decode.c
uint32_t decoders_open(int64_t max_pixels);
int decode_keyframe(int codec, const uint8_t *data, size_t size, AVFrame *frame, char reason[64]);

// planes.c
int buffer_reserve(struct plane_buffer *b, int w, int h);
int scale_and_turn(const struct planes *in, int max_height, int rotation,
                   struct plane_buffer scaled[2], struct planes *out);

// colour.c
enum matrix { MATRIX_601, MATRIX_709, MATRIX_2020 };
int to_jpeg_colour(const struct planes *in, enum matrix m, int full_range,
                   struct plane_buffer *buf, struct planes *out);

// look.c
uint64_t perceptual_hash(const struct planes *p);
void luma_stats(const struct planes *p, double *mean, double *std);

// tensor.c
int tensor_open(int largest);
int tensor_make(const struct planes *p, int n, uint8_t *out);

// render.c
int render_open(const struct config *cfg, uint8_t *jpeg, uint8_t *tensors);
void render(int codec, const AVFrame *frame, const struct request *req, int bare, struct response *res);

// sandbox.c
void sandbox_enter(const struct config *cfg, struct hello *report);

// debug.c
void debug_misbehave(const uint8_t *data, size_t size);

uint64_t now_ns(void);
void fail(struct response *res, enum status status, const char *reason);

#endif
