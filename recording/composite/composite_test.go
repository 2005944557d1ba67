package composite

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stillwatch/recording/layout"
)

func TestParticipants(t *testing.T) {
	t.Parallel()
	codecs := []string{"VP8", "H264"}
	for _, n := range []int{1, 2, 3, 5, 9, 10} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			c := newCall(t, 1480*time.Millisecond)
			for i := range n {
				p := c.join(fmt.Sprint(i), 0, c.length)
				k := key(codecs[i%2], i, 50)
				k.every = 5
				c.film(p, false, []shot{{clipKey: k}})
			}
			o := Options{Quality: "360p", MaxChunk: time.Second, Arrange: layout.Options{MaxTiles: 10}}
			m, chunks, dir := render(t, c, o)
			if len(chunks) < 2 {
				t.Errorf("%d chunks, want a seam", len(chunks))
			}
			path := join(t, m, chunks, "", dir)[0]
			c.check(t, decode(t, path, m.Width, m.Height), m, o)
			if s := probe(t, path, "-show_entries", "stream=codec_type"); s != "video" {
				t.Errorf("streams %q, want video only", s)
			}
			if d := duration(t, path); abs(int(d-c.length)) > int(m.time(1)) {
				t.Errorf("lasts %v, want %v", d, c.length)
			}
		})
	}
}

func TestScreenCardNamesAndBlur(t *testing.T) {
	t.Parallel()
	c := newCall(t, 3*time.Second)
	speaker := c.join("speaker", 0, c.length)
	c.film(speaker, false, []shot{{clipKey: key("VP8", 0, 75)}})
	c.film(speaker, true, []shot{{clipKey: key("VP9", 4, 25), at: time.Second}})
	off := c.join("off", 0, c.length)
	c.film(off, false, []shot{{clipKey: key("H264", 2, 25), at: 2 * time.Second}}) // camera on at last
	o := Options{Quality: "480p", Names: true, Watermark: "mark", Arrange: layout.Options{CardWhenOff: true}, Background: "#203040"}
	m, chunks, dir := render(t, c, o)
	f := decode(t, join(t, m, chunks, "", dir)[0], m.Width, m.Height)
	c.check(t, f, m, o)
	if got := f.at(10, 4, m.Height-4); near(got, colours[0], 14) {
		t.Error("the name is not burnt in")
	}

	o.Blur, o.Flagged = true, []string{"off"}
	m, chunks, dir = render(t, c, o)
	f = decode(t, join(t, m, chunks, "", dir)[0], m.Width, m.Height)
	for _, tile := range m.Chunks[0].Tiles {
		if tile.StreamID == "" {
			continue
		}
		if !tile.Blur || tile.Name != "" {
			t.Errorf("tile %+v shows a bystander", tile)
		}
		// Of number 21, five bars that alternate, nothing stands out.
		var bars [5]int
		place := shown(layout.Tile{Rect: tile.Rect})
		for bit := range bars {
			x := place.X + place.W/2 - counterBits*place.W/64 + bit*place.W/32 + place.W/64
			bars[bit] = int(f.at(21, x, tile.Rect.Y+tile.Rect.H/2).y)
		}
		for bit := 1; bit < 4; bit++ {
			if d := bars[bit] - (bars[bit-1]+bars[bit+1])/2; abs(d) > 30 {
				t.Errorf("the picture can be read: luma %v", bars)
			}
		}
	}
	for _, tile := range m.Chunks[len(m.Chunks)-1].Tiles {
		if tile.StreamID == "track-2-0" && tile.Blur {
			t.Error("the flagged user is blurred")
		}
	}
}

