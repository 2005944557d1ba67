package mjr

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// writer makes .mjr files.
type writer struct {
	bytes.Buffer
	version int
}

// begin writes a head.
func begin(version int, h header) *writer {
	w := &writer{version: version}
	text, err := json.Marshal(h)
	if err != nil {
		panic(err)
	}
	switch version {
	case 0:
		w.WriteString("MEETECHO")
		text = []byte(map[string]string{"a": "audio", "v": "video", "d": "data"}[h.Kind])
	case 1:
		w.WriteString("MJR00001")
	default:
		w.WriteString("MJR00002")
	}
	w.part(text)
	return w
}

func (w *writer) part(b []byte) {
	_ = binary.Write(w, binary.BigEndian, uint16(len(b)))
	w.Write(b)
}

func (w *writer) packet(b []byte, arrival time.Duration) {
	if w.version == 2 {
		w.WriteString("MEET")
		_ = binary.Write(w, binary.BigEndian, uint32(arrival.Milliseconds()))
	} else {
		w.WriteString("MEETECHO")
	}
	w.part(b)
}

// save writes the file into dir and returns its path.
func (w *writer) save(t testing.TB, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, w.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// clip is coded media as RTP packets, each with when it was sent.
type clip struct {
	codec   string
	frames  int
	packets []*rtp.Packet
	at      []time.Duration
}

// coders are how ffmpeg makes clips of one second: its arguments, the frames
// and RTP ticks between frames, and the payload type.
var coders = map[string]struct {
	args   string
	frames int
	ticks  uint32
	pt     uint8
}{
	"vp8":  {"-c:v libvpx -deadline realtime -cpu-used 8 -b:v 300k -auto-alt-ref 0 -f ivf", 25, 3600, 96},
	"vp9":  {"-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 300k -auto-alt-ref 0 -lag-in-frames 0 -f ivf", 25, 3600, 98},
	"av1":  {"-c:v libaom-av1 -usage realtime -cpu-used 8 -b:v 300k -lag-in-frames 0 -f ivf", 25, 3600, 45},
	"h264": {"-c:v libx264 -preset ultrafast -tune zerolatency -bf 0 -x264-params aud=1:sliced-threads=0:slices=1 -f h264", 25, 3600, 102},
	"opus": {"-c:a libopus -b:a 32k -frame_duration 20 -f ogg", 50, 960, 111},
	"pcmu": {"-c:a pcm_mulaw -ar 8000 -ac 1 -f mulaw", 50, 160, 0},
	"pcma": {"-c:a pcm_alaw -ar 8000 -ac 1 -f alaw", 50, 160, 8},
}

var made sync.Map // codec → func() clip

// encode makes a clip of a second, once per process.
func encode(t testing.TB, codec string) clip {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("the ffmpeg command is missing; make setup installs it")
	}
	once, _ := made.LoadOrStore(codec, sync.OnceValues(func() (clip, error) { return makeClip(codec) }))
	c, err := once.(func() (clip, error))()
	if err != nil {
		t.Fatalf("encode %s: %v", codec, err)
	}
	return c
}

func makeClip(codec string) (clip, error) {
	c := coders[codec]
	input := "testsrc2=size=160x120:rate=25:duration=1"
	if c.pt == 111 || c.pt < 10 {
		input = "sine=frequency=440:sample_rate=48000:duration=1"
	}
	args := []string{"-hide_banner", "-loglevel", "error", "-threads", "1", "-f", "lavfi", "-i", input}
	if strings.HasPrefix(input, "testsrc2") {
		args = append(args, "-pix_fmt", "yuv420p")
	}
	args = append(args, strings.Fields(c.args)...)
	var errs bytes.Buffer
	cmd := exec.Command("ffmpeg", append(args, "pipe:1")...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return clip{}, fmt.Errorf("%w: %s", err, errs.String())
	}
	return packClip(codec, split(codec, out))
}

// split cuts what ffmpeg wrote into frames.
func split(codec string, b []byte) (frames [][]byte) {
	switch codec {
	case "opus":
		n := 0
		_ = oggPackets(bytes.NewReader(b), func(p []byte) error {
			if n++; n > 2 {
				frames = append(frames, bytes.Clone(p))
			}
			return nil
		})
	case "pcmu", "pcma":
		for len(b) >= 160 {
			frames, b = append(frames, b[:160]), b[160:]
		}
	case "h264":
		for _, unit := range bytes.Split(b, []byte{0, 0, 0, 1, 9})[1:] {
			// Behind the delimiter's one byte the other units follow.
			frames = append(frames, unit[1:])
		}
	default:
		for b = b[32:]; len(b) >= 12; {
			n := 12 + int(binary.LittleEndian.Uint32(b))
			frames, b = append(frames, b[12:n]), b[n:]
		}
	}
	return frames
}

func packClip(codec string, frames [][]byte) (clip, error) {
	how := coders[codec]
	var p rtp.Payloader
	switch codec {
	case "vp8":
		p = &codecs.VP8Payloader{EnablePictureID: true}
	case "vp9":
		p = &codecs.VP9Payloader{InitialPictureIDFn: func() uint16 { return 7 }}
	case "av1":
		p = &codecs.AV1Payloader{}
	case "h264":
		p = &codecs.H264Payloader{}
	case "opus":
		p = &codecs.OpusPayloader{}
	default:
		p = &codecs.G711Payloader{}
	}
	c := clip{codec: codec, frames: len(frames)}
	rate := time.Duration(codecTable[codec].rate)
	for i, f := range frames {
		parts := p.Payload(1000, f)
		for j, b := range parts {
			n := len(c.packets)
			c.packets = append(c.packets, &rtp.Packet{
				Header: rtp.Header{
					Version: 2, PayloadType: how.pt, SequenceNumber: uint16(65500 + n), SSRC: 0x1234,
					Timestamp: 0xffff_f000 + uint32(i)*how.ticks, Marker: j == len(parts)-1,
				},
				Payload: b,
			})
			c.at = append(c.at, time.Duration(i)*time.Duration(how.ticks)*time.Second/rate)
		}
	}
	return c, nil
}

// mjr makes a file of the clip.
func (c clip) mjr(version int, h header) *writer {
	h.Kind, h.Codec = "a", c.codec
	if strings.HasPrefix(codecTable[c.codec].mime, "video/") {
		h.Kind = "v"
	}
	w := begin(version, h)
	for i, p := range c.packets {
		b, err := p.Marshal()
		if err != nil {
			panic(err)
		}
		w.packet(b, c.at[i])
	}
	return w
}
