package media_test

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
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

// held is a packet of a container.
type held struct {
	at   float64
	hash string
}

// packetsOf lists a stream's packets with their hashes.
func packetsOf(t testing.TB, path, stream string) (all []held) {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-select_streams", stream, "-show_packets",
		"-show_data_hash", "md5", "-show_entries", "packet=pts_time,data_hash", "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatalf("ffprobe %s: %v", path, err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSpace(line), ",")
		at, err := strconv.ParseFloat(f[0], 64)
		if err != nil {
			t.Fatalf("ffprobe says %q", line)
		}
		i := strings.Index(line, "MD5:")
		all = append(all, held{at, strings.TrimSpace(line[i+4:])[:32]})
	}
	return all
}

// inContainer is what a container holds of a unit: AV1 without its temporal
// delimiter, H.264 with lengths instead of start codes (in MP4).
func inContainer(codec string, unit []byte) []byte {
	switch codec {
	case media.AV1:
		return unit[2:]
	case media.H264:
		var out []byte
		for _, nal := range bytes.Split(unit, []byte{0, 0, 0, 1})[1:] {
			out = binary.BigEndian.AppendUint32(out, uint32(len(nal)))
			out = append(out, nal...)
		}
		return out
	}
	return unit
}

// sameAs checks packets against units, and their times against those sent,
// within half a unit of the container's clock.
func sameAs(t testing.TB, s sent, all []held, from int, first, tick float64) {
	t.Helper()
	if want := len(s.units) - from; len(all) != want {
		t.Errorf("%s: %d packets of %d", s.codec, len(all), want)
		return
	}
	for i, p := range all {
		sum := md5.Sum(inContainer(s.codec, s.units[from+i]))
		if p.hash != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: packet %d differs", s.codec, i)
			return
		}
		if want := first + float64(i)*s.step.Seconds(); math.Abs(p.at-want) > tick/2+1e-6 {
			t.Errorf("%s: packet %d at %.6f, not %.6f", s.codec, i, p.at, want)
			return
		}
	}
}

// What a file holds is what was sent, packet for packet and tick for tick,
// with losses made good late and out of order (KS-01, TC-01).
func TestRemuxIsWhatWasSent(t *testing.T) {
	t.Parallel()
	cases := []struct {
		codec, format string
		tick          float64
	}{
		{media.VP8, "webm", 1e-3},
		{media.VP9, "webm", 1e-3},
		{media.AV1, "webm", 1e-3},
		{media.H264, "mp4", 0},
		{media.VP9, "mp4", 0},
		{media.AV1, "mp4", 0},
		{media.H264, "flv", 1e-3},
		{media.H264, "hls", 0},
		{media.AV1, "hls", 0},
	}
	for _, c := range cases {
		for _, loss := range []float64{0, 0.02, 0.1} {
			if loss > 0 && c.format != "webm" && (c.codec != media.H264 || c.format != "mp4") {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s/%g", c.codec, c.format, loss), func(t *testing.T) {
				t.Parallel()
				v, a := video(t, c.codec), sound(t, media.Opus, 440)
				a.start -= 200 * time.Millisecond
				r := rand.New(rand.NewPCG(5, uint64(100*loss)))
				src := newMemory()
				vp, ap := v.packets(), a.packets()
				if loss > 0 {
					vp, ap = network(r, vp, loss), network(r, ap, loss)
				}
				src.add(v.info("v", "u"), vp)
				src.add(a.info("a", "u"), ap)
				files, err := src.load(t).Remux(t.Context(), media.RemuxOptions{
					Dir: t.TempDir(), Video: []string{"t-v"}, Audio: []string{"t-a"}, Format: c.format,
				})
				if err != nil {
					t.Fatal(err)
				}
				if len(files) != 1 {
					t.Fatalf("%d files", len(files))
				}
				f := files[0]
				if f.Pictures != 75 || f.Broken != 0 || f.Video != c.codec || f.Audio != media.Opus || f.Width != 320 {
					t.Errorf("%+v", f)
				}
				vs := packetsOf(t, f.Path, "v")
				if c.format == "flv" || c.format == "hls" {
					if c.format == "flv" && (vs[0].at < 0.2 || vs[0].at > 0.23) { // with the encoder's beginning, 1024 samples
						t.Errorf("pictures begin at %.3f s, want 0.2 s after the sound", vs[0].at)
					}
					sameAs(t, v, vs, 0, vs[0].at, 2*c.tick)
				} else {
					sameAs(t, v, vs, 0, 0.2, c.tick)
				}
				switch as := packetsOf(t, f.Path, "a"); c.format {
				case "flv":
					if f.AudioCoded != "aac" || len(as) < 130 || as[0].at < 0 || as[0].at > 0.03 {
						t.Errorf("sound coded to %q, %d packets from %.3f s on", f.AudioCoded, len(as), as[0].at)
					}
				default:
					sameAs(t, a, as, 0, 0, c.tick)
				}
				if c.format == "hls" {
					index, err := os.ReadFile(f.Path)
					if err != nil || !bytes.Contains(index, []byte("#EXT-X-ENDLIST")) || !bytes.Contains(index, []byte("#EXT-X-PLAYLIST-TYPE:VOD")) {
						t.Errorf("%v: %s", err, index)
					}
					if len(f.Parts) != 3 || !bytes.Contains(index, []byte(filepath.Base(f.Parts[1]))) || !bytes.Contains(index, []byte(filepath.Base(f.Parts[2]))) {
						t.Errorf("parts %v of %s", f.Parts, index)
					}
				}
				decodes(t, f.Path, 75)
			})
		}
	}
}

