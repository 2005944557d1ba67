package media_test

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
	"github.com/pion/webrtc/v4/pkg/media/oggreader"

	"stillwatch/recording/media"
)

// clipSpec says what to encode: video of frames at 25 a second with a keyframe
// every gop, or sound of a tone.
type clipSpec struct {
	codec         string
	width, height int
	frames, gop   int
	tone          int     // Hz
	seconds       float64 // of sound
}

var (
	clipMu sync.Mutex
	clips  = map[clipSpec][][]byte{}
)

// clip encodes once per test binary, and returns the pictures or packets.
func clip(t testing.TB, s clipSpec) [][]byte {
	t.Helper()
	clipMu.Lock()
	defer clipMu.Unlock()
	if c, ok := clips[s]; ok {
		return c
	}
	c, err := encode(s)
	if err != nil {
		t.Fatalf("encode %+v: %v", s, err)
	}
	clips[s] = c
	return c
}

func encode(s clipSpec) ([][]byte, error) {
	args := []string{"-hide_banner", "-loglevel", "error", "-threads", "1", "-f", "lavfi"}
	if s.tone > 0 {
		args = append(args, "-i", fmt.Sprintf("sine=frequency=%d:sample_rate=48000:duration=%g", s.tone, s.seconds))
	} else {
		args = append(args, "-i", fmt.Sprintf("testsrc2=size=%dx%d:rate=25", s.width, s.height),
			"-vf", "noise=alls=10:allf=t", "-frames:v", fmt.Sprint(s.frames), "-pix_fmt", "yuv420p",
			"-g", fmt.Sprint(s.gop), "-keyint_min", fmt.Sprint(s.gop), "-b:v", "600k")
	}
	format := "ivf"
	switch s.codec {
	case media.VP8:
		args = append(args, "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0", "-lag-in-frames", "0")
	case media.VP9:
		args = append(args, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0", "-lag-in-frames", "0")
	case media.AV1:
		args = append(args, "-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-lag-in-frames", "0")
	case media.H264:
		format = "h264"
		args = append(args, "-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast", "-tune", "zerolatency",
			"-x264-params", "aud=1:scenecut=0:threads=1:sliced-threads=0")
	case media.Opus:
		format = "ogg"
		args = append(args, "-c:a", "libopus", "-b:a", "48k", "-ac", "1", "-page_duration", "20000")
	case media.PCMU:
		format = "mulaw"
		args = append(args, "-ar", "8000", "-ac", "1")
	case media.PCMA:
		format = "alaw"
		args = append(args, "-ar", "8000", "-ac", "1")
	}
	cmd := exec.Command("ffmpeg", append(args, "-f", format, "pipe:1")...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("ffmpeg: %w: %s", err, strings.TrimSpace(errs.String()))
	}
	switch format {
	case "h264":
		return splitAnnexB(out.Bytes()), nil
	case "ogg":
		return splitOgg(out.Bytes())
	case "ivf":
		return splitIVF(out.Bytes())
	}
	var all [][]byte
	for b := out.Bytes(); len(b) >= 160; b = b[160:] {
		all = append(all, b[:160])
	}
	return all, nil
}

func splitIVF(b []byte) (frames [][]byte, err error) {
	if len(b) < 32 || string(b[:4]) != "DKIF" {
		return nil, fmt.Errorf("no IVF header")
	}
	for b = b[32:]; len(b) >= 12; {
		n := int(binary.LittleEndian.Uint32(b))
		if len(b) < 12+n {
			return nil, fmt.Errorf("IVF frame is cut off")
		}
		frames = append(frames, b[12:12+n])
		b = b[12+n:]
	}
	return frames, nil
}

// splitAnnexB splits at access unit delimiters, which it drops, and makes all
// start codes four bytes long.
func splitAnnexB(b []byte) (frames [][]byte) {
	for _, unit := range bytes.Split(b, []byte{0, 0, 0, 1, 9})[1:] {
		var f []byte
		for _, n := range bytes.Split(unit[1:], []byte{0, 0, 1})[1:] {
			// one zero of a start code of four bytes, or padding, before the next
			f = append(append(f, 0, 0, 0, 1), bytes.TrimRight(n, "\x00")...)
		}
		frames = append(frames, f)
	}
	return frames
}

func splitOgg(b []byte) (packets [][]byte, err error) {
	r, _, err := oggreader.NewWith(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		page, _, err := r.ParseNextPage()
		if err != nil {
			return packets, nil
		}
		if n > 0 { // after the tags
			packets = append(packets, page)
		}
	}
}

func payloader(codec string) rtp.Payloader {
	switch codec {
	case media.VP8:
		return &codecs.VP8Payloader{EnablePictureID: true}
	case media.VP9:
		return &codecs.VP9Payloader{FlexibleMode: true, InitialPictureIDFn: func() uint16 { return 77 }}
	case media.AV1:
		return &codecs.AV1Payloader{}
	case media.H264:
		return &codecs.H264Payloader{}
	default:
		return whole{}
	}
}

// whole is the payloader of sound.
type whole struct{}

func (whole) Payload(_ uint16, b []byte) [][]byte { return [][]byte{b} }