// The picture's shape and rotation change, its size changes within a shape, and
// pictures are lost.
func TestChangesWithinStream(t *testing.T) {
	t.Parallel()
	c := newCall(t, 3*time.Second)
	p := c.join("a", 0, c.length)
	small := clipKey{codec: "VP8", width: 160, height: 90, fps: 25, frames: 25, every: 25, colour: colours[1]}
	square := clipKey{codec: "VP8", width: 240, height: 180, fps: 25, frames: 25, every: 25, colour: colours[2]}
	big := key("VP8", 3, 25)
	c.film(p, false, []shot{
		{clipKey: small},
		{clipKey: square, at: time.Second, broken: func(n int) bool { return n > 12 }},
		{clipKey: big, at: 2 * time.Second, rotation: func(int) int { return 180 }},
	})
	c.tracks[0].Layers[0].Spans = []Span{{0, c.length}}
	o := Options{Quality: "360p", Arrange: layout.Options{Whole: true}}
	m, chunks, dir := render(t, c, o)
	f := decode(t, join(t, m, chunks, "", dir)[0], m.Width, m.Height)
	if len(f.frames) != 75 {
		t.Fatalf("%d frames, want 75", len(f.frames))
	}
	for n, want := range map[int]yuv{0: colours[1], 24: colours[1], 25: colours[2], 49: colours[2], 50: colours[3], 74: colours[3]} {
		if got := f.at(n, 320, 60); !near(got, want, 14) {
			t.Errorf("frame %d is %v, want %v", n, got, want)
		}
	}
	if got := f.at(30, 20, 100); got.y > 20 {
		t.Errorf("a picture of 4:3 has no bars at its sides: %v", got)
	}
	if n := f.counter(45, layout.Rect{X: 80, W: 480, H: 360}); n != 12 {
		t.Errorf("after the loss number %d stands, want 12", n)
	}
}

// The lowest layer that is large enough is taken, while it lasts.
func TestLayers(t *testing.T) {
	t.Parallel()
	c := newCall(t, 4*time.Second)
	p := c.join("a", 0, c.length)
	layer := func(h int) []shot {
		return []shot{{clipKey: clipKey{codec: "VP8", width: h * 16 / 9, height: h, fps: 25, frames: 100, every: 25, colour: colours[0]}}}
	}
	c.film(p, false, layer(360), layer(180), layer(90))
	c.film(c.join("b", 0, c.length), false, layer(180))
	c.film(c.join("c", 0, c.length), false, layer(180))
	c.tracks[0].Layers[1].Spans = []Span{{0, 2 * time.Second}} // the middle one ends
	o := Options{Quality: "360p"}
	m, chunks, dir := render(t, c, o)
	if len(m.Chunks) != 2 || m.Chunks[0].Tiles[0].StreamID != "track-0-1" || m.Chunks[1].Tiles[0].StreamID != "track-0-0" || m.Chunks[1].From != 2*time.Second {
		t.Errorf("chunks are %+v", m.Chunks)
	}
	c.check(t, decode(t, join(t, m, chunks, "", dir)[0], m.Width, m.Height), m, o)
}

func TestCopy(t *testing.T) {
	t.Parallel()
	for codec, format := range map[string]string{"H264": MP4, "VP8": WebM, "VP9": WebM} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			c := newCall(t, 2500*time.Millisecond)
			p := c.join("a", 0, c.length)
			k := clipKey{codec: codec, width: 640, height: 360, fps: 25, frames: 50, every: 25, colour: colours[0]}
			c.film(p, false, []shot{{clipKey: k, at: 200 * time.Millisecond}})
			o := Options{Quality: "360p", Formats: []string{format}}
			m, chunks, dir := render(t, c, o)
			if len(m.Chunks) != 1 || !m.Chunks[0].Copy || m.Chunks[0].Pictures != 50 {
				t.Fatalf("chunks are %+v, want one that is copied", m.Chunks)
			}
			path := join(t, m, chunks, "", dir)[0]
			f := decode(t, path, 640, 360)
			for n := range f.frames {
				if got := f.counter(n, layout.Rect{W: 640, H: 360}); got != n {
					t.Errorf("picture %d has number %d", n, got)
				}
			}
			if len(f.frames) != 50 {
				t.Errorf("%d pictures, want 50", len(f.frames))
			}
			if d := duration(t, path); abs(int(d-c.length)) > int(m.time(1)) {
				t.Errorf("lasts %v, want %v", d, c.length)
			}
			o.Watermark = "no"
			if m, err := Plan(t.Context(), c, o); err != nil || m.Chunks[0].Copy {
				t.Errorf("a watermark is copied: %v", err)
			}
		})
	}
}

