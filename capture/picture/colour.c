//go:build cgo && linux

// From the stream's colours to those of JFIF: full range BT.601.
#include "worker.h"

#include <stdlib.h>
#include <string.h>

// Gains of limited range in units of 1/128: 255/219 and 255/224, right to
// 0.07 of a level at the end of the scale (BT.601-7, section 2.5.3).
enum { LUMA_GAIN = 149, CHROMA_GAIN = 146 };

// round is 64 for values that lie where they should, more for floored ones.
WIDE static void expand_luma(const uint8_t *restrict in, uint8_t *restrict out, int n, uint16_t round) {
	for (int i = 0; i < n; i++) {
		uint8_t above = in[i] > 16 ? in[i] - 16 : 0;
		uint16_t v = (uint16_t)(above * LUMA_GAIN + round) >> 7;
		out[i] = v > 255 ? 255 : (uint8_t)v;
	}
}

WIDE static void expand_chroma(const uint8_t *restrict in, uint8_t *restrict out, int n, int16_t round) {
	for (int i = 0; i < n; i++) {
		int16_t v = (int16_t)((int16_t)((in[i] - 128) * CHROMA_GAIN + round) >> 7);
		v = v < -128 ? -128 : v > 127 ? 127 : v;
		out[i] = (uint8_t)(v + 128);
	}
}

// recode holds what turns full range YCbCr of another matrix into BT.601,
// in units of 1/256: luma gets y[0] Cb + y[1] Cr on top, and so on.
struct recode { int y[2], cb[2], cr[2]; };

// The products of the BT.601 forward matrix (Kr 0.299, Kb 0.114) and the
// inverse of BT.709 (0.2126, 0.0722) or BT.2020 (0.2627, 0.0593).
static const struct recode recodes[] = {
	[MATRIX_709] = {{26, 50}, {253, -28}, {-19, 252}},
	[MATRIX_2020] = {{30, 27}, {255, -15}, {-22, 250}},
};

static uint8_t clamp(int v) { return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v; }

// recode_rows converts one row of chroma and the one or two rows of luma over
// it, in place. delta has room for a row of luma.
WIDE static void recode_rows(const struct recode *m, uint8_t *y[2], int rows, uint8_t *cb, uint8_t *cr,
                        int w, int16_t *delta) {
	for (int i = 0; i < (w + 1) / 2; i++) {
		int b = cb[i] - 128, r = cr[i] - 128;
		int16_t d = (int16_t)((m->y[0] * b + m->y[1] * r + 128) >> 8);
		delta[2 * i] = delta[2 * i + 1] = d;
		cb[i] = clamp(((m->cb[0] * b + m->cb[1] * r + 128) >> 8) + 128);
		cr[i] = clamp(((m->cr[0] * b + m->cr[1] * r + 128) >> 8) + 128);
	}
	for (int k = 0; k < rows; k++) {
		uint8_t *restrict row = y[k];
		for (int i = 0; i < w; i++) {
			int16_t v = (int16_t)(row[i] + delta[i]);
			row[i] = v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
		}
	}
}

static int recode(const struct recode *m, const struct plane_buffer *b, int w, int h) {
	int16_t *delta = malloc(((size_t)w + 1) * sizeof *delta);
	if (!delta)
		return -1;
	for (int r = 0; r < (h + 1) / 2; r++) {
		uint8_t *top = b->data[0] + (size_t)2 * r * b->stride[0];
		uint8_t *y[2] = {top, top + b->stride[0]};
		recode_rows(m, y, 2 * r + 1 < h ? 2 : 1, b->data[1] + (size_t)r * b->stride[1],
		            b->data[2] + (size_t)r * b->stride[2], w, delta);
	}
	free(delta);
	return 0;
}

// pad_odd repeats the last column and row, which JPEG coding reads when the
// size is odd.
static void pad_odd(const struct plane_buffer *b, int w, int h) {
	if (w & 1)
		for (int r = 0; r < h; r++) {
			uint8_t *row = b->data[0] + (size_t)r * b->stride[0];
			row[w] = row[w - 1];
		}
	if (h & 1) {
		uint8_t *last = b->data[0] + (size_t)(h - 1) * b->stride[0];
		memcpy(last + b->stride[0], last, (size_t)(w + 1) & ~(size_t)1);
	}
}

// to_jpeg_colour gives in, in JFIF's colours and with even padding. What is
// so already is not copied.
int to_jpeg_colour(const struct planes *in, enum matrix m, int full_range,
                   struct plane_buffer *buf, struct planes *out) {
	*out = *in;
	if (full_range && m == MATRIX_601 && !(in->w & 1) && !(in->h & 1))
		return 0;
	if (buffer_reserve(buf, in->w, in->h))
		return -1;
	for (int i = 0; i < 3; i++) {
		int w = i ? (in->w + 1) / 2 : in->w, h = i ? (in->h + 1) / 2 : in->h;
		for (int r = 0; r < h; r++) {
			const uint8_t *from = in->data[i] + (ptrdiff_t)r * in->stride[i];
			uint8_t *to = buf->data[i] + (size_t)r * buf->stride[i];
			if (full_range)
				memcpy(to, from, (size_t)w);
			else if (i)
				expand_chroma(from, to, w, in->floored ? 64 + CHROMA_GAIN / 2 : 64);
			else
				expand_luma(from, to, w, in->floored ? 64 + LUMA_GAIN / 2 : 64);
		}
		out->data[i] = buf->data[i];
		out->stride[i] = buf->stride[i];
	}
	if (m != MATRIX_601 && recode(&recodes[m], buf, in->w, in->h))
		return -1;
	pad_odd(buf, in->w, in->h);
	return 0;
}
