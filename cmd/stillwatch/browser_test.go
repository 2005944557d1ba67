package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stillwatch/capture"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
	"stillwatch/internal/testkit"

	"github.com/chromedp/chromedp"
	"github.com/disintegration/imaging"
)

// fakeCamera is a clip for Chromium's fake camera: raw video, with a little
// moving grain, of one of the fixtures.
func fakeCamera(t *testing.T, picture string) string {
	t.Helper()
	dir := t.TempDir()
	b, err := synthetic.Picture(picture)
	if err != nil {
		t.Fatal(err)
	}
	source, out := filepath.Join(dir, "picture.png"), filepath.Join(dir, "camera.y4m")
	if err := os.WriteFile(source, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-loglevel", "error", "-loop", "1", "-framerate", "20", "-t", "1",
		"-i", source, "-vf", "scale=1280:720:out_color_matrix=bt601:out_range=tv,noise=alls=3:allf=t,format=yuv420p", out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make fake camera: %v: %s", err, text)
	}
	return out
}

// browser starts headless Chromium with a fake camera and microphone.
func browser(t *testing.T, camera string) context.Context {
	t.Helper()
	bin, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is not installed: run make setup-test")
	}
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(bin), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900),
		chromedp.Flag("use-fake-ui-for-media-stream", true), chromedp.Flag("use-fake-device-for-media-stream", true),
		chromedp.Flag("use-file-for-fake-video-capture", camera), chromedp.Flag("allow-loopback-in-peer-connection", true),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
	)
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel()
		cancelAlloc()
	})
	return ctx
}

// framesOf waits until n frames of a call are in the database and returns
// them, oldest first.
func (r *rig) framesOf(t *testing.T, cid string, n int) []db.FrameRow {
	t.Helper()
	var rows []db.FrameRow
	testkit.Eventually(t, 90*time.Second, func() bool {
		rows = nil
		if err := r.db.NewSelect().Model(&rows).Where("cid = ?", cid).Order("captured_at").Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(rows) >= n
	}, fmt.Sprintf("%d frames of %s", n, cid))
	return rows
}

// TestBrowserPublishesEachCodec joins with Chromium through the call page and
// holds the stills against the picture that the camera shows.
func TestBrowserPublishesEachCodec(t *testing.T) {
	r := startRig(t)
	camera := fakeCamera(t, "sexy")
	source := decodePNG(t, "sexy")
	for _, codec := range []event.Codec{event.VP8, event.H264, event.VP9, event.AV1} {
		t.Run(string(codec), func(t *testing.T) {
			ctx := browser(t, camera)
			user, id := "browser-"+string(codec), "browser-"+string(codec)
			url := fmt.Sprintf("%s/call/default/%s?codec=%s&hint=detail&audio=0&auto=1#token=%s", r.URL(), id, codec, r.token(user, ""))
			if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
				t.Fatal(err)
			}
			rows := r.framesOf(t, "default:"+id, 6)
			r.checkFrames(t, rows, user, codec, source)
		})
	}
}

func (r *rig) checkFrames(t *testing.T, rows []db.FrameRow, user string, codec event.Codec, source image.Image) {
	t.Helper()
	// The first keyframes are small while the browser finds its bit rate.
	worst := math.Inf(1)
	for _, f := range rows {
		if f.UserID != user || f.Codec != string(codec) || f.TrackType != string(event.TrackVideo) {
			t.Errorf("frame of %s %s %s, want %s %s", f.UserID, f.Codec, f.TrackType, user, codec)
		}
		body, err := r.blobs.Get(t.Context(), f.ObjectKey)
		if err != nil {
			t.Fatal(err)
		}
		img, err := jpeg.Decode(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		want := imaging.Resize(source, f.Width, f.Height, imaging.Box)
		upright := psnr(img, want)
		if flipped := psnr(img, imaging.FlipV(want)); flipped >= upright {
			t.Errorf("frame is upside down: PSNR %.1f dB upright, %.1f flipped", upright, flipped)
		}
		worst = min(worst, upright)
	}
	if worst <= 25 {
		t.Errorf("PSNR against the camera's picture is %.1f dB, want more than 25", worst)
	}
	gaps := make([]float64, 0, len(rows))
	for i := 1; i < len(rows); i++ {
		gaps = append(gaps, rows[i].CapturedAt.Sub(rows[i-1].CapturedAt.Time).Seconds())
	}
	last := rows[len(rows)-1]
	t.Logf("%s: %d frames, worst PSNR %.1f dB, last %dx%d, distances %.2f s", codec, len(rows), worst, last.Width, last.Height, gaps)
	if mean := rows[len(rows)-1].CapturedAt.Sub(rows[0].CapturedAt.Time).Seconds() / float64(len(gaps)); math.Abs(mean-2) > 0.3 {
		t.Errorf("mean distance of frames is %.2f s, want 2", mean)
	}
}

func decodePNG(t *testing.T, name string) image.Image {
	t.Helper()
	b, err := synthetic.Picture(name)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// psnr is the peak signal-to-noise ratio over red, green and blue in dB.
func psnr(a, b image.Image) float64 {
	p, q := imaging.Clone(a).Pix, imaging.Clone(b).Pix
	if len(p) != len(q) {
		return 0
	}
	sum, n := 0, 0
	for i := range p {
		if i%4 == 3 {
			continue // alpha
		}
		d := int(p[i]) - int(q[i])
		sum += d * d
		n++
	}
	return 10 * math.Log10(255*255*float64(n)/float64(sum))
}

// TestConsoleShowsTheCallBlurred opens the console as a moderator and looks
// at the wall.
func TestConsoleShowsTheCallBlurred(t *testing.T) {
	r := startRig(t)
	r.mustJoin("default:wall", "ada", clip(t, "neutral", event.VP8))
	r.mustJoin("default:wall", "ben", clip(t, "drawing", event.H264))
	ctx := browser(t, fakeCamera(t, "neutral"))
	if err := chromedp.Do(ctx, chromedp.Navigate(r.URL()+"/console/#token="+r.token("mo", "moderator"))); err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if _, err := chromedp.Run(wait, chromedp.Poll[bool](`document.querySelectorAll('[data-testid="tile"] img').length >= 2`)); err != nil {
		t.Fatalf("wait for two tiles: %v", err)
	}
	filter, err := chromedp.Run(wait, chromedp.Evaluate[string](`getComputedStyle(document.querySelector('[data-testid="tile"] img')).filter`))
	if err != nil {
		t.Fatal(err)
	}
	shot, err := chromedp.Run(wait, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	keep(t, "console.png", shot)
	if want := "blur("; !bytes.Contains([]byte(filter), []byte(want)) {
		t.Errorf("a still on the wall has the filter %q before anybody looks at it, want one with %q", filter, want)
	}
}

// keep leaves a picture for people to look at where SCREENSHOTS says.
func keep(t *testing.T, name string, shot []byte) {
	t.Helper()
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name), shot, 0o644); err != nil {
			t.Error(err)
		}
	}
}

