package archive

import (
	"context"
	"errors"
	"image"
	"image/color"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/disintegration/imaging"

	"stillwatch/internal/event"
	"stillwatch/internal/jail"
)

// clip makes a file with ffmpeg, in a folder of its own unless its name is a path.
func clip(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	path := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("ffmpeg", append(append([]string{"-v", "error", "-nostdin"}, args...), path)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	return path
}

var (
	picture = []string{"-f", "lavfi", "-i", "testsrc=size=320x180:rate=25:duration=3"}
	sound   = []string{"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=32000:duration=3"}
	x264    = []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"}
)

func TestProbe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, format string
		args         []string
		video, audio string
		channels     int
	}{
		{"a.mp4", "mp4", slices.Concat(picture, sound, x264, []string{"-c:a", "aac", "-ac", "2"}), "h264", "aac", 2},
		{"a.webm", "webm", slices.Concat(picture, sound, []string{"-c:v", "libvpx", "-cpu-used", "8", "-deadline", "realtime", "-c:a", "libopus"}), "vp8", "opus", 1},
		{"a.wav", "wav", sound, "", "pcm_s16le", 1},
		{"a.m3u8", "hls", slices.Concat(picture, x264, []string{"-g", "25", "-f", "hls", "-hls_time", "1", "-hls_list_size", "0", "-hls_segment_type", "fmp4"}), "h264", "", 0},
		{"a.flv", "flv", slices.Concat(picture, sound, x264, []string{"-c:a", "aac", "-ar", "44100"}), "h264", "aac", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := clip(t, c.name, c.args...)
			info, err := Probe(t.Context(), path)
			noErr(t, err)
			seconds, err := strconv.ParseFloat(info.Format.Duration, 64)
			if err != nil || math.Abs(seconds-3) > 0.1 || info.Format.Name != c.format {
				t.Errorf("%+v", info.Format)
			}
			if off := float64(info.Format.Size)*8/seconds - float64(info.Format.BitRate); math.Abs(off) > 1000 || info.Format.BitRate == 0 {
				t.Errorf("bit rate is off by %v: %+v", off, info.Format)
			}
			var streams int64
			want := map[string]string{"video": c.video, "audio": c.audio}
			for i, s := range info.Streams {
				if s.Index != i || s.BitRate <= 0 || s.CodecName != want[s.CodecType] {
					t.Errorf("%+v", s)
				}
				if s.CodecType == "video" && (s.Width != 320 || s.Height != 180 || s.FrameRate != "25/1") || s.CodecType == "audio" && (s.Channels != c.channels || s.SampleRate == 0) {
					t.Errorf("%+v", s)
				}
				delete(want, s.CodecType)
				streams += s.BitRate
			}
			if want["video"]+want["audio"] != "" && len(info.Streams) != 1 || streams > info.Format.BitRate*11/10 {
				t.Errorf("%v is missing; streams %d of %d b/s", want, streams, info.Format.BitRate)
			}
			if c.format == "hls" {
				files, _ := os.ReadDir(filepath.Dir(path))
				var all int64
				for _, f := range files {
					i, _ := f.Info()
					all += i.Size()
				}
				if all != info.Format.Size || len(files) != 5 {
					t.Errorf("%d of %d bytes, %d files", info.Format.Size, all, len(files))
				}
			}
		})
	}
}

func TestProbeFailures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "a.mp4")
	noErr(t, os.WriteFile(text, []byte("no movie"), 0o600))
	var failed *jail.Error
	if _, err := Probe(t.Context(), text); !errors.As(err, &failed) || failed.Stderr == "" {
		t.Error(err)
	}
	if _, err := Probe(t.Context(), filepath.Join(dir, "none.mp4")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Probe(ctx, text); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// A playlist of a stranger's leads nowhere.
	outside := clip(t, "outside.ts", slices.Concat(picture, x264)...)
	for _, target := range []string{outside, "../" + filepath.Base(filepath.Dir(outside)) + "/outside.ts", "http://127.0.0.1:1/x.ts"} {
		list := filepath.Join(dir, "a.m3u8")
		noErr(t, os.WriteFile(list, []byte("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n"+target+"\n#EXT-X-ENDLIST\n"), 0o600))
		if info, err := Probe(t.Context(), list); err == nil {
			t.Errorf("%s: %+v", target, info)
		}
	}
}