// decodes checks that a decoder finds nothing wrong and so many pictures.
func decodes(t testing.TB, path string, pictures int) {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "warning", "-xerror", "-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-f", "framecrc", "-").CombinedOutput()
	n := 0
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	if err != nil || n != pictures {
		t.Errorf("decode %s: %v: %d pictures: %.600s", filepath.Base(path), err, n, out)
	}
}

func TestRemuxOfSoundAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ codec, format, want, probe string }{
		{media.Opus, "auto", "ogg", "opus,48000,1"},
		{media.PCMU, "auto", "wav", "pcm_mulaw,8000,1"},
		{media.PCMA, "auto", "wav", "pcm_alaw,8000,1"},
		{media.Opus, "wav", "wav", "pcm_s16le,48000,2"},
		{media.Opus, "wav-8bit", "wav-8bit", "pcm_u8,16000,1"},
		{media.PCMU, "wav-8bit", "wav-8bit", "pcm_u8,16000,1"},
		{media.Opus, "webm", "webm", "opus,48000,1"},
		{media.Opus, "mp4", "mp4", "opus,48000,1"},
		{media.PCMU, "mp4", "mp4", "aac,48000,2"},
		{media.Opus, "aac", "aac", "aac,48000,2"},
		{media.Opus, "flv", "flv", "aac,48000,2"},
		{media.Opus, "hls", "hls", "opus,48000,1"},
	} {
		t.Run(c.codec+"/"+c.format, func(t *testing.T) {
			t.Parallel()
			s := sound(t, c.codec, 440)
			packets := s.packets()
			packets = append(packets[:60:60], packets[110:]...) // a gap of a second
			units := append(s.units[:60:60], s.units[110:]...)
			src := newMemory()
			src.add(s.info("a", "u"), packets)
			files, err := src.load(t).Remux(t.Context(), media.RemuxOptions{Dir: t.TempDir(), Audio: []string{"t-a"}, Format: c.format})
			if err != nil {
				t.Fatal(err)
			}
			f := files[0]
			if f.Format != c.want {
				t.Errorf("format %s", f.Format)
			}
			if got := probe(t, f.Path, "stream=codec_name,sample_rate,channels"); !strings.HasPrefix(got, c.probe) {
				t.Errorf("got %s, not %s", got, c.probe)
			}
			if strings.HasPrefix(c.probe, "opus") {
				all := packetsOf(t, f.Path, "a")
				if len(all) != len(units) {
					t.Fatalf("%d packets of %d", len(all), len(units))
				}
				for i, p := range all {
					sum := md5.Sum(units[i])
					want := float64(i) * 0.02
					if i >= 60 {
						want += 1
					}
					if c.format == "ogg" || c.format == "auto" {
						// ffprobe guesses the first packet's time behind a gap
						if i == 60 {
							continue
						}
					}
					if p.hash != hex.EncodeToString(sum[:]) || math.Abs(p.at-want) > 6e-4 {
						t.Fatalf("packet %d: at %.6f, not %.6f", i, p.at, want)
					}
				}
				return
			}
			seconds, _ := strconv.ParseFloat(probe(t, f.Path, "format=duration"), 64)
			want := float64(len(s.units)) * s.step.Seconds()
			if c.format != "aac" && math.Abs(seconds-want) > 0.05 {
				t.Errorf("%g s, not %g", seconds, want)
			}
		})
	}
}

