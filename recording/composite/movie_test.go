package composite

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"stillwatch/recording/layout"
)

// film is a decoded movie.
type film struct {
	w, h   int
	frames [][]byte // I420
}

// decode decodes a movie and fails on any message of the decoder.
func decode(t *testing.T, path string, w, h int) film {
	t.Helper()
	var out, stderr bytes.Buffer
	cmd := exec.Command("ffmpeg", "-v", "warning", "-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("decode %s: %v: %s", path, err, stderr.String())
	}
	size := w * h * 3 / 2
	if out.Len()%size != 0 {
		t.Fatalf("decode %s: %d bytes are no whole pictures of %dx%d", path, out.Len(), w, h)
	}
	f := film{w: w, h: h}
	for data := out.Bytes(); len(data) > 0; data = data[size:] {
		f.frames = append(f.frames, data[:size])
	}
	return f
}

// at is the mean colour around a point of a frame.
func (f film) at(n, x, y int) yuv {
	const r = 2
	var sy, su, sv, ny, nc int
	frame := f.frames[n]
	for yy := max(y-r, 0); yy < min(y+r, f.h); yy++ {
		for xx := max(x-r, 0); xx < min(x+r, f.w); xx++ {
			sy, ny = sy+int(frame[yy*f.w+xx]), ny+1
			c := f.w*f.h + yy/2*(f.w/2) + xx/2
			su, sv, nc = su+int(frame[c]), sv+int(frame[c+f.w*f.h/4]), nc+1
		}
	}
	return yuv{byte(sy / ny), byte(su / nc), byte(sv / nc)}
}

func near(a, b yuv, by int) bool {
	return abs(int(a.y)-int(b.y)) <= by && abs(int(a.u)-int(b.u)) <= by && abs(int(a.v)-int(b.v)) <= by
}

// counter reads the number in a picture of the clip's shape that fills shown.
func (f film) counter(n int, shown layout.Rect) int {
	cell := float64(shown.W) / 32
	v := 0
	for bit := range counterBits {
		x := float64(shown.X) + float64(shown.W)/2 - counterBits*cell/2 + (float64(bit)+0.5)*cell
		if f.at(n, int(math.Round(x)), shown.Y+shown.H/2).y > (bright+dark)/2 {
			v |= 1 << bit
		}
	}
	return v
}

// shown is where the whole of a 16:9 picture lies that fills, or is in, a tile.
func shown(t layout.Tile) layout.Rect {
	w, h := scaled(320, 180, t.Rect, t.Fit == layout.Contain)
	return layout.Rect{X: t.Rect.X + (t.Rect.W-w)/2, Y: t.Rect.Y + (t.Rect.H-h)/2, W: w, H: h}
}

// render plans and renders all chunks. The plan goes through JSON on its way,
// as between workers.
func render(t *testing.T, src Source, o Options) (*Movie, []string, string) {
	t.Helper()
	planned, err := Plan(t.Context(), src, o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(planned)
	if err != nil {
		t.Fatal(err)
	}
	m := new(Movie)
	if err := json.Unmarshal(text, m); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var chunks []string
	for n := range m.Chunks {
		path, err := RenderChunk(t.Context(), src, m, n, dir)
		if err != nil {
			t.Fatalf("%v\nchunk %+v", err, m.Chunks[n])
		}
		chunks = append(chunks, path)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "work-*")); len(left) > 0 {
		t.Fatalf("work is left behind: %v", left)
	}
	return m, chunks, dir
}

