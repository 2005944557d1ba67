package media_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"stillwatch/recording/media"
)

// changing sends pictures in fives, each of another size than those before.
func changing(t testing.TB, codec string, groups int) sent {
	t.Helper()
	large := clip(t, clipSpec{codec: codec, width: 320, height: 192, frames: 50, gop: 5})
	small := clip(t, clipSpec{codec: codec, width: 96, height: 160, frames: 50, gop: 5})
	s := sent{codec: codec, start: 500 * time.Millisecond, step: 40 * time.Millisecond}
	for n := range groups {
		from := [][][]byte{large, small}[n%2]
		at := n / 2 % 10 * 5
		s.units = append(s.units, from[at:at+5]...)
	}
	return s
}

// sizesOf are the sizes of a file's pictures, each once.
func sizesOf(t testing.TB, path string) map[string]int {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-select_streams", "v", "-show_frames", "-show_entries", "frame=width,height", "-of", "csv=p=0:s=x", path).Output()
	if err != nil {
		t.Fatalf("ffprobe %s: %v", path, err)
	}
	all := map[string]int{}
	for line := range strings.Lines(string(out)) {
		var w, h int
		if _, err := fmt.Sscanf(line, "%dx%d", &w, &h); err == nil {
			all[fmt.Sprintf("%dx%d", w, h)]++
		}
	}
	return all
}

// Who changes the parameters with every keyframe makes few files, the last of
// which is encoded again, and nothing of what was sent is missing (KS-16).
func TestRemuxOfEndlessChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ codec, format, coded, last string }{
		{media.VP8, "auto", "h264", "mp4"},
		{media.VP8, "webm", "vp8", "webm"},
		{media.VP9, "webm", "vp8", "webm"},
		{media.VP9, "mp4", "h264", "mp4"},
		{media.H264, "auto", "h264", "mp4"},
		{media.H264, "hls", "h264", "hls"},
		{media.H264, "flv", "h264", "flv"},
		{media.AV1, "auto", "h264", "mp4"},
	} {
		t.Run(c.codec+"/"+c.format, func(t *testing.T) {
			t.Parallel()
			const groups, most = 20, 4
			s, a := changing(t, c.codec, groups), sound(t, media.Opus, 440)
			src := newMemory()
			src.add(s.info("v", "u"), s.packets())
			src.add(a.info("a", "u"), a.packets())
			files, err := src.load(t).Remux(t.Context(), media.RemuxOptions{
				Dir: t.TempDir(), Video: []string{"t-v"}, Audio: []string{"t-a"}, Format: c.format, Most: most,
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(files) != most {
				t.Fatalf("%d files: %+v", len(files), files)
			}
			for _, f := range files[:most-1] {
				if f.Pictures != 5 || f.VideoCoded != "" || f.Changes != 0 {
					t.Errorf("%+v", f)
				}
				decodes(t, f.Path, 5)
			}
			const rest = (groups - most + 1) * 5
			f := files[most-1]
			if f.Pictures != rest || f.VideoCoded != c.coded || f.Format != c.last || f.Changes != groups-most || f.Left != 0 || f.Broken != 0 {
				t.Errorf("the last file: %+v", f)
			}
			decodes(t, f.Path, rest)
			if got := sizesOf(t, f.Path); len(got) != 1 || got[fmt.Sprintf("%dx%d", f.Width, f.Height)] != rest {
				t.Errorf("sizes %v in %+v", got, f)
			}
			all := packetsOf(t, f.Path, "v")
			for i, p := range all {
				if want := float64(i) * s.step.Seconds(); math.Abs(p.at-all[0].at-want) > 2.1e-3 {
					t.Fatalf("picture %d at %.6f, not %.6f", i, p.at-all[0].at, want)
				}
			}
			if want := s.start + (most-1)*5*s.step; (f.From - want).Abs() > 50*time.Millisecond {
				t.Errorf("from %s, want %s", f.From, want)
			}
			packets := 0
			for _, f := range files {
				packets += f.Packets
			}
			if c.format != "flv" && packets != len(a.units) {
				t.Errorf("%d packets of sound of %d", packets, len(a.units))
			}
		})
	}
}

// Tracks of several codecs that follow one another without end go in one file
// as well, in the order in which they were shown.
func TestRemuxOfEndlessTracks(t *testing.T) {
	t.Parallel()
	src := newMemory()
	var ids []string
	for n := range 8 {
		codec := videoCodecs[n%len(videoCodecs)]
		s := sent{codec: codec, start: time.Duration(n) * time.Second, step: 40 * time.Millisecond}
		s.units = clip(t, clipSpec{codec: codec, width: 320, height: 192, frames: 25, gop: 25})
		id := fmt.Sprint("v", n)
		src.add(s.info(id, "u"), s.packets())
		ids = append(ids, "t-"+id)
	}
	files, err := src.load(t).Remux(t.Context(), media.RemuxOptions{Dir: t.TempDir(), Video: ids, Most: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 {
		t.Fatalf("%d files: %+v", len(files), files)
	}
	f := files[1]
	if f.Pictures != 7*25 || f.Left != 0 || f.Changes != 6 || f.Width != 320 || f.Height != 192 || f.From != time.Second || (f.To-8*time.Second).Abs() > 50*time.Millisecond {
		t.Errorf("%+v", f)
	}
	decodes(t, f.Path, 7*25)
	var at []float64
	for _, p := range packetsOf(t, f.Path, "v") {
		at = append(at, p.at)
	}
	if !slices.IsSorted(at) || at[len(at)-1] < 6.9 {
		t.Errorf("times %v", at)
	}
}

// Rubbish is left out and counted, and keeps nothing else from being kept.
func TestRemuxOfChangesThatCannotBeDecoded(t *testing.T) {
	t.Parallel()
	const groups, most = 12, 4
	whole := changing(t, media.VP8, groups)
	for name, c := range map[string]struct {
		bad   func(group int) bool
		left  int
		coded string
	}{
		"some": {func(g int) bool { return g == 6 || g == 7 }, 10, "h264"},
		"all":  {func(g int) bool { return g >= most-1 }, 40, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := whole
			s.units = slices.Clone(s.units)
			for i, u := range s.units {
				if c.bad(i / 5) { // a keyframe of more pixels than anybody has
					u = slices.Clone(s.units[i/5*5])
					binary.LittleEndian.PutUint16(u[6:], uint16(16000+i/5))
					binary.LittleEndian.PutUint16(u[8:], 16000)
					s.units[i] = u
				}
			}
			src, a := newMemory(), sound(t, media.Opus, 440)
			src.add(s.info("v", "u"), s.packets())
			src.add(a.info("a", "u"), a.packets())
			files, err := src.load(t).Remux(t.Context(), media.RemuxOptions{
				Dir: t.TempDir(), Video: []string{"t-v"}, Audio: []string{"t-a"}, Most: most,
			})
			if err != nil {
				t.Fatal(err)
			}
			f := files[len(files)-1]
			if len(files) != most || f.Pictures+f.Left != (groups-most+1)*5 || f.Left != c.left || f.VideoCoded != c.coded {
				t.Errorf("%d files, the last: %+v", len(files), f)
			}
			packets := 0
			for _, f := range files {
				packets += f.Packets
			}
			if packets != len(a.units) {
				t.Errorf("%d packets of sound of %d", packets, len(a.units))
			}
			if c.coded != "" {
				decodes(t, f.Path, f.Pictures)
			}
		})
	}
}
