//go:build cgo && linux

// What a picture looks like, in few numbers.
#include "worker.h"

#include <math.h>
#include <stdlib.h>

#include <libyuv/scale.h>

enum { SIDE = 32, BITS = 8 };

// frequencies is the part of the DCT-II basis that the hash looks at: the
// eight lowest frequencies above the constant one.
static const float (*frequencies(void))[SIDE] {
	static float basis[BITS][SIDE];
	static int ready;
	for (; !ready; ready = 1)
		for (int u = 0; u < BITS; u++)
			for (int x = 0; x < SIDE; x++)
				basis[u][x] = sqrtf(2.0f / SIDE) * cosf((float)M_PI * (2 * x + 1) * (u + 1) / (2 * SIDE));
	return basis;
}

static int ascending(const void *a, const void *b) {
	float d = *(const float *)a - *(const float *)b;
	return (d > 0) - (d < 0);
}

// perceptual_hash is the DCT hash of C. Zauner, "Implementation and
// Benchmarking of Perceptual Image Hash Functions" (2010), section 3.2.1:
// luma reduced to 32 by 32, its DCT, of that the 8 by 8 lowest frequencies
// without the constant ones, and a bit for each that is above their median.
// The box filter of the reduction stands for the paper's mean filter. Bit 63
// is the lowest frequency, rows go first. A plain surface hashes to 0.
uint64_t perceptual_hash(const struct planes *p) {
	uint8_t small[SIDE * SIDE];
	float rows[SIDE][BITS], coefficient[BITS * BITS], sorted[BITS * BITS];
	const float (*basis)[SIDE] = frequencies();
	ScalePlane(p->data[0], p->stride[0], p->w, p->h, small, SIDE, SIDE, SIDE, kFilterBox);
	for (int y = 0; y < SIDE; y++)
		for (int u = 0; u < BITS; u++) {
			float sum = 0;
			for (int x = 0; x < SIDE; x++)
				sum += basis[u][x] * small[y * SIDE + x];
			rows[y][u] = sum;
		}
	for (int v = 0; v < BITS; v++)
		for (int u = 0; u < BITS; u++) {
			float sum = 0;
			for (int y = 0; y < SIDE; y++)
				sum += basis[v][y] * rows[y][u];
			// Less than half a level is rounding, not picture.
			coefficient[v * BITS + u] = sorted[v * BITS + u] = fabsf(sum) < 0.5f ? 0 : sum;
		}
	qsort(sorted, BITS * BITS, sizeof *sorted, ascending);
	float median = (sorted[BITS * BITS / 2 - 1] + sorted[BITS * BITS / 2]) / 2;
	uint64_t hash = 0;
	for (int i = 0; i < BITS * BITS; i++)
		hash = hash << 1 | (coefficient[i] > median);
	return hash;
}

// luma_stats looks at no more than some 256 evenly spread rows.
void luma_stats(const struct planes *p, double *mean, double *std) {
	int step = p->h / 256 + 1;
	uint64_t sum = 0, squares = 0, n = 0;
	for (int y = step / 2; y < p->h; y += step) {
		const uint8_t *row = p->data[0] + (ptrdiff_t)y * p->stride[0];
		uint32_t s = 0, q = 0; // up to 65535 pixels of 255 * 255 fit
		for (int x = 0; x < p->w; x++) {
			s += row[x];
			q += (uint32_t)row[x] * row[x];
		}
		sum += s;
		squares += q;
		n += (uint64_t)p->w;
	}
	*mean = n ? (double)sum / (double)n : 0;
	double variance = n ? (double)squares / (double)n - *mean * *mean : 0;
	*std = variance > 0 ? sqrt(variance) : 0;
}