func join(t *testing.T, m *Movie, chunks []string, audio, dir string) []string {
	t.Helper()
	paths, err := Join(t.Context(), m, chunks, audio, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// check holds every frame of the film against what the timeline says: the
// right colour in the right tile, with the right number in it, no black.
func (c *call) check(t *testing.T, f film, m *Movie, o Options) {
	t.Helper()
	if len(f.frames) != m.Frames {
		t.Errorf("%d frames, want %d", len(f.frames), m.Frames)
	}
	l := o.Layout
	if l == nil {
		l, _ = layout.Find("grid")
	}
	o.Arrange.FrameTime = m.time(1)
	scene := layout.Scene{Width: m.Width, Height: m.Height, Length: c.length, People: c.people}
	wrong := 0
	for _, i := range layout.Timeline(scene, l, o.Arrange) {
		for n := max(m.frame(i.From-m.Start), 0); n < min(m.frame(i.To-m.Start), len(f.frames)); n++ {
			for _, tile := range i.Tiles {
				if err := c.checkTile(f, m, n, tile); err != nil {
					if wrong++; wrong < 10 {
						t.Errorf("frame %d, person %d in %+v: %v", n, tile.Person, tile.Rect, err)
					}
				}
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d tiles wrong", wrong)
	}
}

func (c *call) checkTile(f film, m *Movie, n int, tile layout.Tile) error {
	place := shown(tile)
	got := f.at(n, tile.Rect.X+tile.Rect.W/2, place.Y+place.H/4)
	if tile.TrackID == "" {
		ground, _ := colour(m.Background)
		v := lighter(ground.G)
		got := f.at(n, tile.Rect.X+4, tile.Rect.Y+4)
		if abs(int(got.y)-16-int(v)*219/255) > 8 {
			return fmt.Errorf("card's ground is %v", got)
		}
		return nil
	}
	at := m.Start + m.time(n)
	for _, shots := range c.shots {
		for _, s := range shots {
			if !c.shows(tile.TrackID, s) || at < s.at-m.time(1) || at >= s.at+s.length()+m.time(1) {
				continue
			}
			if !near(got, s.colour, 14) {
				return fmt.Errorf("colour %v, want %v", got, s.colour)
			}
			want := (at - s.at).Seconds() * float64(s.fps)
			if number := f.counter(n, place); math.Abs(float64(number)-want) > max(1, float64(s.fps)/float64(m.FPS)) {
				return fmt.Errorf("number %d, want %.1f", number, want)
			}
			return nil
		}
	}
	return errors.New("nothing should be shown")
}

func (c *call) shows(track string, s shot) bool {
	for _, t := range c.tracks {
		if t.ID != track {
			continue
		}
		for _, l := range t.Layers {
			for _, other := range c.shots[l.StreamID] {
				if other.at == s.at && other.clipKey == s.clipKey {
					return true
				}
			}
		}
	}
	return false
}

// probe asks ffprobe for entries of a file.
func probe(t *testing.T, path string, args ...string) string {
	t.Helper()
	out, err := exec.Command("ffprobe", append(append([]string{"-v", "error", "-of", "csv=p=0"}, args...), path)...).Output()
	if err != nil {
		t.Fatalf("probe %s: %v", path, err)
	}
	return strings.TrimSpace(string(out))
}

func duration(t *testing.T, path string) time.Duration {
	t.Helper()
	s, err := strconv.ParseFloat(probe(t, path, "-show_entries", "format=duration"), 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(s * float64(time.Second))
}

// beep is when the tone begins, in the movie.
const beep = 700 * time.Millisecond

// tone writes a WAV that is silent until the beep.
func tone(t *testing.T, length time.Duration) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tone.wav")
	source := fmt.Sprintf("aevalsrc='if(gte(t,%f),0.5*sin(2*PI*440*t),0)':s=48000:d=%f", beep.Seconds(), length.Seconds())
	if out, err := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, path).CombinedOutput(); err != nil {
		t.Fatalf("make tone: %v: %s", err, out)
	}
	return path
}

// onset is when a file's sound becomes loud, relative to its first picture.
func onset(t *testing.T, path string) time.Duration {
	t.Helper()
	const rate = 8000
	start := func(stream, entry string) time.Duration {
		lines := strings.Fields(probe(t, path, "-select_streams", stream, "-show_entries", entry))
		v, err := strconv.ParseFloat(lines[len(lines)-1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(v * float64(time.Second))
	}
	// aresample fills what is missing before the first sound.
	cmd := exec.Command("ffmpeg", "-v", "error", "-i", path, "-map", "0:a", "-af", "aresample=async=1:first_pts=0", "-f", "s16le", "-ar", strconv.Itoa(rate), "-ac", "1", "-")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("decode sound of %s: %v", path, err)
	}
	for i := 0; i+1 < len(out); i += 2 {
		if v := int16(binary.LittleEndian.Uint16(out[i:])); v > 3000 {
			return time.Duration(i/2)*time.Second/rate - (start("v:0", "stream=start_time") - start("a:0", "format=start_time"))
		}
	}
	t.Fatalf("%s is silent", path)
	return 0
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	i, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return i.Size()
}

func key(codec string, person, frames int) clipKey {
	return clipKey{codec: codec, width: 320, height: 180, fps: 25, frames: frames, every: 25, colour: colours[person]}
}

func TestFourJoinAtDifferentTimes(t *testing.T) {
	t.Parallel()
	c := newCall(t, 5*time.Second)
	for i, codec := range []string{"VP8", "VP9", "H264", "AV1"} {
		at := time.Duration(i) * 950 * time.Millisecond
		p := c.join(fmt.Sprintf("user-%d", i), at, c.length)
		frames := int((c.length - at).Seconds() * 25)
		if i == 1 {
			frames = 60 // leaves early: a seam with fewer tiles
			c.people[p].Leave = at + 2400*time.Millisecond
		}
		c.film(p, false, []shot{{clipKey: key(codec, i, frames), at: at}})
	}
	o := Options{Quality: "360p", Formats: []string{MP4, HLS, WebM}, MaxChunk: 2 * time.Second}
	m, chunks, dir := render(t, c, o)
	paths := join(t, m, chunks, tone(t, c.length), dir)
	for i, path := range paths {
		c.check(t, decode(t, path, m.Width, m.Height), m, o)
		if d := duration(t, path); abs(int(d-c.length)) > int(m.time(1)) && o.Formats[i] != HLS {
			t.Errorf("%s lasts %v, want %v", path, d, c.length)
		}
		if at := onset(t, path); abs(int(at-beep)) > int(10*time.Millisecond) {
			t.Errorf("%s beeps at %v, want %v", path, at, beep)
		}
	}
}