// What is sent in the size of vga is encoded nevertheless, to the size in bytes
// that is promised.
func TestVGAIsNotCopied(t *testing.T) {
	t.Parallel()
	for codec, format := range map[string]string{"H264": MP4, "VP8": WebM} {
		c := newCall(t, time.Second)
		k := clipKey{codec: codec, width: 640, height: 480, fps: 25, frames: 25, every: 25, colour: colours[0]}
		c.film(c.join("a", 0, c.length), false, []shot{{clipKey: k}})
		m, err := Plan(t.Context(), c, Options{Quality: "vga", Formats: []string{format}})
		if err != nil || len(m.Encoders) != 1 || slices.ContainsFunc(m.Chunks, func(c Chunk) bool { return c.Copy }) {
			t.Errorf("%s in %s: %+v, %v", codec, format, m, err)
		}
		if m, err := Plan(t.Context(), c, Options{Quality: "480p", Formats: []string{format}}); err != nil || len(m.Encoders) != 1 {
			t.Errorf("%s in %s of another shape: %+v, %v", codec, format, m, err)
		}
	}
}

func TestHLSGrows(t *testing.T) {
	t.Parallel()
	c := newCall(t, 4*time.Second)
	c.film(c.join("a", 0, c.length), false, []shot{{clipKey: key("VP8", 0, 100)}})
	o := Options{Quality: "360p", Formats: []string{HLS}, MaxChunk: time.Second, Cut: 1700 * time.Millisecond, Level: "low"}
	m, chunks, dir := render(t, c, o)
	if !slices.ContainsFunc(m.Chunks, func(c Chunk) bool { return m.frame(c.To) == m.frame(o.Cut) }) {
		t.Errorf("no chunk ends at %s: %+v", o.Cut, m.Chunks)
	}
	sound := tone(t, c.length)
	index, err := JoinHLS(t.Context(), m, chunks[:2], sound, dir, false)
	if err != nil {
		t.Fatal(err)
	}
	part := read(t, filepath.Join(dir, "video.m3u8"))
	if !strings.Contains(part, "EVENT") || strings.Contains(part, "ENDLIST") {
		t.Errorf("playlist does not grow:\n%s", part)
	}
	before := read(t, filepath.Join(dir, "v00001-0000.m4s"))
	if _, err := JoinHLS(t.Context(), m, chunks, sound, dir, true); err != nil {
		t.Fatal(err)
	}
	whole := read(t, filepath.Join(dir, "video.m3u8"))
	if !strings.Contains(whole, "VOD") || !strings.HasSuffix(whole, "#EXT-X-ENDLIST\n") ||
		!strings.HasPrefix(whole[strings.Index(whole, "#EXTINF"):], part[strings.Index(part, "#EXTINF"):]) {
		t.Errorf("playlist is not the earlier one and more:\n%s", whole)
	}
	if before != read(t, filepath.Join(dir, "v00001-0000.m4s")) {
		t.Error("a segment changed")
	}
	c.check(t, decode(t, index, m.Width, m.Height), m, o)
	// Sound and pictures begin together, to the sample.
	for kind, want := range map[string]string{"v": "1.000000", "a": "0.978667\n1.000000"} { // 1024 samples of priming
		if got := probe(t, index, "-select_streams", kind, "-read_intervals", fmt.Sprintf("%%+#%d", len(want)/8), "-show_entries", "packet=pts_time"); got != want {
			t.Errorf("stream %s begins at %q, want %q", kind, got, want)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestChunkIsTakenAsItIs(t *testing.T) {
	t.Parallel()
	c := newCall(t, time.Second)
	c.film(c.join("a", 0, c.length), false, []shot{{clipKey: key("VP8", 0, 25)}})
	m, chunks, dir := render(t, c, Options{Quality: "portrait-180x320", FPS: 30})
	before := read(t, chunks[0])
	again, err := RenderChunk(t.Context(), c, m, 0, dir)
	if err != nil || again != chunks[0] || read(t, again) != before {
		t.Errorf("rendered again: %v", err)
	}
	other, err := RenderChunk(t.Context(), c, m, 0, t.TempDir())
	if err != nil || read(t, other) != before {
		t.Errorf("another worker makes something else: %v", err)
	}
	if _, err := RenderChunk(t.Context(), c, m, 1, dir); !errors.Is(err, ErrNoChunk) {
		t.Errorf("chunk that is none: %v", err)
	}
}

func TestShortAndEmpty(t *testing.T) {
	t.Parallel()
	if _, err := Plan(t.Context(), newCall(t, 0), Options{}); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty call: %v", err)
	}
	for _, o := range []Options{{Quality: "9p"}, {Level: "best"}, {Background: "red"}, {FPS: 100}, {Quality: "portrait-9x9"}} {
		if _, err := Plan(t.Context(), newCall(t, time.Second), o); !errors.Is(err, ErrQuality) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := Plan(t.Context(), newCall(t, time.Second), Options{Formats: []string{"avi"}}); !errors.Is(err, ErrFormat) {
		t.Errorf("avi: %v", err)
	}
	// Nobody has a picture; 0.3 s.
	c := newCall(t, 300*time.Millisecond)
	c.join("a", 0, c.length)
	m, chunks, dir := render(t, c, Options{Quality: "vga", Formats: []string{MP4, HLS}})
	paths := join(t, m, chunks, "", dir)
	if d := duration(t, paths[0]); abs(int(d-c.length)) > int(m.time(1)) {
		t.Errorf("lasts %v, want %v", d, c.length)
	}
	if f := decode(t, paths[0], 640, 480); len(f.frames) != 8 {
		t.Errorf("%d frames, want 8", len(f.frames))
	}
}

// The movie of a run begins later than the call.
func TestPartOfCall(t *testing.T) {
	t.Parallel()
	c := newCall(t, 3*time.Second)
	c.film(c.join("a", 0, c.length), false, []shot{{clipKey: key("H264", 0, 75)}})
	o := Options{Quality: "360p", From: 1230 * time.Millisecond, To: 2600 * time.Millisecond}
	m, chunks, dir := render(t, c, o)
	if m.Start < 1200*time.Millisecond || m.Start > 1260*time.Millisecond || m.Frames != m.frame(o.To-m.Start) {
		t.Errorf("start %v, %d frames", m.Start, m.Frames)
	}
	c.check(t, decode(t, join(t, m, chunks, "", dir)[0], m.Width, m.Height), m, o)
}

// A minute of vga low is 2 MB, of medium 3 MB, of high 4 MB, give or take a
// quarter, in every codec.
func TestSizes(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("encodes noise")
	}
	for _, c := range []struct {
		level, format, codec string
		want                 float64
	}{
		{"low", MP4, "", 2},
		{"medium", MP4, "", 3},
		{"high", MP4, "", 4},
		{"low", WebM, "vp9", 2},
		{"medium", WebM, "vp9", 3},
		{"high", WebM, "vp9", 4},
		{"low", WebM, "vp8", 2},
		{"medium", WebM, "vp8", 3},
		{"high", WebM, "vp8", 4},
	} {
		m := &Movie{FPS: 25, Width: 640, Height: 480, Formats: []string{c.format}}
		enc, err := encoders(m, c.level, "vga", c.codec)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out."+c.format)
		args := []string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=s=640x480:r=25:d=6", "-vf", "noise=alls=8:allf=t,format=yuv420p"}
		args = append(append(args, enc[0].args(0, 100)...), out)
		if msg, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, msg)
		}
		if mb := float64(size(t, out)) / 1e6 * 10; mb < c.want*0.75 || mb > c.want*1.25 {
			t.Errorf("a minute of %s as %s %s is %.2f MB, want %.0f", c.level, c.format, c.codec, mb, c.want)
		}
	}
}

// Somebody sends what no decoder takes, others now and then: the movie is made.
func TestRubbish(t *testing.T) {
	t.Parallel()
	for _, codec := range []string{"VP8", "VP9", "H264", "AV1"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			c := newCall(t, time.Second)
			c.film(c.join("bad", 0, c.length), false, []shot{{clipKey: key(codec, 0, 25), rubbish: func(int) bool { return true }}})
			c.film(c.join("sometimes", 0, c.length), false, []shot{{clipKey: key(codec, 1, 25), rubbish: func(n int) bool { return n%5 == 4 }}})
			c.film(c.join("good", 0, c.length), false, []shot{{clipKey: key("VP8", 2, 25)}})
			m, chunks, dir := render(t, c, Options{Quality: "360p"})
			f := decode(t, join(t, m, chunks, "", dir)[0], m.Width, m.Height)
			if len(f.frames) != 25 {
				t.Errorf("%d frames, want 25", len(f.frames))
			}
			for n := range f.frames {
				if err := c.checkTile(f, m, n, layout.Tile{TrackID: "track-2", Rect: m.Chunks[0].Tiles[1].Rect}); err != nil {
					t.Errorf("frame %d of the good one: %v", n, err)
				}
			}
		})
	}
}
