package synthetic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

// packetTime is how much sound a packet of a tone holds.
const packetTime = 20 * time.Millisecond

// Tone is a second of a sine, as Opus packets of 20 ms.
type Tone struct {
	// Hz is the pitch, a multiple of 50, so that a packet holds whole waves
	// and the tone goes on without a click.
	Hz      int
	Packets [][]byte
}

// MakeTone encodes a tone with the ffmpeg command.
func MakeTone(ctx context.Context, hz int) (*Tone, error) {
	return makeTone(ctx, hz, "sine=frequency=%d:sample_rate=48000:duration=3")
}

// MakeBeep encodes a tone that is heard in the first tenth of every second.
func MakeBeep(ctx context.Context, hz int) (*Tone, error) {
	return makeTone(ctx, hz, "aevalsrc=0.5*sin(2*PI*%d*t)*lt(mod(t\\,1)\\,0.1):s=48000:d=3")
}

func makeTone(ctx context.Context, hz int, source string) (*Tone, error) {
	if hz <= 0 || hz%50 != 0 || hz > 8000 {
		return nil, fmt.Errorf("make tone: %d Hz; want a multiple of 50 up to 8000", hz)
	}
	var out, stderr bytes.Buffer
	// The first second lets the encoder settle and is left out.
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error",
		"-f", "lavfi", "-i", fmt.Sprintf(source, hz), "-ac", "1",
		"-c:a", "libopus", "-b:a", "48k", "-frame_duration", "20", "-page_duration", "20000", "-f", "ogg", "pipe:1")
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("make tone: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	r, _, err := oggreader.NewWith(&out)
	if err != nil {
		return nil, fmt.Errorf("read tone: %w", err)
	}
	t := &Tone{Hz: hz}
	for n := 0; ; n++ {
		page, _, err := r.ParseNextPage()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read tone: %w", err)
		}
		if n > 50 && len(t.Packets) < 50 { // page 0 holds comments
			t.Packets = append(t.Packets, bytes.Clone(page))
		}
	}
	if len(t.Packets) < 50 {
		return nil, fmt.Errorf("make tone: %d packets only", len(t.Packets))
	}
	return t, nil
}

// sound sends the tone until ctx ends.
func (p *Publisher) sound(ctx context.Context, track *webrtc.TrackLocalStaticSample) {
	select {
	case <-time.After(p.cfg.Phase):
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(packetTime)
	defer tick.Stop()
	for n := 0; ; n++ {
		packet := p.cfg.Tone.Packets[n%len(p.cfg.Tone.Packets)]
		if err := track.WriteSample(media.Sample{Data: packet, Duration: packetTime}); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-p.gone:
			return
		case <-ctx.Done():
			return
		}
	}
}
