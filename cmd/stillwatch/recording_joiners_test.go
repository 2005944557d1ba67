package main

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
)

// joiner is somebody with a colour and a tone of their own.
type joiner struct {
	user   string
	colour color.RGBA
	hz     int
	codec  event.Codec
	// joined is when the call had them, and sending by when they sent for sure,
	// both since the session's start.
	joined, sending time.Duration
}

// plain is a clip of one colour.
func plain(t *testing.T, c color.RGBA, codec event.Codec) *synthetic.Clip {
	t.Helper()
	dir := t.TempDir()
	img := image.NewRGBA(image.Rect(0, 0, 320, 180))
	draw.Draw(img, img.Bounds(), image.NewUniform(c), image.Point{}, draw.Src)
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "colour.png")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	clip, err := synthetic.MakeClip(t.Context(), dir, synthetic.ClipConfig{
		Picture: path, Codec: codec, Width: 320, Height: 180, Kbps: 150, Takes: 2, Seconds: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return clip
}

// TestFourJoinOneAfterAnother: in the movie there are one, two, three and four
// tiles, from when each came, with each one's colour in their own tile and each
// one's tone in the sound from then on.
func TestFourJoinOneAfterAnother(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: of the recorder in the program, TestARecordedCallBecomesAMovie alone is run then")
	}
	r := startRig(t, "STILLWATCH_RECORDING_FLAG_GRACE=0s")
	r.calltype(`{"frame_recording":{"mode":"disabled"},"recording":{"mode":"auto-on","record_alone":true,"quality":"360p","layout":{"name":"grid"}}}`)
	all := []*joiner{
		{user: "ann", colour: color.RGBA{200, 40, 40, 255}, hz: 400, codec: event.VP8},
		{user: "bob", colour: color.RGBA{40, 160, 40, 255}, hz: 700, codec: event.H264},
		{user: "cid", colour: color.RGBA{40, 60, 210, 255}, hz: 1150, codec: event.VP8},
		{user: "dee", colour: color.RGBA{210, 200, 40, 255}, hz: 1700, codec: event.VP8},
	}
	clips := make([]*synthetic.Clip, len(all))
	for i, j := range all {
		clips[i] = plain(t, j.colour, j.codec)
	}
	sent := make([]time.Time, len(all))
	for i, j := range all {
		r.speak("default:four", j.user, clips[i], j.hz)
		sent[i] = time.Now()
		<-time.After(time.Second)
	}
	if status := r.api("POST", "/api/v2/video/call/default/four/mark_ended", "", nil); status != http.StatusOK && status != http.StatusCreated {
		t.Fatalf("mark_ended: %d", status)
	}
	movie := r.download(r.ready(1, 180*time.Second)[0].CallRecording)

	var session db.SessionRow
	if err := r.db.NewSelect().Model(&session).Where("cid = ?", "default:four").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, j := range all {
		var p db.ParticipantRow
		if err := r.db.NewSelect().Model(&p).Where("session_id = ?", session.ID).Where("user_id = ?", j.user).Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		j.joined, j.sending = p.JoinedAt.Sub(session.StartedAt.Time), sent[i].Sub(session.StartedAt.Time)
	}
	checkTiles(t, arrangements(t, movie, all), all)
	checkTones(t, movie, all)
}

// checkTiles wants each arrangement once, in order, and each from when its last
// member came.
func checkTiles(t *testing.T, runs []arrangement, all []*joiner) {
	t.Helper()
	want := []string{"aaaaa", "ababa", "ab..c", "abcdc"}
	n := 0 // of those that are seen
	for _, run := range runs {
		switch {
		case n < len(want) && run.tiles == want[n]:
			j := all[n]
			if run.from < j.joined-100*time.Millisecond && n > 0 || run.from > j.sending+2*time.Second {
				t.Errorf("%s is seen from %v on: came %v, sent by %v", j.user, run.from, j.joined, j.sending)
			}
			n++
		case n < len(want) && waits(run.tiles, want[n], n): // who came has no picture yet
		default:
			t.Fatalf("the movie shows %v, want %v", runs, want)
		}
	}
	if n < len(want) {
		t.Fatalf("the movie shows %v, want %v", runs, want)
	}
}