func TestPlaylistFiles(t *testing.T) {
	t.Parallel()
	got, err := playlistFiles("#EXTM3U\r\n#EXT-X-MAP:URI=\"init.mp4\"\r\n#EXTINF:1,\r\na.m4s\n#EXTINF:1,\nsub/b.m4s\na.m4s\n#EXT-X-ENDLIST")
	if err != nil || !slices.Equal(got, []string{"init.mp4", "a.m4s", "sub/b.m4s"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzPlaylistFiles(f *testing.F) {
	f.Add("#EXTM3U\n#EXT-X-MAP:URI=\"../x\"\n/a\nb\nhttp://x/y")
	f.Fuzz(func(t *testing.T, text string) {
		names, err := playlistFiles(text)
		if err != nil && !errors.Is(err, ErrPlaylist) {
			t.Fatal(err)
		}
		for _, name := range names {
			if name == "" || filepath.IsAbs(name) || strings.HasPrefix(filepath.Clean(name), "..") {
				t.Fatalf("%q", name)
			}
		}
	})
}

// detail is how sharply neighbouring pixels of a picture differ.
func detail(img image.Image) (sum int) {
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X + 1; x < b.Max.X; x++ {
			p, q := color.GrayModel.Convert(img.At(x-1, y)).(color.Gray), color.GrayModel.Convert(img.At(x, y)).(color.Gray)
			sum += (int(p.Y) - int(q.Y)) * (int(p.Y) - int(q.Y))
		}
	}
	return sum
}

func TestContactSheet(t *testing.T) {
	t.Parallel()
	// The colour changes each third: red, green, blue.
	movie := clip(t, "a.mp4", "-f", "lavfi", "-i", "color=red:size=160x160:rate=10:duration=3,format=rgb24,geq=r='255*lt(N,10)':g='255*between(N,10,19)':b='255*gte(N,20)'",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
	info, err := Probe(t.Context(), movie)
	noErr(t, err)
	dir := t.TempDir()
	p, err := ContactSheet(t.Context(), movie, dir, info)
	noErr(t, err)
	img, err := imaging.Open(p.Sheet)
	noErr(t, err)
	if img.Bounds().Size() != image.Pt(3*320+8, 3*180+8) || len(p.Moments) != 9 || p.Moments[4] != 1500*time.Millisecond {
		t.Errorf("%v, %v", img.Bounds(), p.Moments)
	}
	for i := range 9 {
		r, g, b, _ := img.At(i%3*324+160, i/3*184+90).RGBA()
		if got := []uint32{r, g, b}; slices.Index(got, slices.Max(got)) != i/3 || slices.Max(got) < 0xc000 {
			t.Errorf("tile %d: %v", i, got)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 4 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestTheFirstSightIsBlurred(t *testing.T) {
	t.Parallel()
	movie := clip(t, "a.mp4", slices.Concat(picture, x264)...)
	info, err := Probe(t.Context(), movie)
	noErr(t, err)
	p, err := ContactSheet(t.Context(), movie, t.TempDir(), info)
	noErr(t, err)
	for sharp, soft := range map[string]string{p.Sheet: p.SheetBlurred, p.Thumbnail: p.ThumbnailBlurred} {
		a, err := imaging.Open(sharp)
		noErr(t, err)
		b, err := imaging.Open(soft)
		noErr(t, err)
		if a.Bounds() != b.Bounds() || detail(b)*4 > detail(a) {
			t.Errorf("%s has %d of detail, %s has %d", sharp, detail(a), soft, detail(b))
		}
	}
}

func TestNoPicture(t *testing.T) {
	t.Parallel()
	path := clip(t, "a.wav", sound...)
	info, err := Probe(t.Context(), path)
	noErr(t, err)
	if _, err := ContactSheet(t.Context(), path, t.TempDir(), info); !errors.Is(err, ErrNoPicture) {
		t.Error(err)
	}
	if _, err := ContactSheet(t.Context(), path, t.TempDir(), event.MediaInfo{}); !errors.Is(err, ErrNoPicture) {
		t.Error(err)
	}
}
