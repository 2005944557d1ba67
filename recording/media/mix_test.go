package media_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"stillwatch/recording/media"
	"stillwatch/recording/raw"
)

// wave reads a WAV of one or two channels of 16 bits, the first channel.
func wave(t testing.TB, path string) []float64 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(string(b), "data")
	channels := int(binary.LittleEndian.Uint16(b[22:]))
	var all []float64
	for b = b[i+8:]; len(b) >= 2*channels; b = b[2*channels:] {
		all = append(all, float64(int16(binary.LittleEndian.Uint16(b)))/32768)
	}
	return all
}

// goertzel is the amplitude of a tone.
func goertzel(x []float64, hz, rate float64) float64 {
	c := 2 * math.Cos(2*math.Pi*hz/rate)
	var a, b float64
	for _, v := range x {
		a, b = v+c*a-b, a
	}
	return 2 * math.Sqrt(a*a+b*b-c*a*b) / float64(len(x))
}

// onset returns when a tone begins and ends, by windows of 10 ms.
func onset(x []float64, hz, rate float64) (from, to float64) {
	from = -1
	n := int(rate / 100)
	for i := 0; i+n <= len(x); i += n / 10 {
		if goertzel(x[i:i+n], hz, rate) > 0.03 {
			if from < 0 {
				from = float64(i+n/2) / rate
			}
			to = float64(i+n/2) / rate
		}
	}
	return from, to
}

func TestMixPutsEveryToneAtItsTime(t *testing.T) {
	t.Parallel()
	src := newMemory()
	type voice struct {
		hz    float64
		start time.Duration
	}
	var voices []voice
	for i, codec := range []string{media.Opus, media.PCMU, media.PCMA, media.Opus} {
		hz := 600 + 500*i
		s := sound(t, codec, hz)
		s.start, s.lag = time.Duration(300+900*i)*time.Millisecond, 0
		src.add(s.info(fmt.Sprint("a", i), fmt.Sprint("u", i)), s.packets())
		voices = append(voices, voice{float64(hz), s.start})
	}
	session := src.load(t)
	from, to := 200*time.Millisecond, 7123456*time.Microsecond
	path := filepath.Join(t.TempDir(), "mix.wav")
	err := session.MixAudio(t.Context(), media.MixOptions{Path: path, Format: "wav", From: from, To: to})
	if err != nil {
		t.Fatal(err)
	}
	x := wave(t, path)
	if want := int(math.Round((to - from).Seconds() * 48000)); len(x) != want {
		t.Errorf("%d samples, not %d", len(x), want)
	}
	for _, v := range voices {
		a, b := onset(x, v.hz, 48000)
		want := (v.start - from).Seconds()
		t.Logf("%g Hz: %+.1f ms, %+.1f ms", v.hz, 1e3*(a-want), 1e3*(b-want-3))
		if math.Abs(a-want) > 0.02 || math.Abs(b-want-3) > 0.02 {
			t.Errorf("%g Hz sounds from %.3f to %.3f s, not from %.3f to %.3f", v.hz, a, b, want, want+3)
		}
	}
}

// Gaps are silent, and what comes after them stands at its time.
func TestMixKeepsGaps(t *testing.T) {
	t.Parallel()
	for _, codec := range []string{media.Opus, media.PCMU} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			s := sound(t, codec, 1000)
			s.lag = 0
			packets := s.packets()
			packets = append(packets[:50:50], packets[83:]...) // 1.5 to 2.16 s are silent
			src := newMemory()
			src.add(s.info("a", "u"), packets)
			path := filepath.Join(t.TempDir(), "mix.wav")
			if err := src.load(t).MixAudio(t.Context(), media.MixOptions{Path: path, Format: "wav", To: 4 * time.Second}); err != nil {
				t.Fatal(err)
			}
			x := wave(t, path)
			for i := range 100 {
				at := float64(i)*0.04 + 0.02
				loud := goertzel(x[i*1920:][:1920], 1000, 48000) > 0.03
				if near(at, 0.5) || near(at, 1.5) || near(at, 2.16) || near(at, 3.5) {
					continue
				}
				if want := at > 0.5 && at < 1.5 || at > 2.16 && at < 3.5; loud != want {
					t.Errorf("at %.2f s: tone %v", at, loud)
				}
			}
		})
	}
}

