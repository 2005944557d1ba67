//go:build cgo && linux

// Scaling and turning of 4:2:0 pictures, plane by plane.
#include "worker.h"

#include <stdlib.h>

#include <libyuv/rotate.h>
#include <libyuv/scale.h>

static int chroma(int luma) { return (luma + 1) / 2; }

// buffer_reserve makes room for w by h, and for the one column and row more
// that JPEG coding of odd sizes reads.
int buffer_reserve(struct plane_buffer *b, int w, int h) {
	int luma = (w + 1 + 63) & ~63, half = (chroma(w) + 63) & ~63;
	size_t y = (size_t)luma * (h + 1), c = (size_t)half * chroma(h);
	if (y + 2 * c > b->cap) {
		free(b->base);
		b->cap = 0;
		if (posix_memalign((void **)&b->base, 64, y + 2 * c + 64)) {
			b->base = NULL;
			return -1;
		}
		b->cap = y + 2 * c;
	}
	b->data[0] = b->base;
	b->data[1] = b->base + y;
	b->data[2] = b->base + y + c;
	b->stride[0] = luma;
	b->stride[1] = b->stride[2] = half;
	return 0;
}

static void view(const struct plane_buffer *b, int w, int h, struct planes *out) {
	for (int i = 0; i < 3; i++) {
		out->data[i] = b->data[i];
		out->stride[i] = b->stride[i];
	}
	out->w = w;
	out->h = h;
}

static int scale(const struct planes *in, int w, int h, struct plane_buffer *buf, struct planes *out) {
	if (buffer_reserve(buf, w, h))
		return -1;
	for (int i = 0; i < 3; i++) {
		int c = i > 0;
		ScalePlane(in->data[i], in->stride[i], c ? chroma(in->w) : in->w, c ? chroma(in->h) : in->h,
		           buf->data[i], buf->stride[i], c ? chroma(w) : w, c ? chroma(h) : h, kFilterBox);
	}
	view(buf, w, h, out);
	// libyuv takes its box filter from here on, which does not round.
	out->floored = h * 2 < in->h;
	return 0;
}

static int turn(const struct planes *in, int rotation, struct plane_buffer *buf, struct planes *out) {
	int side = rotation == 90 || rotation == 270;
	int w = side ? in->h : in->w, h = side ? in->w : in->h;
	if (buffer_reserve(buf, w, h))
		return -1;
	for (int i = 0; i < 3; i++)
		RotatePlane(in->data[i], in->stride[i], buf->data[i], buf->stride[i],
		            i ? chroma(in->w) : in->w, i ? chroma(in->h) : in->h, (enum RotationMode)rotation);
	view(buf, w, h, out);
	return 0;
}

// scale_and_turn reduces the picture so that it is at most max_height high
// once it is turned, and turns it: in this order, because turning costs by
// the pixel. Without work to do out is in itself.
int scale_and_turn(const struct planes *in, int max_height, int rotation,
                   struct plane_buffer bufs[2], struct planes *out) {
	int side = rotation == 90 || rotation == 270;
	int upright = side ? in->w : in->h, across = side ? in->h : in->w;
	*out = *in;
	if (max_height > 0 && upright > max_height) {
		int64_t width = ((int64_t)across * max_height + upright / 2) / upright;
		int w = width < 1 ? 1 : (int)width;
		if (scale(in, side ? max_height : w, side ? w : max_height, &bufs[0], out))
			return -1;
	}
	if (rotation) {
		struct planes flat = *out;
		return turn(&flat, rotation, &bufs[1], out);
	}
	return 0;
}