// A change of size begins a new file, and every file plays (KS-16).
func TestRemuxBeginsANewFileWhereParametersChange(t *testing.T) {
	t.Parallel()
	for _, codec := range videoCodecs {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			small := clip(t, clipSpec{codec: codec, width: 160, height: 96, frames: 25, gop: 25})
			s := video(t, codec)
			s.units = append(append(append([][]byte{}, s.units...), small...), s.units[:25]...)
			src := newMemory()
			src.add(s.info("v", "u"), s.packets())
			a := sound(t, media.Opus, 440)
			src.add(a.info("a", "u"), a.packets())
			session := src.load(t)
			files, err := session.Remux(t.Context(), media.RemuxOptions{
				Dir: t.TempDir(), Video: []string{"t-v"}, Audio: []string{"t-a"}, Name: func(n int) string { return fmt.Sprint("take-", n) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(files) != 3 {
				t.Fatalf("%d files: %+v", len(files), files)
			}
			packets := 0
			for i, f := range files {
				want := []struct {
					pictures, width int
					from            time.Duration
				}{{75, 320, 530 * time.Millisecond}, {25, 160, 3530 * time.Millisecond}, {25, 320, 4530 * time.Millisecond}}[i]
				if f.Pictures != want.pictures || f.Width != want.width || (f.From-want.from).Abs() > 10*time.Millisecond {
					t.Errorf("file %d: %+v", i, f)
				}
				packets += f.Packets
				decodes(t, f.Path, want.pictures)
			}
			if packets != len(a.units) {
				t.Errorf("%d packets of sound of %d", packets, len(a.units))
			}
		})
	}
}

// What cannot be decoded is left out; the gap stays a gap.
func TestRemuxLeavesBrokenPicturesOut(t *testing.T) {
	t.Parallel()
	for _, codec := range videoCodecs {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			s := video(t, codec)
			var packets []raw.Packet
			for i, ps := range s.rtp() {
				for j, p := range ps {
					if i == 30 && j == 0 {
						continue
					}
					packets = append(packets, stored(p, s.start+time.Duration(i)*s.step))
				}
			}
			src := newMemory()
			src.add(s.info("v", "u"), packets)
			files, err := src.load(t).Remux(t.Context(), media.RemuxOptions{Dir: t.TempDir(), Video: []string{"t-v"}})
			if err != nil {
				t.Fatal(err)
			}
			f := files[0]
			if f.Pictures != 55 || f.Broken < 18 {
				t.Errorf("%+v", f)
			}
			all := packetsOf(t, f.Path, "v")
			if len(all) != 55 || math.Abs(all[30].at-2) > 6e-4 {
				t.Errorf("%d pictures, the first after the loss at %v", len(all), all[30].at)
			}
			decodes(t, f.Path, 55)
		})
	}
}

func TestRemuxWithinBounds(t *testing.T) {
	t.Parallel()
	s := video(t, media.VP8)
	s.lag = 0
	src := newMemory()
	src.add(s.info("v", "u"), s.packets())
	session := src.load(t)
	for _, c := range []struct {
		lead     bool
		from     time.Duration
		pictures int
	}{{false, 1500 * time.Millisecond, 25}, {true, 500 * time.Millisecond, 50}} {
		files, err := session.Remux(t.Context(), media.RemuxOptions{
			Dir: t.TempDir(), Video: []string{"t-v"}, From: 1200 * time.Millisecond, To: 2500 * time.Millisecond, Lead: c.lead,
		})
		if err != nil {
			t.Fatal(err)
		}
		if f := files[0]; f.From != c.from || f.Pictures != c.pictures || f.To != 2500*time.Millisecond {
			t.Errorf("%+v", f)
		}
	}
}