// TestBrowserSimulcast joins with Chromium, which sends three sizes, calls of
// two types, and looks at which size the stills are taken of.
func TestBrowserSimulcast(t *testing.T) {
	r := startRig(t)
	ctx := browser(t, fakeCamera(t, "sexy"))
	source := decodePNG(t, "sexy")
	for _, tc := range []struct {
		quality string
		lines   int
		layer   string
	}{{"720p", 720, "f"}, {"360p", 360, "h"}} {
		t.Run(tc.quality, func(t *testing.T) {
			body := fmt.Sprintf(`{"name":"at%s","settings":{"frame_recording":{"mode":"auto-on","quality":%q}}}`, tc.quality, tc.quality)
			if code := r.api("POST", "/api/v2/video/calltypes", body, nil); code != 201 {
				t.Fatalf("make call type: %d", code)
			}
			user, cid := "simulcast-"+tc.quality, "at"+tc.quality+":simulcast"
			url := fmt.Sprintf("%s/call/at%s/simulcast?codec=VP8&simulcast=1&audio=0&auto=1#token=%s", r.URL(), tc.quality, r.token(user, ""))
			if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
				t.Fatal(err)
			}
			rows := r.framesOf(t, cid, 1)
			var counts capture.TrackCounts
			testkit.Eventually(t, 60*time.Second, func() bool {
				counts, _ = r.sampler.Track(rows[0].TrackID)
				return counts.Layer == tc.layer && counts.SourceHeight == tc.lines
			}, tc.quality, "is taken of layer", tc.layer, "with lines", tc.lines)
			ramp := counts.Captured
			t.Logf("%s: %d frames until layer %q with %d lines", tc.quality, ramp, counts.Layer, counts.SourceHeight)
			layers := map[string]int{} // now and then a larger one is looked at
			for seen := ramp; seen < ramp+6; seen++ {
				testkit.Eventually(t, 20*time.Second, func() bool {
					counts, _ = r.sampler.Track(rows[0].TrackID)
					return counts.Captured > seen
				}, "another frame")
				layers[fmt.Sprintf("%s with %d lines", counts.Layer, counts.SourceHeight)]++
			}
			rows = r.framesOf(t, cid, ramp+5)
			r.checkFrames(t, rows, user, event.VP8, source)
			for _, f := range rows[ramp:] {
				if f.Height != tc.lines {
					t.Errorf("a frame has %d lines, want %d", f.Height, tc.lines)
				}
			}
			t.Logf("%s: frames by layer %v, gaps %v", tc.quality, layers, r.sampler.Stats().Gaps)
			if n := layers[fmt.Sprintf("%s with %d lines", tc.layer, tc.lines)]; n == 0 {
				t.Errorf("no frame of 6 is taken of layer %q with %d lines: %v", tc.layer, tc.lines, layers)
			}
		})
	}
}

// TestBannedUserIsToldSo bans somebody whose page is open.
func TestBannedUserIsToldSo(t *testing.T) {
	r := startRig(t)
	ctx := browser(t, fakeCamera(t, "neutral"))
	url := fmt.Sprintf("%s/call/default/told?codec=VP8&audio=0&auto=1#token=%s", r.URL(), r.token("zoe", ""))
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	r.framesOf(t, "default:told", 1)
	banned := time.Now()
	if code := r.api("POST", "/api/v2/moderation/ban", `{"target_user_id":"zoe","banned_by_id":"mo","reason":"nudity","timeout":60}`, nil); code/100 != 2 {
		t.Fatalf("ban: %d", code)
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	text, err := chromedp.Run(wait, chromedp.Poll[string](`(() => {
		const told = document.querySelector('[data-testid="removed-reason"]');
		return told.checkVisibility() && told.textContent;
	})()`))
	if err != nil {
		t.Fatalf("wait for the page to tell: %v", err)
	}
	t.Logf("after %v the page says: %s", time.Since(banned).Round(time.Millisecond), text)
	for _, want := range []string{"You were removed", "banned until", "nudity"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page says %q, want %q in it", text, want)
		}
	}
	still, err := chromedp.Run(wait, chromedp.Evaluate[bool](`document.querySelector('[data-testid="preview"]').srcObject !== null`))
	if err != nil || still {
		t.Errorf("the camera is still on: %t %v", still, err)
	}
}
