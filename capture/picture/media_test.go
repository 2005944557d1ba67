//go:build cgo && linux

package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
)

// media describes one coded keyframe for the ffmpeg command to make.
type media struct {
	codec         event.Codec
	picture       string // fixture, or path
	width, height int
	matrix, pixel string // default bt601, yuv420p
	fullRange     bool
	tagged        bool // write matrix and range into the stream
	kbps          int
	filter        string // in front of the scaler
	x264          string // instead of the usual options
}

var codecs = []event.Codec{event.VP8, event.VP9, event.H264, event.AV1}

var coders = map[event.Codec][]string{
	event.VP8:  {"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0", "-f", "ivf"},
	event.VP9:  {"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0", "-lag-in-frames", "0", "-f", "ivf"},
	event.H264: {"-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-x264-params", "sliced-threads=0:slices=1:repeat-headers=1", "-f", "h264"},
	event.AV1:  {"-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-f", "ivf"},
}

var made sync.Map // media -> func() ([]byte, error)

// keyframe makes the medium once in the life of the test program.
func keyframe(t testing.TB, m media) []byte {
	t.Helper()
	once, _ := made.LoadOrStore(m, sync.OnceValues(func() ([]byte, error) { return m.encode() }))
	data, err := once.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(data)
}

func (m media) withDefaults() media {
	if m.picture == "" {
		m.picture = "neutral"
	}
	if m.matrix == "" {
		m.matrix = "bt601"
	}
	if m.pixel == "" {
		m.pixel = "yuv420p"
	}
	if m.width == 0 {
		m.width, m.height = 1280, 720
	}
	if m.kbps == 0 {
		m.kbps = 20000
	}
	return m
}

func (m media) encode() ([]byte, error) {
	m = m.withDefaults()
	rng := "tv"
	if m.fullRange {
		rng = "pc"
	}
	filter := m.filter
	if filter != "" {
		filter += ","
	}
	args := []string{
		"-vf", filter + fmt.Sprintf("scale=%d:%d:flags=area:out_color_matrix=%s:out_range=%s,format=%s", m.width, m.height, m.matrix, rng, m.pixel),
		"-frames:v", "1", "-b:v", fmt.Sprintf("%dk", m.kbps),
	}
	if m.tagged {
		space := map[string]string{"bt601": "smpte170m", "bt709": "bt709", "bt2020": "bt2020nc"}[m.matrix]
		args = append(args, "-colorspace", space, "-color_range", rng)
	}
	coder := coders[m.codec]
	if m.x264 != "" {
		coder = []string{"-c:v", "libx264", "-preset", "veryfast", "-x264-params", m.x264 + ":repeat-headers=1", "-f", "h264"}
	}
	data, err := ffmpeg(m.picture, append(args, coder...)...)
	if err != nil || m.codec == event.H264 {
		return data, err
	}
	if len(data) < 44 { // IVF: 32 bytes of file header, 12 of frame header
		return nil, fmt.Errorf("IVF of %d bytes", len(data))
	}
	size := int(binary.LittleEndian.Uint32(data[32:]))
	return data[44 : 44+size], nil
}

// ffmpeg runs the command on a picture and answers its standard output.
func ffmpeg(picture string, args ...string) ([]byte, error) {
	source, err := synthetic.Picture(picture)
	if errors.Is(err, synthetic.ErrNoPicture) {
		source, err = os.ReadFile(picture)
	}
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "picture-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, source, 0o600); err != nil {
		return nil, err
	}
	var stderr strings.Builder
	cmd := exec.Command("ffmpeg", append(append([]string{"-nostdin", "-loglevel", "error", "-i", in}, args...), out)...)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("ffmpeg %v: %w: %s", args, err, stderr.String())
	}
	return os.ReadFile(out)
}

var references sync.Map

// reference is the fixture scaled to w by h, RGB.
func reference(t testing.TB, picture string, w, h int) []byte {
	t.Helper()
	once, _ := references.LoadOrStore(fmt.Sprint(picture, w, h), sync.OnceValues(func() ([]byte, error) {
		return ffmpeg(picture, "-vf", fmt.Sprintf("scale=%d:%d:flags=area", w, h), "-pix_fmt", "rgb24", "-f", "rawvideo")
	}))
	rgb, err := once.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	return rgb
}

// rgb decodes a JPEG.
func rgb(t testing.TB, data []byte) (pix []byte, w, h int) {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	w, h = img.Bounds().Dx(), img.Bounds().Dy()
	pix = make([]byte, 0, 3*w*h)
	ycc := img.(*image.YCbCr)
	for y := range h {
		for x := range w {
			r, g, b, _ := ycc.YCbCrAt(x, y).RGBA()
			pix = append(pix, byte(r>>8), byte(g>>8), byte(b>>8))
		}
	}
	return pix, w, h
}

// turn turns an RGB picture clockwise.
func turn(pix []byte, w, h, degrees int) ([]byte, int, int) {
	for ; degrees > 0; degrees -= 90 {
		out := make([]byte, 0, len(pix))
		for y := range w {
			for x := range h {
				at := ((h-1-x)*w + y) * 3
				out = append(out, pix[at:at+3]...)
			}
		}
		pix, w, h = out, h, w
	}
	return pix, w, h
}

// psnr of two pictures, and how far each channel's mean is off.
func psnr(t testing.TB, a, b []byte) (db float64, off [3]float64) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("pictures of %d and %d bytes", len(a), len(b))
	}
	var squares float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		squares += d * d
		off[i%3] += d / float64(len(a)/3)
	}
	if squares == 0 {
		return math.Inf(1), off
	}
	return 10 * math.Log10(255*255*float64(len(a))/squares), off
}

// like fails the test unless got shows what want shows.
func like(t testing.TB, what string, got, want []byte, atLeast float64) {
	t.Helper()
	db, off := psnr(t, got, want)
	t.Logf("%s: PSNR %.1f dB, channels off by %+.1f %+.1f %+.1f", what, db, off[0], off[1], off[2])
	if db < atLeast {
		t.Errorf("%s: PSNR %.1f dB, want %.0f", what, db, atLeast)
	}
	for i, d := range off {
		if math.Abs(d) > 3 {
			t.Errorf("%s: channel %d is off by %.1f levels", what, i, d)
		}
	}
}

func newPool(t testing.TB, cfg Config) *Pool {
	t.Helper()
	if cfg.Workers == 0 {
		cfg.Workers = 1
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Deadline == 0 {
		cfg.Deadline = 20e9 // shared machines stall; tests of the deadline set it
	}
	p := NewPool(cfg)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func mustPicture(t testing.TB, p *Pool, r still.Request) still.Picture {
	t.Helper()
	got, err := p.Picture(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// deltaFrame is the second frame of a clip.
func deltaFrame(t testing.TB, codec event.Codec) []byte {
	t.Helper()
	clip, err := synthetic.MakeClip(t.Context(), t.TempDir(), synthetic.ClipConfig{
		Picture: "neutral", Codec: codec, Width: 320, Height: 180, Seconds: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return clip.Frames[1]
}
