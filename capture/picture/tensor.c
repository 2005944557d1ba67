//go:build cgo && linux

// The small square RGB picture that models look at.
//
// The scaling is the models' own, bilinear with aligned corners: it takes two
// samples a side and averages no more. A box filter would be as cheap and the
// better picture, but it is not what the models were trained on, and moves
// their answers on detailed pictures by far more than they may.
#include "worker.h"

#include <stdlib.h>

// axis says for each output position where its two samples lie, and in 1/256
// how much of the second one counts.
struct axis {
	int *at;
	uint16_t *part;
};

struct squeezer {
	int side; // largest that there is room for
	struct axis luma, chroma;
	uint16_t *rows[3]; // blended source rows of Y, Cb, Cr; 8.8 fixed point
	int width;         // of rows
};

static struct squeezer s;

int tensor_open(int largest) {
	s.side = largest;
	s.luma.at = malloc(((size_t)largest + 1) * sizeof(int));
	s.chroma.at = malloc(((size_t)largest + 1) * sizeof(int));
	s.luma.part = malloc(((size_t)largest + 1) * sizeof(uint16_t));
	s.chroma.part = malloc(((size_t)largest + 1) * sizeof(uint16_t));
	return s.luma.at && s.chroma.at && s.luma.part && s.chroma.part ? 0 : -1;
}

static int reserve_rows(int width) {
	if (width <= s.width)
		return 0;
	for (int i = 0; i < 3; i++) {
		free(s.rows[i]);
		if (!(s.rows[i] = malloc(((size_t)width + 2) * sizeof(uint16_t))))
			return s.width = 0, -1;
	}
	s.width = width;
	return 0;
}

// place finds output i of n among size samples of a plane. Chroma samples lie
// in the middle of four of luma (JFIF 1.02, page 4): at 2k + 1/2 of luma.
static int place(int i, int n, int luma_size, int chroma, uint16_t *part) {
	int size = chroma ? (luma_size + 1) / 2 : luma_size;
	int64_t where = n > 1 ? ((int64_t)i * (luma_size - 1) * 256 + (n - 1) / 2) / (n - 1) : 0;
	if (chroma)
		where = (where - 128) / 2;
	if (where < 0)
		where = 0;
	if (where >= (int64_t)(size - 1) * 256) {
		*part = size > 1 ? 256 : 0;
		return size > 1 ? size - 2 : 0;
	}
	*part = (uint16_t)(where & 255);
	return (int)(where >> 8);
}

static void lay(struct axis *a, int n, int luma_size, int chroma) {
	for (int i = 0; i < n; i++)
		a->at[i] = place(i, n, luma_size, chroma, &a->part[i]);
}

// blend mixes two rows and repeats the last sample, for planes of one column.
WIDE static void blend(const uint8_t *restrict a, const uint8_t *restrict b, uint16_t part, int n, uint16_t *restrict out) {
	uint16_t rest = 256 - part;
	for (int i = 0; i < n; i++)
		out[i] = (uint16_t)(a[i] * rest + b[i] * part);
	out[n] = out[n - 1];
}

static void blend_row(const struct planes *p, int plane, int i, int n) {
	uint16_t part;
	int h = plane ? (p->h + 1) / 2 : p->h, w = plane ? (p->w + 1) / 2 : p->w;
	int at = place(i, n, p->h, plane > 0, &part);
	const uint8_t *a = p->data[plane] + (ptrdiff_t)at * p->stride[plane];
	blend(a, h > 1 ? a + p->stride[plane] : a, part, w, s.rows[plane]);
}

static int sample(const uint16_t *row, const struct axis *a, int x) {
	int at = a->at[x], part = a->part[x];
	return (row[at] * (256 - part) + row[at + 1] * part) >> 8;
}

static uint8_t level(int v) {
	v = (v + (1 << 19)) >> 20;
	return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
}

// squeeze_row makes one row of RGB from the blended rows, by the inverse of
// JFIF's matrix in units of 1/4096.
WIDE static void squeeze_row(int n, uint8_t *restrict out) {
	for (int x = 0; x < n; x++, out += 3) {
		int y = sample(s.rows[0], &s.luma, x) * 4096;
		int cb = sample(s.rows[1], &s.chroma, x) - 128 * 256;
		int cr = sample(s.rows[2], &s.chroma, x) - 128 * 256;
		out[0] = level(y + 5743 * cr);
		out[1] = level(y - 1410 * cb - 2925 * cr);
		out[2] = level(y + 7258 * cb);
	}
}

// tensor_make squeezes the whole picture, in JFIF's colours, to n by n.
int tensor_make(const struct planes *p, int n, uint8_t *out) {
	if (n > s.side || reserve_rows(p->w))
		return -1;
	lay(&s.luma, n, p->w, 0);
	lay(&s.chroma, n, p->w, 1);
	for (int y = 0; y < n; y++) {
		for (int i = 0; i < 3; i++)
			blend_row(p, i, y, n);
		squeeze_row(n, out + (size_t)3 * n * y);
	}
	return 0;
}
