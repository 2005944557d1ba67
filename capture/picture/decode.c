//go:build cgo && linux

// From one coded keyframe to one decoded frame.
#include "worker.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavutil/log.h>

enum { CODEC_VP8, CODEC_VP9, CODEC_H264, CODEC_AV1, CODECS };

static AVCodecContext *decoders[CODECS];
static AVPacket *packet;
static int64_t pixel_limit;
static int exceeded; // the decoder complained about the frame's size

// on_log listens for the one complaint that has no error code of its own: a
// frame that is larger than max_pixels is "invalid data" to libavcodec.
static void on_log(void *avcl, int level, const char *format, va_list args) {
	(void)avcl;
	if (level > AV_LOG_ERROR)
		return;
	if (!strncmp(format, "Picture size %ux%u", 18)) {
		va_list copy;
		va_copy(copy, args);
		uint64_t w = va_arg(copy, unsigned), h = va_arg(copy, unsigned);
		va_end(copy);
		exceeded |= w * h > (uint64_t)pixel_limit;
	} else if (!strncmp(format, "Frame size ", 11) && strstr(format, "exceeds limit")) {
		exceeded = 1; // dav1d
	}
}

static AVCodecContext *open_decoder(const char *name) {
	const AVCodec *codec = avcodec_find_decoder_by_name(name);
	AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
	if (!c)
		return NULL;
	AVDictionary *options = NULL;
	c->thread_count = 1;
	c->max_pixels = pixel_limit; // before it sees a byte
	if (!strcmp(name, "libdav1d")) {
		c->flags |= AV_CODEC_FLAG_LOW_DELAY; // no frame is held back
		av_dict_set(&options, "max_frame_delay", "1", 0);
	}
	int err = avcodec_open2(c, codec, &options);
	av_dict_free(&options);
	if (err < 0)
		avcodec_free_context(&c);
	return c;
}

// decoders_open opens all decoders, since a sandboxed process could not do so
// later, and answers which of them there are.
uint32_t decoders_open(int64_t max_pixels) {
	static const char *const names[CODECS] = {"vp8", "vp9", "h264", "libdav1d"};
	uint32_t have = 0;
	pixel_limit = max_pixels;
	av_log_set_callback(on_log);
	if (!(packet = av_packet_alloc()))
		return 0;
	for (int i = 0; i < CODECS; i++)
		if ((decoders[i] = open_decoder(names[i])))
			have |= 1u << i;
	return have;
}

// has_parameter_sets tells whether SPS and PPS stand before the first slice.
// The decoder keeps parameter sets over a flush, so that a stream without its
// own would be decoded with another stream's.
static int has_parameter_sets(const uint8_t *d, size_t n) {
	int sps = 0, pps = 0;
	for (size_t i = 0; i + 3 < n; i++) {
		if (d[i] || d[i + 1] || d[i + 2] != 1)
			continue;
		switch (d[i + 3] & 0x1f) {
		case 7: sps = 1; break;
		case 8: pps = 1; break;
		case 1: case 2: case 5: return sps && pps;
		}
		i += 3;
	}
	return 0;
}

static void keep_mapping(void *opaque, uint8_t *data) {
	(void)opaque;
	(void)data;
}

// set_packet points the packet at the mapping, without a copy.
static int set_packet(const uint8_t *data, size_t size) {
	packet->buf = av_buffer_create((uint8_t *)data, size + AV_INPUT_BUFFER_PADDING_SIZE,
	                               keep_mapping, NULL, AV_BUFFER_FLAG_READONLY);
	if (!packet->buf)
		return AVERROR(ENOMEM);
	packet->data = (uint8_t *)data;
	packet->size = (int)size;
	packet->flags = AV_PKT_FLAG_KEY;
	return 0;
}

// receive takes what the decoder gives and keeps the last frame: of a VP9
// superframe with spatial layers that is the highest. The first must be a
// keyframe.
static int receive(AVCodecContext *c, AVFrame *frame, int *seen, int *damaged) {
	AVFrame *next = av_frame_alloc();
	int err = next ? 0 : AVERROR(ENOMEM);
	while (!err && !(err = avcodec_receive_frame(c, next))) {
		if (!(*seen)++ && !next->key_frame)
			*damaged = 1;
		if (next->decode_error_flags || (next->flags & AV_FRAME_FLAG_CORRUPT))
			*damaged = 1;
		av_frame_unref(frame);
		av_frame_move_ref(frame, next);
	}
	av_frame_free(&next);
	return err;
}

static int refuse(enum status status, const char *why, char reason[64]) {
	snprintf(reason, 64, "%s", why);
	return status;
}

static int outcome(int err, int seen, int damaged, char reason[64]) {
	if (exceeded)
		return refuse(STATUS_TOO_LARGE, "frame has too many pixels", reason);
	if (err == AVERROR(ENOMEM))
		return refuse(STATUS_TOO_LARGE, "frame needs too much memory", reason);
	if (err == AVERROR_PATCHWELCOME)
		return refuse(STATUS_UNSUPPORTED, "decoder does not know this profile", reason);
	if (!seen)
		return refuse(STATUS_UNDECODABLE, err == AVERROR_EOF || err == AVERROR(EAGAIN) ? "no frame in it" : "invalid data", reason);
	if (err < 0 && err != AVERROR_EOF && err != AVERROR(EAGAIN))
		return refuse(STATUS_UNDECODABLE, "invalid data", reason);
	if (damaged)
		return refuse(STATUS_UNDECODABLE, "damaged, or no keyframe", reason);
	return STATUS_OK;
}

// decode_keyframe decodes size bytes that have AV_INPUT_BUFFER_PADDING_SIZE
// zero bytes behind them. Nothing of the frame stays in the decoder.
int decode_keyframe(int codec, const uint8_t *data, size_t size, AVFrame *frame, char reason[64]) {
	AVCodecContext *c = codec >= 0 && codec < CODECS ? decoders[codec] : NULL;
	if (!c)
		return refuse(STATUS_UNSUPPORTED, "no decoder for this codec", reason);
	if (size == 0 || size > INT_MAX - AV_INPUT_BUFFER_PADDING_SIZE)
		return refuse(STATUS_UNDECODABLE, "empty", reason);
	if (codec == CODEC_H264 && !has_parameter_sets(data, size))
		return refuse(STATUS_UNDECODABLE, "no SPS and PPS before the slice", reason);
	int seen = 0, damaged = 0;
	exceeded = 0;
	int err = set_packet(data, size);
	if (!err)
		err = avcodec_send_packet(c, packet);
	av_packet_unref(packet);
	if (!err)
		err = receive(c, frame, &seen, &damaged);
	if (err == AVERROR(EAGAIN)) { // H.264 holds frames back for reordering
		avcodec_send_packet(c, NULL);
		err = receive(c, frame, &seen, &damaged);
	}
	avcodec_flush_buffers(c);
	return outcome(err, seen, damaged, reason);
}
