package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"stillwatch/recording/composite"
	"stillwatch/recording/layout"

	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
)

// Clips are as long as this, and there are so many different ones; further
// participants show the same from another keyframe on.
const (
	clipFrames = 300
	clipSeeds  = 3
	clipFPS    = 25
	clipKeys   = 4 * clipFPS // frames between keyframes
)

// clipLayers are the simulcast layers: height and kb/s.
var clipLayers = []struct{ height, kbps int }{{720, 1500}, {360, 500}, {180, 150}}

// clipCall is a call of clips; see composite.Source.
type clipCall struct {
	length  time.Duration
	people  []layout.Person
	tracks  []composite.Track
	streams map[string]clipStream
}

// clipStream is one layer that somebody sends: a clip from a frame on, again
// and again.
type clipStream struct {
	scene  *scene
	frames [][]byte
	keys   map[int]bool // by index into frames
	first  int
	height int
	top    string // stream id of the highest layer
}

// source is the clip's frame that is shown as frame n of the call.
func (s clipStream) source(n int) int { return (s.first + n) % len(s.frames) }

func newClipCall(ctx context.Context, dir string, participants, seconds int) (*clipCall, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make clip folder: %w", err)
	}
	c := &clipCall{length: time.Duration(seconds) * time.Second, streams: map[string]clipStream{}}
	scenes := map[int]*scene{}
	for i := range participants {
		seed := i % clipSeeds
		if scenes[seed] == nil {
			scenes[seed] = newScene(uint64(seed))
			if err := encodeScene(ctx, scenes[seed], dir); err != nil {
				return nil, err
			}
		}
		if err := c.add(i, scenes[seed], dir); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// add lets participant i show a scene.
func (c *clipCall) add(i int, s *scene, dir string) error {
	name := fmt.Sprintf("user-%d", i)
	track := composite.Track{ID: name, Codec: "VP8"}
	span := composite.Span{To: c.length}
	for _, l := range clipLayers {
		frames, err := readClip(s.path(dir, l.height))
		if err != nil {
			return err
		}
		st := clipStream{scene: s, frames: frames, keys: map[int]bool{}, height: l.height, top: name + "-720"}
		var keys []int
		for n, f := range frames {
			if f[0]&1 == 0 { // RFC 6386, 9.1
				st.keys[n] = true
				keys = append(keys, n)
			}
		}
		st.first = keys[i/clipSeeds%len(keys)]
		layer := composite.Layer{StreamID: fmt.Sprintf("%s-%d", name, l.height), Width: l.height * 16 / 9, Height: l.height, Spans: []composite.Span{span}}
		for n := range int(c.length.Seconds() * clipFPS) {
			if st.keys[st.source(n)] {
				layer.Keys = append(layer.Keys, clipTime(n))
			}
		}
		c.streams[layer.StreamID] = st
		track.Layers = append(track.Layers, layer)
	}
	c.tracks = append(c.tracks, track)
	c.people = append(c.people, layout.Person{
		ID: name, UserID: name, Name: name, Leave: c.length,
		Camera: []layout.Spell{{TrackID: track.ID, To: c.length}},
	})
	return nil
}

func clipTime(n int) time.Duration { return time.Duration(n) * time.Second / clipFPS }

func (c *clipCall) People() []layout.Person   { return c.people }
func (c *clipCall) Length() time.Duration     { return c.length }
func (c *clipCall) Tracks() []composite.Track { return c.tracks }

func (c *clipCall) From(ctx context.Context, id string, at time.Duration) iter.Seq2[composite.Sample, error] {
	return func(yield func(composite.Sample, error) bool) {
		s := c.streams[id]
		begin := int(at * clipFPS / time.Second)
		for begin > 0 && !s.keys[s.source(begin)] {
			begin--
		}
		for n := begin; clipTime(n) < c.length && ctx.Err() == nil; n++ {
			out := composite.Sample{At: clipTime(n), Data: s.frames[s.source(n)], Key: s.keys[s.source(n)]}
			if out.Key {
				out.Width, out.Height = s.height*16/9, s.height
			}
			if !yield(out, nil) {
				return
			}
		}
	}
}

// writeTop writes the highest layer of a stream's track as a file of its own.
func (c *clipCall) writeTop(id, dir string) (string, error) {
	s := c.streams[c.streams[id].top]
	path := filepath.Join(dir, c.streams[id].top+".ivf")
	f, err := os.Create(path)
	if err != nil {
		return "", fmt.Errorf("write clip: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	ivfHeader(w, s.height*16/9, s.height)
	for n := 0; clipTime(n) < c.length; n++ {
		ivfFrame(w, s.frames[s.source(n)], n)
	}
	return path, errors.Join(w.Flush(), f.Close())
}

// path of the scene's layer.
func (s *scene) path(dir string, height int) string {
	return filepath.Join(dir, fmt.Sprintf("composite-2-%d-%dp.ivf", s.seed, height))
}

func readClip(path string) ([][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read clip: %w", err)
	}
	defer f.Close()
	r, _, err := ivfreader.NewWith(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("read clip %s: %w", path, err)
	}
	var frames [][]byte
	for {
		frame, _, err := r.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read clip %s: %w", path, err)
		}
		frames = append(frames, frame)
	}
	if len(frames) != clipFrames {
		return nil, fmt.Errorf("read clip %s: %d frames, want %d: remove it to make it again", path, len(frames), clipFrames)
	}
	return frames, nil
}

// encodeScene makes the layers of a scene, if they are not there.
func encodeScene(ctx context.Context, s *scene, dir string) (err error) {
	last := clipLayers[len(clipLayers)-1].height
	if _, err := os.Stat(s.path(dir, last)); err == nil {
		return nil
	}
	work, err := os.MkdirTemp(dir, "encode-")
	if err != nil {
		return fmt.Errorf("encode clip: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	args := []string{
		"-loglevel", "error", "-f", "rawvideo", "-s", fmt.Sprintf("%dx%d", sceneWidth, sceneHeight), "-r", fmt.Sprint(clipFPS), "-i", "-",
	}
	// Keyframes of different people do not come together.
	keys := fmt.Sprintf("expr:eq(n,0)+eq(mod(n+%d,%d),0)", 29*s.seed, clipKeys)
	for i, l := range clipLayers {
		rate := fmt.Sprintf("%dk", l.kbps)
		args = append(args, "-map", "0:v", fmt.Sprintf("-filter:v:%d", 0), fmt.Sprintf("scale=-2:%d:flags=area", l.height),
			"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-threads", "2", "-auto-alt-ref", "0",
			"-g", "100000", "-force_key_frames", keys, "-b:v", rate, "-maxrate", rate, "-bufsize", rate, filepath.Join(work, fmt.Sprintf("%d.ivf", i)))
	}
	cmd := exec.CommandContext(ctx, "ffmpeg", args...)
	var said strings.Builder
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("encode clip: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("encode clip: %w", err)
	}
	p := newPlane(sceneWidth, sceneHeight)
	for n := range clipFrames {
		s.draw(n, p)
		if _, err = in.Write(p.all); err != nil {
			break
		}
	}
	if err = errors.Join(err, in.Close(), cmd.Wait()); err != nil {
		return fmt.Errorf("encode clip: %w: %s", err, said.String())
	}
	for i, l := range clipLayers {
		if err := os.Rename(filepath.Join(work, fmt.Sprintf("%d.ivf", i)), s.path(dir, l.height)); err != nil {
			return fmt.Errorf("keep clip: %w", err)
		}
	}
	return nil
}