// waits tells whether tiles are as wanted but for those of joiner n, which show
// nobody.
func waits(tiles, want string, n int) bool {
	for i, w := range want {
		if got := rune(tiles[i]); got != w && (w != rune('a'+n) || got != '.' && got != '?') {
			return false
		}
	}
	return true
}

// arrangement is what five places of the movie show, from a time on: the
// middles of the upper quarters, of the lower ones their outer parts, and the
// left one's inner part. A letter is a joiner's, in their order, and a point
// is the background.
type arrangement struct {
	from  time.Duration
	tiles string
}

// arrangements are those of a movie, in order.
func arrangements(t *testing.T, movie string, all []*joiner) []arrangement {
	t.Helper()
	const w, h = 64, 36
	out, err := exec.Command("ffmpeg", "-v", "error", "-i", movie, "-vf", "fps=25,scale=64:36:flags=area", "-pix_fmt", "rgb24", "-f", "rawvideo", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	var runs []arrangement
	for n := 0; len(out) >= w*h*3; n++ {
		tiles := ""
		for _, at := range []image.Point{{16, 9}, {48, 9}, {8, 27}, {56, 27}, {24, 27}} {
			i := 3 * (at.Y*w + at.X)
			tiles += who(color.RGBA{out[i], out[i+1], out[i+2], 255}, all)
		}
		out = out[w*h*3:]
		if len(runs) == 0 || runs[len(runs)-1].tiles != tiles {
			runs = append(runs, arrangement{time.Duration(n) * time.Second / 25, tiles})
		}
	}
	return runs
}

// who has a colour; a point for the background, and ? for nobody.
func who(c color.RGBA, all []*joiner) string {
	near := func(to color.RGBA) bool {
		d := func(a, b uint8) float64 { return math.Abs(float64(a) - float64(b)) }
		return d(c.R, to.R)+d(c.G, to.G)+d(c.B, to.B) < 75
	}
	for i, j := range all {
		if near(j.colour) {
			return string(rune('a' + i))
		}
	}
	if near(color.RGBA{16, 20, 24, 255}) {
		return "."
	}
	return "?"
}

// checkTones wants each tone in the sound from when it was sent on, and not
// before.
func checkTones(t *testing.T, movie string, all []*joiner) {
	t.Helper()
	const rate, window = 8000, 800 // a tenth of a second: whole waves of all tones
	out, err := exec.Command("ffmpeg", "-v", "error", "-i", movie, "-ac", "1", "-ar", "8000", "-f", "f32le", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	samples := make([]float32, len(out)/4)
	if _, err := binary.Decode(out, binary.LittleEndian, samples); err != nil {
		t.Fatal(err)
	}
	for _, j := range all {
		for at := 0; at+window <= len(samples); at += window {
			from := time.Duration(at) * time.Second / rate
			to := from + window*time.Second/rate
			level := tone(samples[at:at+window], float64(j.hz), rate)
			switch {
			case to < j.joined-100*time.Millisecond && level > 0.005:
				t.Errorf("%s is heard %v after the start and came after %v", j.user, from, j.joined)
			case from > j.sending+time.Second && to < all[len(all)-1].sending+800*time.Millisecond && level < 0.02:
				t.Errorf("%s is not heard %v after the start (%.4f), and sent from %v on", j.user, from, level, j.sending)
			}
		}
	}
}

// tone is the amplitude of a pitch in a sound, 0 to 1.
func tone(x []float32, hz, rate float64) float64 {
	var re, im float64
	for i, v := range x {
		s, c := math.Sincos(2 * math.Pi * hz * float64(i) / rate)
		re, im = re+float64(v)*c, im+float64(v)*s
	}
	return 2 * math.Hypot(re, im) / float64(len(x))
}
