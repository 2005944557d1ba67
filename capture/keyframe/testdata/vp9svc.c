// vp9svc writes three VP9 pictures of three spatial layers (160x90, 320x180,
// 640x360), as superframes in an IVF file. It made vp9svc.ivf:
//   cc -o vp9svc vp9svc.c -lvpx && ./vp9svc vp9svc.ivf
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vpx/vp8cx.h>
#include <vpx/vpx_encoder.h>

enum { W = 640, H = 360, LAYERS = 3, PICTURES = 3 };

static void le(FILE *f, uint64_t v, int n) {
	for (int i = 0; i < n; i++)
		fputc((int)(v >> (8 * i) & 255), f);
}

static void header(FILE *f) {
	fwrite("DKIF", 1, 4, f);
	le(f, 0, 2);
	le(f, 32, 2);
	fwrite("VP90", 1, 4, f);
	le(f, W, 2);
	le(f, H, 2);
	le(f, 15, 4);
	le(f, 1, 4);
	le(f, PICTURES, 4);
	le(f, 0, 4);
}

static void paint(vpx_image_t *img, int n) {
	for (int y = 0; y < H; y++)
		for (int x = 0; x < W; x++)
			img->planes[0][y * img->stride[0] + x] = (uint8_t)((x + 8 * n) ^ (y * 2)) / 2 + 60;
	for (int p = 1; p < 3; p++)
		for (int y = 0; y < H / 2; y++)
			memset(img->planes[p] + y * img->stride[p], 90 + 30 * p + y / 8, W / 2);
}

static void must(vpx_codec_err_t err, const char *what) {
	if (err) {
		fprintf(stderr, "%s: %s\n", what, vpx_codec_err_to_string(err));
		exit(1);
	}
}

int main(int argc, char **argv) {
	FILE *f = argc == 2 ? fopen(argv[1], "wb") : NULL;
	if (!f)
		return 2;
	vpx_codec_enc_cfg_t cfg;
	must(vpx_codec_enc_config_default(vpx_codec_vp9_cx(), &cfg, 0), "defaults");
	cfg.g_w = W;
	cfg.g_h = H;
	cfg.g_timebase.num = 1;
	cfg.g_timebase.den = 15;
	cfg.g_lag_in_frames = 0;
	cfg.g_pass = VPX_RC_ONE_PASS;
	cfg.g_threads = 1;
	cfg.rc_end_usage = VPX_CBR;
	cfg.rc_min_quantizer = 40;
	cfg.rc_max_quantizer = 60;
	cfg.rc_target_bitrate = 300;
	cfg.ss_number_layers = LAYERS;
	cfg.ts_number_layers = 1;
	cfg.ts_rate_decimator[0] = 1;
	vpx_svc_extra_cfg_t svc = {0};
	for (int i = 0; i < LAYERS; i++) {
		cfg.ss_target_bitrate[i] = cfg.layer_target_bitrate[i] = 100;
		svc.max_quantizers[i] = 60;
		svc.min_quantizers[i] = 40;
		svc.scaling_factor_num[i] = 1;
		svc.scaling_factor_den[i] = 1 << (LAYERS - 1 - i);
		svc.speed_per_layer[i] = 7;
	}
	vpx_codec_ctx_t c;
	must(vpx_codec_enc_init(&c, vpx_codec_vp9_cx(), &cfg, 0), "init");
	must(vpx_codec_control(&c, VP8E_SET_CPUUSED, 7), "speed");
	must(vpx_codec_control(&c, VP9E_SET_SVC, 1), "svc");
	must(vpx_codec_control(&c, VP9E_SET_SVC_PARAMETERS, &svc), "layers");
	vpx_image_t *img = vpx_img_alloc(NULL, VPX_IMG_FMT_I420, W, H, 16);
	header(f);
	for (int n = 0; n < PICTURES; n++) {
		paint(img, n);
		must(vpx_codec_encode(&c, img, n, 1, 0, VPX_DL_REALTIME), "encode");
		vpx_codec_iter_t it = NULL;
		const vpx_codec_cx_pkt_t *p;
		while ((p = vpx_codec_get_cx_data(&c, &it)))
			if (p->kind == VPX_CODEC_CX_FRAME_PKT) {
				le(f, p->data.frame.sz, 4);
				le(f, (uint64_t)n, 8);
				fwrite(p->data.frame.buf, 1, p->data.frame.sz, f);
			}
	}
	vpx_codec_destroy(&c);
	return fclose(f);
}
