//go:build cgo && linux

// From a decoded frame to JPEG, tensors and numbers.
#include "worker.h"

#include <turbojpeg.h>

enum { LARGEST_SIDE = 65500 }; // JPEG_MAX_DIMENSION of libjpeg

static const struct config *config;
static tjhandle jpeg_coder;
static uint8_t *jpeg_area, *tensor_area;
static struct plane_buffer turned[2], coloured;

int render_open(const struct config *cfg, uint8_t *jpeg, uint8_t *tensors) {
	int largest = 0;
	for (int i = 0; i < cfg->tensors; i++)
		if (cfg->tensor_size[i] > largest)
			largest = cfg->tensor_size[i];
	config = cfg;
	jpeg_area = jpeg;
	tensor_area = tensors;
	jpeg_coder = tjInitCompress();
	return jpeg_coder && !tensor_open(largest) ? 0 : -1;
}

// source_matrix and full_range read the stream's colour description. VP8 has
// only BT.601 in limited range (RFC 6386, section 9.2; libavcodec takes its
// clamping bit for a range). What says nothing is BT.601 at every size: that
// is what WebRTC senders convert with.
static int source_matrix(int codec, const AVFrame *f, enum matrix *m) {
	*m = MATRIX_601;
	if (codec == 0)
		return 0;
	switch (f->colorspace) {
	case AVCOL_SPC_UNSPECIFIED:
	case AVCOL_SPC_RESERVED:
	case AVCOL_SPC_BT470BG:
	case AVCOL_SPC_SMPTE170M:
	case AVCOL_SPC_FCC:
		return 0;
	case AVCOL_SPC_BT709:
	case AVCOL_SPC_SMPTE240M: // differs from BT.709 by less than a level
		*m = MATRIX_709;
		return 0;
	case AVCOL_SPC_BT2020_NCL:
	case AVCOL_SPC_BT2020_CL:
		*m = MATRIX_2020;
		return 0;
	default:
		return -1;
	}
}

static int full_range(int codec, const AVFrame *f) {
	return codec != 0 && (f->format == AV_PIX_FMT_YUVJ420P || f->color_range == AVCOL_RANGE_JPEG);
}

static int encode(const struct planes *p, int quality, struct response *res) {
	unsigned char *out = jpeg_area;
	const unsigned char *planes[3] = {p->data[0], p->data[1], p->data[2]};
	unsigned long size = tjBufSize(p->w, p->h, TJSAMP_420);
	if (size > config->jpeg_cap)
		return STATUS_TOO_LARGE;
	if (tjCompressFromYUVPlanes(jpeg_coder, planes, p->w, p->stride, p->h, TJSAMP_420,
	                            &out, &size, quality, TJFLAG_NOREALLOC))
		return STATUS_INTERNAL;
	res->jpeg_length = (uint32_t)size;
	return STATUS_OK;
}

static void finish(const struct planes *p, const struct request *req, int bare, struct response *res) {
	uint64_t start = now_ns();
	int status = encode(p, (int)req->quality, res);
	if (status != STATUS_OK) {
		fail(res, status, status == STATUS_INTERNAL ? tjGetErrorStr2(jpeg_coder) : "picture exceeds the JPEG buffer");
		return;
	}
	uint64_t encoded = now_ns();
	uint8_t *out = tensor_area;
	for (int i = 0; i < config->tensors; i++) {
		if (tensor_make(p, config->tensor_size[i], out)) {
			fail(res, STATUS_TOO_LARGE, "picture needs too much memory");
			return;
		}
		out += (size_t)config->tensor_size[i] * config->tensor_size[i] * 3;
	}
	if (!bare) {
		res->phash = perceptual_hash(p);
		luma_stats(p, &res->luma_mean, &res->luma_std);
	}
	res->encode_ns = encoded - start;
	res->tensor_ns = now_ns() - encoded;
}

void render(int codec, const AVFrame *f, const struct request *req, int bare, struct response *res) {
	enum matrix matrix;
	if ((f->format != AV_PIX_FMT_YUV420P && f->format != AV_PIX_FMT_YUVJ420P) || source_matrix(codec, f, &matrix)) {
		fail(res, STATUS_UNSUPPORTED, "not 8-bit 4:2:0 YCbCr");
		return;
	}
	res->source_width = (uint32_t)f->width;
	res->source_height = (uint32_t)f->height;
	if ((int64_t)f->width * f->height > config->max_pixels || f->width > LARGEST_SIDE || f->height > LARGEST_SIDE) {
		fail(res, STATUS_TOO_LARGE, "frame has too many pixels");
		return;
	}
	uint64_t start = now_ns();
	struct planes source = {.w = f->width, .h = f->height}, upright, out;
	for (int i = 0; i < 3; i++) {
		source.data[i] = f->data[i];
		source.stride[i] = f->linesize[i];
	}
	if (scale_and_turn(&source, (int)req->max_height, (int)req->rotation, turned, &upright) ||
	    to_jpeg_colour(&upright, matrix, full_range(codec, f), &coloured, &out)) {
		fail(res, STATUS_TOO_LARGE, "picture needs too much memory");
		return;
	}
	res->width = (uint32_t)out.w;
	res->height = (uint32_t)out.h;
	res->scale_ns = now_ns() - start;
	finish(&out, req, bare, res);
}
