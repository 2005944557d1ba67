// Package keyframetest makes real coded video and RTP packets of it for tests,
// with the ffmpeg command and pion's payloaders.
package keyframetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"stillwatch/internal/event"
)

// Spec says what to encode. The zero value of a field takes the default.
type Spec struct {
	Codec event.Codec
	// Width and Height in pixels, default 320 by 240.
	Width, Height int
	// Frames is the length, default 12; every GOP-th (default 6) is a keyframe.
	Frames, GOP int
	// Filter is an ffmpeg filter graph behind the test picture.
	Filter string
	// Slices of an H.264 picture, default 1.
	Slices int
}

// Frame is one coded picture.
type Frame struct {
	Data []byte
	Key  bool
}

// Clip is coded video.
type Clip struct {
	Spec
	Frames []Frame
}

var (
	mu    sync.Mutex
	clips = map[Spec]Clip{}
)

// Encode makes the clip, once per process for the same spec. A test is skipped
// where the ffmpeg command is missing.
func Encode(t testing.TB, spec Spec) Clip {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("the ffmpeg command is missing; make setup installs it")
	}
	spec = withDefaults(spec)
	mu.Lock()
	defer mu.Unlock()
	if c, ok := clips[spec]; ok {
		return c
	}
	c, err := encode(spec)
	if err != nil {
		t.Fatalf("encode %+v: %v", spec, err)
	}
	clips[spec] = c
	return c
}

func withDefaults(s Spec) Spec {
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&s.Width, 320)
	set(&s.Height, 240)
	set(&s.Frames, 12)
	set(&s.GOP, 6)
	set(&s.Slices, 1)
	return s
}

func encode(s Spec) (Clip, error) {
	args := []string{
		"-hide_banner", "-loglevel", "error", "-threads", "1", "-f", "lavfi",
		"-i", fmt.Sprintf("testsrc2=size=%dx%d:rate=15", s.Width, s.Height),
	}
	filter := "noise=alls=12:allf=t"
	if s.Filter != "" {
		filter += "," + s.Filter
	}
	args = append(args, "-vf", filter, "-frames:v", fmt.Sprint(s.Frames), "-pix_fmt", "yuv420p",
		"-g", fmt.Sprint(s.GOP), "-keyint_min", fmt.Sprint(s.GOP))
	format := "ivf"
	switch s.Codec {
	case event.VP8:
		args = append(args, "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M", "-auto-alt-ref", "0", "-lag-in-frames", "0")
	case event.VP9:
		args = append(args, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M", "-auto-alt-ref", "0", "-lag-in-frames", "0")
	case event.AV1:
		args = append(args, "-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-b:v", "1M", "-lag-in-frames", "0")
	case event.H264:
		format = "h264"
		args = append(args, "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-b:v", "1M",
			"-x264-params", fmt.Sprintf("aud=1:slices=%d:scenecut=0:threads=1:sliced-threads=0", s.Slices))
	default:
		return Clip{}, fmt.Errorf("codec %q", s.Codec)
	}
	cmd := exec.Command("ffmpeg", append(args, "-f", format, "pipe:1")...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return Clip{}, fmt.Errorf("ffmpeg: %w: %s", err, strings.TrimSpace(errs.String()))
	}
	c := Clip{Spec: s}
	var err error
	if s.Codec == event.H264 {
		c.Frames = splitAnnexB(out.Bytes())
	} else {
		c.Frames, err = splitIVF(out.Bytes())
	}
	for i := range c.Frames {
		c.Frames[i].Key = i%s.GOP == 0
	}
	if err == nil && len(c.Frames) != s.Frames {
		err = fmt.Errorf("%d frames came of %d", len(c.Frames), s.Frames)
	}
	return c, err
}

func splitIVF(b []byte) (frames []Frame, err error) {
	if len(b) < 32 || string(b[:4]) != "DKIF" {
		return nil, fmt.Errorf("no IVF header")
	}
	for b = b[32:]; len(b) >= 12; {
		n := int(binary.LittleEndian.Uint32(b))
		if len(b) < 12+n {
			return nil, fmt.Errorf("IVF frame is cut off")
		}
		frames = append(frames, Frame{Data: b[12 : 12+n]})
		b = b[12+n:]
	}
	return frames, nil
}

// splitAnnexB splits at access unit delimiters, which it drops.
func splitAnnexB(b []byte) (frames []Frame) {
	for _, unit := range bytes.Split(b, []byte{0, 0, 0, 1, 9})[1:] {
		frames = append(frames, Frame{Data: unit[1:]})
	}
	return frames
}

// NALs splits an Annex B byte stream.
func NALs(b []byte) (nals [][]byte) {
	for _, n := range bytes.Split(b, []byte{0, 0, 1})[1:] {
		nals = append(nals, bytes.TrimRight(n, "\x00"))
	}
	return nals
}

// Keyframe returns the bytes that an assembler is to make of frame i: what
// the encoder made, but for H.264 with parameter sets and slices alone and
// start codes of four bytes.
func (c Clip) Keyframe(i int) []byte {
	data := c.Frames[i].Data
	if c.Codec != event.H264 {
		return data
	}
	var out []byte
	for _, n := range NALs(data) {
		if t := n[0] & 0x1f; t == 5 || t == 7 || t == 8 {
			out = append(append(out, 0, 0, 0, 1), n...)
		}
	}
	return out
}

// Payloader returns pion's payloader of the codec.
func Payloader(codec event.Codec) rtp.Payloader {
	switch codec {
	case event.VP8:
		return &codecs.VP8Payloader{EnablePictureID: true}
	case event.VP9:
		return &codecs.VP9Payloader{FlexibleMode: true, InitialPictureIDFn: func() uint16 { return 77 }}
	case event.AV1:
		return &codecs.AV1Payloader{}
	default:
		return &codecs.H264Payloader{}
	}
}

// Packets payloads every frame, 15 a second, in packets of mtu payload bytes
// at most, beginning with the sequence number. It returns them by frame.
func (c Clip) Packets(seq uint16, mtu uint16) [][]*rtp.Packet {
	pay := Payloader(c.Codec)
	var all [][]*rtp.Packet
	for i, f := range c.Frames {
		var ps []*rtp.Packet
		payloads := pay.Payload(mtu, f.Data)
		for j, b := range payloads {
			ps = append(ps, &rtp.Packet{
				Header: rtp.Header{
					Version: 2, PayloadType: 96, SSRC: 0x5711, SequenceNumber: seq,
					Timestamp: 0xfffff000 + uint32(i)*6000, Marker: j == len(payloads)-1,
				},
				Payload: b,
			})
			seq++
		}
		all = append(all, ps)
	}
	return all
}