// A packet that is lost for good is made up for, and does not spoil those
// after it.
func TestMixConcealsLoss(t *testing.T) {
	t.Parallel()
	s := sound(t, media.Opus, 1000)
	s.lag = 0
	var packets []raw.Packet
	for i, p := range s.packets() {
		if i%20 != 10 {
			packets = append(packets, p)
		}
	}
	src := newMemory()
	src.add(s.info("a", "u"), packets)
	path := filepath.Join(t.TempDir(), "mix.wav")
	if err := src.load(t).MixAudio(t.Context(), media.MixOptions{Path: path, Format: "wav", From: s.start, To: s.start + 3*time.Second}); err != nil {
		t.Fatal(err)
	}
	x := wave(t, path)
	for i := 2; i < 148; i++ {
		if a := goertzel(x[i*960:][:960], 1000, 48000); a < 0.06 && i%20 != 10 && i%20 != 11 || a < 0.03 || a > 0.15 {
			t.Errorf("at %d ms: amplitude %.3f", 20*i, a)
		}
	}
}

// Nothing that somebody sends keeps the others from being heard.
func TestMixOfGarbage(t *testing.T) {
	t.Parallel()
	s := sound(t, media.Opus, 1000)
	s.lag = 0
	bad := s
	bad.units = nil
	r := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		b := make([]byte, r.IntN(60))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if len(b) > 2 && r.IntN(2) == 0 {
			b[1] &= 0xc3
		}
		bad.units = append(bad.units, b)
	}
	bad.step = time.Millisecond
	loud := sent{codec: media.PCMU, start: s.start, step: 20 * time.Millisecond, units: [][]byte{{}, {1}, bytes.Repeat([]byte{0xff}, 9000)}}
	src := newMemory()
	src.add(s.info("a", "u"), s.packets())
	src.add(bad.info("b", "v"), bad.packets())
	src.add(loud.info("c", "w"), loud.packets())
	session := src.load(t)
	if len(samples(t, session.Samples(t.Context(), "b"))) < 500 {
		t.Error("too little of the garbage is Opus")
	}
	dir := t.TempDir()
	if err := session.MixAudio(t.Context(), media.MixOptions{Path: dir + "/mix.wav", Format: "wav"}); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Remux(t.Context(), media.RemuxOptions{Dir: dir, Audio: []string{"t-b"}, Format: "webm"}); err != nil {
		t.Error(err)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 0.045 }

func TestMixFormats(t *testing.T) {
	t.Parallel()
	s := sound(t, media.Opus, 440)
	src := newMemory()
	src.add(s.info("a", "u"), s.packets())
	session := src.load(t)
	dir := t.TempDir()
	for format, want := range map[string]string{
		"wav-8bit": "pcm_u8,16000,1", "aac": "aac,48000,2", "m4a": "aac,48000,2", "ogg": "opus,48000,2", "webm": "opus,48000,2",
	} {
		path := filepath.Join(dir, "mix-"+format)
		if err := session.MixAudio(t.Context(), media.MixOptions{Path: path, Format: format, To: 5 * time.Second}); err != nil {
			t.Error(err)
			continue
		}
		if got := probe(t, path, "stream=codec_name,sample_rate,channels"); got != want {
			t.Errorf("%s: %s", format, got)
		}
		seconds, _ := strconv.ParseFloat(probe(t, path, "format=duration"), 64)
		if format != "aac" && math.Abs(seconds-5) > 0.03 { // ADTS does not tell
			t.Errorf("%s: %g s", format, seconds)
		}
		if format == "wav-8bit" { // 128 kbit/s of 8 bits (C-QB-7): 16,000 bytes a second
			if n := fileSize(t, path); n < 80_000 || n > 80_200 {
				t.Errorf("%s: %d bytes", format, n)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.part")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMixOfNobody(t *testing.T) {
	t.Parallel()
	src := newMemory()
	v := video(t, media.VP8)
	src.add(v.info("v", "u"), v.packets())
	err := src.load(t).MixAudio(t.Context(), media.MixOptions{Path: filepath.Join(t.TempDir(), "x"), Format: "wav"})
	if !errors.Is(err, media.ErrNoSound) {
		t.Errorf("got %v", err)
	}
}

func TestMixOfMany(t *testing.T) {
	t.Parallel()
	src := newMemory()
	for i := range 32 {
		s := sound(t, media.Opus, 440+440*(i%2))
		s.start = time.Duration(i*50) * time.Millisecond
		src.add(s.info(fmt.Sprint("a", i), fmt.Sprint("u", i)), s.packets())
	}
	path := filepath.Join(t.TempDir(), "mix.wav")
	if err := src.load(t).MixAudio(t.Context(), media.MixOptions{Path: path, Format: "wav"}); err != nil {
		t.Fatal(err)
	}
	peak := 0.0
	for _, v := range wave(t, path) {
		peak = max(peak, math.Abs(v))
	}
	if peak < 0.5 || peak > 0.99 {
		t.Errorf("peak %g", peak)
	}
}

func probe(t testing.TB, path, entries string) string {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", entries, "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatalf("ffprobe %s: %v", path, err)
	}
	return strings.TrimSpace(string(out))
}

func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
