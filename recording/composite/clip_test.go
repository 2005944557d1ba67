package composite

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"stillwatch/recording/layout"
)

// A clip is one colour with the frame's number in the middle, as bars that are
// bright for 1 and dark for 0, the lowest bit at the left.
const (
	counterBits = 9
	bright      = 210
	dark        = 40
)

// yuv is a colour.
type yuv struct{ y, u, v byte }

// colours of people, far from each other and from black and grey.
var colours = []yuv{
	{110, 90, 200},
	{130, 60, 70},
	{90, 200, 110},
	{150, 160, 60},
	{120, 200, 190},
	{160, 40, 150},
	{100, 130, 220},
	{140, 220, 60},
	{125, 30, 110},
	{115, 110, 40},
}

type clipKey struct {
	codec         string
	width, height int
	fps, frames   int
	every         int // a keyframe
	colour        yuv
}

// clips are made once for all tests.
var clips = struct {
	mu   sync.Mutex
	made map[clipKey]func() ([][]byte, error)
}{made: map[clipKey]func() ([][]byte, error){}}

func clip(t testing.TB, k clipKey) [][]byte {
	t.Helper()
	clips.mu.Lock()
	f := clips.made[k]
	if f == nil {
		f = sync.OnceValues(func() ([][]byte, error) { return encodeClip(k) })
		clips.made[k] = f
	}
	clips.mu.Unlock()
	frames, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return frames
}

func drawFrame(k clipKey, n int) []byte {
	y := bytes.Repeat([]byte{k.colour.y}, k.width*k.height)
	cell := k.width / 32
	for bit := range counterBits {
		v := byte(dark)
		if n>>bit&1 == 1 {
			v = bright
		}
		left := k.width/2 - counterBits*cell/2 + bit*cell
		for row := k.height * 3 / 8; row < k.height*5/8; row++ {
			for col := left; col < left+cell; col++ {
				y[row*k.width+col] = v
			}
		}
	}
	quarter := k.width / 2 * (k.height / 2)
	return append(append(y, bytes.Repeat([]byte{k.colour.u}, quarter)...), bytes.Repeat([]byte{k.colour.v}, quarter)...)
}

func encodeClip(k clipKey) ([][]byte, error) {
	var in, out, stderr bytes.Buffer
	for n := range k.frames {
		in.Write(drawFrame(k, n))
	}
	args := []string{
		"-v", "error", "-f", "rawvideo", "-s", fmt.Sprintf("%dx%d", k.width, k.height), "-r", strconv.Itoa(k.fps), "-i", "-",
		"-threads", "1", "-g", strconv.Itoa(k.every), "-keyint_min", strconv.Itoa(k.every), "-b:v", "400k",
	}
	realtime := []string{"-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-auto-alt-ref", "0", "-f", "ivf", "-"}
	switch k.codec {
	case "VP8":
		args = append(append(args, "-c:v", "libvpx"), realtime...)
	case "VP9":
		args = append(append(args, "-c:v", "libvpx-vp9"), realtime...)
	case "AV1":
		args = append(args, "-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-f", "ivf", "-")
	case "H264":
		args = append(args, "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "baseline",
			"-x264-params", "scenecut=0:aud=1:sliced-threads=0:repeat-headers=1", "-f", "h264", "-")
	}
	cmd := exec.Command("ffmpeg", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("make %s clip: %w: %s", k.codec, err, stderr.String())
	}
	var frames [][]byte
	data := out.Bytes()
	if k.codec == "H264" {
		aud := []byte{0, 0, 0, 1, 9}
		for _, unit := range bytes.Split(data, aud)[1:] {
			frames = append(frames, append(bytes.Clone(aud), unit...))
		}
	} else {
		for data = data[32:]; len(data) > 12; {
			n := int(binary.LittleEndian.Uint32(data))
			frames, data = append(frames, data[12:12+n]), data[12+n:]
		}
	}
	if len(frames) != k.frames {
		return nil, fmt.Errorf("make %s clip: %d frames, want %d", k.codec, len(frames), k.frames)
	}
	return frames, nil
}

// shot is a clip that is shown from a time on.
type shot struct {
	clipKey
	at time.Duration
	// broken and rotation are of the samples; rubbish replaces what they hold.
	broken, rubbish func(n int) bool
	rotation        func(n int) int
}

func (s shot) length() time.Duration {
	return time.Duration(s.frames) * time.Second / time.Duration(s.fps)
}

// call is a source in memory.
type call struct {
	t      testing.TB
	people []layout.Person
	tracks []Track
	shots  map[string][]shot // of streams
	length time.Duration
}

func newCall(t testing.TB, length time.Duration) *call {
	return &call{t: t, length: length, shots: map[string][]shot{}}
}

func (c *call) join(id string, from, to time.Duration) int {
	c.people = append(c.people, layout.Person{ID: id + "-1", UserID: id, Name: "Name of " + id, Join: from, Leave: to})
	return len(c.people) - 1
}

// film gives a person a track with one layer for each list of shots.
func (c *call) film(person int, screen bool, layers ...[]shot) {
	p := &c.people[person]
	track := Track{ID: fmt.Sprintf("track-%d", len(c.tracks)), Codec: layers[0][0].codec}
	var spells []layout.Spell
	for i, shots := range layers {
		l := Layer{StreamID: fmt.Sprintf("%s-%d", track.ID, i)}
		for _, s := range shots {
			clip(c.t, s.clipKey)
			l.Width, l.Height = max(l.Width, s.width), max(l.Height, s.height)
			l.Spans = append(l.Spans, Span{s.at, s.at + s.length()})
			if i == 0 {
				spells = append(spells, layout.Spell{TrackID: track.ID, From: s.at, To: s.at + s.length()})
			}
			for n := 0; n < s.frames; n += s.every {
				l.Keys = append(l.Keys, s.time(n))
			}
		}
		c.shots[l.StreamID] = shots
		track.Layers = append(track.Layers, l)
	}
	c.tracks = append(c.tracks, track)
	if screen {
		p.Screen = append(p.Screen, spells...)
	} else {
		p.Camera = append(p.Camera, spells...)
	}
}

func (s shot) time(n int) time.Duration {
	return s.at + time.Duration(n)*time.Second/time.Duration(s.fps)
}

func (c *call) People() []layout.Person { return c.people }
func (c *call) Length() time.Duration   { return c.length }
func (c *call) Tracks() []Track         { return c.tracks }

func (c *call) From(ctx context.Context, id string, at time.Duration) iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		type ref struct{ shot, n int }
		var begin ref
		for i, s := range c.shots[id] {
			for n := 0; n < s.frames; n += s.every {
				if s.time(n) <= at {
					begin = ref{i, n}
				}
			}
		}
		for i := begin.shot; i < len(c.shots[id]); i++ {
			s := c.shots[id][i]
			frames := clip(c.t, s.clipKey)
			for n := begin.n; n < s.frames && ctx.Err() == nil; n++ {
				out := Sample{At: s.time(n), Data: frames[n], Key: n%s.every == 0}
				if out.Key {
					out.Width, out.Height = s.width, s.height
				}
				if s.broken != nil {
					out.Broken = s.broken(n)
				}
				if s.rubbish != nil && s.rubbish(n) {
					out.Data = bytes.Repeat([]byte{0xA5, byte(n), 0x3C}, 300)
				}
				if s.rotation != nil {
					out.Rotation = s.rotation(n)
				}
				if !yield(out, nil) {
					return
				}
			}
			begin.n = 0
		}
	}
}
