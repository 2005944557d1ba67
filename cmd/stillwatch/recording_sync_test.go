package main

import (
	"encoding/binary"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
)

// TestLipsAndVoiceAgree: two participants flash and beep at once, over real
// WebRTC, and in the movie the beep is heard with the flash.
func TestLipsAndVoiceAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: of the recorder in the program, TestARecordedCallBecomesAMovie alone is run then")
	}
	r := startRig(t, "STILLWATCH_RECORDING_FLAG_GRACE=0s")
	r.calltype(`{"frame_recording":{"mode":"disabled"},"recording":{"mode":"auto-on","quality":"360p","layout":{"name":"grid"}}}`)
	c, err := synthetic.MakeClip(t.Context(), filepath.Join(buildDir, "clips"), synthetic.ClipConfig{
		Picture: "drawing", Width: 320, Height: 180, Kbps: 300, Takes: 2, Seconds: 1, Codec: event.VP8, Flash: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	beep, err := synthetic.MakeBeep(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	var all []*synthetic.Publisher
	for _, who := range []struct {
		user string
		tone *synthetic.Tone
	}{{"ada", beep}, {"ben", nil}} {
		clip := c
		if who.tone == nil {
			clip = small(t, "neutral", event.VP8)
		}
		p := synthetic.NewPublisher(synthetic.PublisherConfig{
			URL: r.URL() + "/whip/default/sync", Token: r.token(who.user, ""), Clip: clip, Tone: who.tone, Steady: who.tone != nil,
		})
		t.Cleanup(func() { p.Close() })
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	<-time.After(12 * time.Second)
	for _, p := range all {
		p.Close()
	}
	movie := r.download(r.ready(1, 180*time.Second)[0].CallRecording)
	flashes, beeps := onsets(brightness(t, movie), 25, 200), onsets(loudness(t, movie), 1000, 0.05)
	var off []time.Duration
	for _, f := range flashes {
		best := time.Hour
		for _, b := range beeps {
			if d := b - f; d.Abs() < best.Abs() {
				best = d
			}
		}
		off = append(off, best)
	}
	t.Logf("flashes %v\nbeeps %v\noffsets %v", flashes, beeps, off)
	if len(off) < 9 {
		t.Fatalf("%d flashes in 12 s", len(off))
	}
	slices.SortFunc(off, func(a, b time.Duration) int { return int(a.Abs() - b.Abs()) })
	p95 := off[(len(off)*95+99)/100-1]
	t.Logf("sound after picture: median %v, p95 %v", off[len(off)/2], p95)
	if p95.Abs() >= 80*time.Millisecond {
		t.Errorf("p95 of the offset is %v, want below 80 ms", p95)
	}
}

// brightness of the first tile's middle in each picture, 0 to 255.
func brightness(t *testing.T, movie string) []float64 {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-i", movie, "-vf", "crop=iw/4:ih/4:iw/8:3*ih/8,scale=1:1:flags=area,format=gray,fps=25", "-f", "rawvideo", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := make([]float64, len(out))
	for i, b := range out {
		all[i] = float64(b)
	}
	return all
}

// loudness of each millisecond, 0 to 1.
func loudness(t *testing.T, movie string) []float64 {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-i", movie, "-ac", "1", "-ar", "48000", "-f", "s16le", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []float64
	for ; len(out) >= 96; out = out[96:] {
		peak := 0.0
		for i := 0; i < 96; i += 2 {
			peak = max(peak, math.Abs(float64(int16(binary.LittleEndian.Uint16(out[i:])))/32768))
		}
		all = append(all, peak)
	}
	return all
}

// onsets are the times at which a signal rises above a level after half a
// second below it.
func onsets(signal []float64, rate int, level float64) []time.Duration {
	var out []time.Duration
	quiet := 0
	for i, v := range signal {
		if v < level {
			quiet++
			continue
		}
		if quiet >= rate/2 {
			out = append(out, time.Duration(i)*time.Second/time.Duration(rate))
		}
		quiet = 0
	}
	return out
}