func TestRemuxErrors(t *testing.T) {
	t.Parallel()
	v := video(t, media.VP8)
	src := newMemory()
	src.add(v.info("v", "u"), v.packets())
	session := src.load(t)
	for _, c := range []struct {
		o    media.RemuxOptions
		want error
	}{
		{media.RemuxOptions{Video: []string{"t-v"}, Format: "mp4"}, media.ErrFormat},
		{media.RemuxOptions{Video: []string{"t-v"}, Format: "ogg"}, media.ErrFormat},
		{media.RemuxOptions{Video: []string{"t-v"}, Format: "exe"}, media.ErrFormat},
		{media.RemuxOptions{Video: []string{"nobody"}}, media.ErrUnknown},
		{media.RemuxOptions{}, media.ErrNoMedia},
		{media.RemuxOptions{Video: []string{"t-v"}, From: time.Hour}, media.ErrNoMedia},
	} {
		c.o.Dir = t.TempDir()
		if _, err := session.Remux(t.Context(), c.o); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

// Tracks that followed one another go in as they were, and sound that a
// container does not take is coded for it.
func TestRemuxOfSeveralTracks(t *testing.T) {
	t.Parallel()
	src := newMemory()
	v, w := video(t, media.VP8), video(t, media.VP9)
	w.start = 5 * time.Second
	a, b, g := sound(t, media.Opus, 440), sound(t, media.Opus, 880), sound(t, media.PCMU, 440)
	b.start = 4500 * time.Millisecond
	src.add(v.info("v", "u"), v.packets())
	src.add(w.info("w", "u"), w.packets())
	src.add(a.info("a", "u"), a.packets())
	src.add(b.info("b", "u"), b.packets())
	src.add(g.info("g", "u"), g.packets())
	session := src.load(t)
	files, err := session.Remux(t.Context(), media.RemuxOptions{
		Dir: t.TempDir(), Video: []string{"t-v", "t-w"}, Audio: []string{"t-a", "t-b"}, Format: "webm",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 || files[0].Video != media.VP8 || files[1].Video != media.VP9 || files[0].Packets+files[1].Packets != len(a.units)+len(b.units) {
		t.Fatalf("%+v", files)
	}
	as := packetsOf(t, files[0].Path, "a")
	if n := len(a.units); math.Abs(as[n].at-4) > 2e-3 {
		t.Errorf("the second track sounds at %.3f", as[n].at)
	}
	files, err = session.Remux(t.Context(), media.RemuxOptions{Dir: t.TempDir(), Video: []string{"t-v"}, Audio: []string{"t-g"}})
	if err != nil {
		t.Fatal(err)
	}
	if f := files[0]; f.AudioCoded != "opus" || f.Audio != media.PCMU || f.Pictures != 75 {
		t.Errorf("%+v", f)
	}
	if got := probe(t, files[0].Path, "stream=codec_name"); got != "opus\nvp8" && got != "vp8\nopus" {
		t.Errorf("streams %q", got)
	}
	sameAs(t, v, packetsOf(t, files[0].Path, "v"), 0, 0, 1e-3)
}

// Of one picture, and of a third of a second, there is a file too.
func TestRemuxOfLittle(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 8} {
		for _, codec := range videoCodecs {
			formats := []string{"auto", "mp4", "hls"}
			if codec == media.VP8 {
				formats = formats[:1]
			}
			s := video(t, codec)
			s.units = s.units[:n]
			src := newMemory()
			src.add(s.info("v", "u"), s.packets())
			session := src.load(t)
			for _, format := range formats {
				t.Run(fmt.Sprint(codec, format, n), func(t *testing.T) {
					t.Parallel()
					files, err := session.Remux(t.Context(), media.RemuxOptions{Dir: t.TempDir(), Video: []string{"t-v"}, Format: format})
					if err != nil {
						t.Fatal(err)
					}
					if len(files) != 1 || files[0].Pictures != n {
						t.Errorf("%+v", files)
					}
					if got := len(packetsOf(t, files[0].Path, "v")); got != n {
						t.Errorf("%d pictures", got)
					}
				})
			}
		}
	}
	a := sound(t, media.Opus, 440)
	a.units = a.units[:1]
	src := newMemory()
	src.add(a.info("a", "u"), a.packets())
	session := src.load(t)
	for _, format := range []string{"ogg", "webm", "mp4", "wav", "wav-8bit", "aac", "flv", "hls"} {
		if _, err := session.Remux(t.Context(), media.RemuxOptions{Dir: t.TempDir(), Audio: []string{"t-a"}, Format: format}); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
}

// Who comes back has another track, which goes on in the same file where that
// can be: the gap stays a gap (KS-10).
func TestRemuxGoesOnWithTheNextTrack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ codec, format string }{
		{media.VP8, "webm"}, {media.VP9, "webm"}, {media.AV1, "mp4"}, {media.H264, "mp4"}, {media.H264, "hls"}, {media.H264, "flv"},
	} {
		t.Run(c.codec+"/"+c.format, func(t *testing.T) {
			t.Parallel()
			v, w, a, b := video(t, c.codec), video(t, c.codec), sound(t, media.Opus, 440), sound(t, media.Opus, 880)
			w.start, w.ts, w.seq, w.ssrc = 15*time.Second, 12345, 77, 99
			a.start, b.start = 0, 12*time.Second // the microphone is before the camera
			src := newMemory()
			for id, s := range map[string]sent{"v": v, "w": w, "a": a, "b": b} {
				src.add(s.info(id, "u"), s.packets())
			}
			files, err := src.load(t).Remux(t.Context(), media.RemuxOptions{
				Dir: t.TempDir(), Video: []string{"t-v", "t-w"}, Audio: []string{"t-a", "t-b"}, Format: c.format,
			})
			if err != nil || len(files) != 1 {
				t.Fatalf("%v: %+v", err, files)
			}
			f := files[0]
			if f.Pictures != 150 || c.format != "flv" && f.Packets != len(a.units)+len(b.units) || (f.To-f.From-18*time.Second).Abs() > 50*time.Millisecond {
				t.Errorf("%+v", f)
			}
			vs := packetsOf(t, f.Path, "v")
			if len(vs) != 150 {
				t.Fatalf("%d pictures", len(vs))
			}
			if c.format == "hls" { // ffmpeg puts the first of a segment at the end of the one before
				vs[75].at = 15 + vs[0].at - 0.5
				length, _ := strconv.ParseFloat(probe(t, f.Path, "format=duration"), 64)
				if math.Abs(length-18) > 0.1 {
					t.Errorf("the playlist lasts %g s", length)
				}
			}
			for i, p := range vs {
				want := 0.5 + float64(i)*0.04
				if i >= 75 {
					want = 15 + float64(i-75)*0.04
				}
				if off := vs[0].at - 0.5; c.format != "flv" && c.format != "hls" && math.Abs(off) > 2e-3 || math.Abs(p.at-off-want) > 2e-3 {
					t.Fatalf("picture %d at %.3f, want %.3f", i, p.at, want)
				}
			}
			if as := packetsOf(t, f.Path, "a"); c.format != "flv" && len(as) != len(a.units)+len(b.units) {
				t.Errorf("%d packets of sound", len(as))
			}
			decodes(t, f.Path, 150)
		})
	}
}

// Where a file's head would differ, the next track begins another one.
func TestRemuxBeginsANewFileForAnotherKindOfTrack(t *testing.T) {
	t.Parallel()
	src := newMemory()
	add := func(id string, s sent, at time.Duration) {
		s.start = at
		src.add(s.info(id, "u"), s.packets())
	}
	small := video(t, media.VP8)
	small.units = clip(t, clipSpec{codec: media.VP8, width: 160, height: 96, frames: 25, gop: 25})
	add("v", video(t, media.VP8), 0)
	add("a", sound(t, media.Opus, 440), 0)
	add("small", small, 5*time.Second)
	add("w", video(t, media.VP8), 10*time.Second)
	add("g", sound(t, media.PCMU, 440), 10*time.Second)
	session := src.load(t)
	for name, c := range map[string]struct {
		video, audio []string
		want         []string
	}{
		"another size":        {[]string{"t-v", "t-small"}, []string{"t-a"}, []string{"webm", "webm"}},
		"another sound":       {[]string{"t-v", "t-w"}, []string{"t-a", "t-g"}, []string{"webm", "webm"}},
		"another sound alone": {nil, []string{"t-a", "t-g"}, []string{"ogg", "wav"}},
		"the same":            {[]string{"t-v", "t-w"}, []string{"t-a"}, []string{"webm"}},
	} {
		files, err := session.Remux(t.Context(), media.RemuxOptions{Dir: t.TempDir(), Video: c.video, Audio: c.audio})
		if err != nil || len(files) != len(c.want) {
			t.Errorf("%s: %v: %+v", name, err, files)
			continue
		}
		for i, f := range files {
			if f.Format != c.want[i] || c.video == nil && f.AudioCoded != "" {
				t.Errorf("%s: file %d is %+v", name, i, f)
			}
		}
	}
}
