package mjr

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// codec is how one is called here.
type codec struct {
	mime     string
	rate     uint32
	channels uint16
}

var codecTable = map[string]codec{
	"vp8": {"video/VP8", 90000, 0}, "vp9": {"video/VP9", 90000, 0},
	"h264": {"video/H264", 90000, 0}, "av1": {"video/AV1", 90000, 0},
	"opus": {"audio/opus", 48000, 2},
	"pcmu": {"audio/PCMU", 8000, 1}, "pcma": {"audio/PCMA", 8000, 1},
}

// URIs of header extensions (RFC 6464; 3GPP TS 26.114, section 7.4.5).
const (
	audioLevelURI  = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	orientationURI = "urn:3gpp:video-orientation"
)

// track is a file that was looked through.
type track struct {
	path  string
	info  Info
	codec codec
	// pt is the payload type of most packets, redundant ones apart; others are
	// not imported. -1 when all are redundant.
	pt      int
	packets int
	dropped int           // packets that are not RTP or of another type
	last    time.Duration // arrival of the last packet
	// broken is where the file stops being one; what is before it counts.
	broken *Error
}

// scan looks through a file. Its error is an *Error, or the context's.
func scan(ctx context.Context, path string) (*track, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{File: path, Err: err}
	}
	defer func() { _ = f.Close() }() // only read
	r, err := NewReader(f, path)
	if err != nil {
		return nil, err
	}
	t := &track{path: path, info: r.Info()}
	var types [128]int
	var last [128]time.Duration
	clock := ticker{rate: t.rate()}
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		frame, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.As(err, &t.broken) {
			break
		}
		p, ok := parseRTP(frame.Data)
		if !ok {
			t.dropped++
			continue
		}
		if t.info.Version < 2 {
			frame.Arrival = clock.at(p.ts)
		}
		types[p.pt]++
		last[p.pt] = max(last[p.pt], frame.Arrival)
	}
	return t, t.settle(types, last)
}

// rate is the clock rate by the head alone.
func (t *track) rate() int64 {
	if c, ok := codecTable[t.info.Codec]; ok {
		return int64(c.rate)
	}
	return 8000 // G.711
}

// settle decides what of the packets is the track, and refuses what cannot be
// imported.
func (t *track) settle(types [128]int, last [128]time.Duration) error {
	red, total := int(t.info.RED), 0
	t.pt = -1
	for pt, n := range types {
		total += n
		if n > 0 && (red == 0 || pt != red) && (t.pt < 0 || n > types[t.pt]) {
			t.pt = pt
		}
	}
	if t.pt >= 0 {
		t.packets, t.last = types[t.pt], last[t.pt]
	}
	if red != 0 {
		t.packets, t.last = t.packets+types[red], max(t.last, last[red])
	}
	t.dropped += total - t.packets
	var ok bool
	name := t.info.Codec
	if name == "g711" { // either law
		name = map[int]string{0: "pcmu", 8: "pcma"}[t.pt]
	}
	t.codec, ok = codecTable[name]
	switch {
	case t.info.Encrypted:
		return t.refuse("media encrypted end to end", ErrUnsupported)
	case t.info.Kind == 'd':
		return t.refuse("a data channel", ErrUnsupported)
	case !ok, t.video() != strings.HasPrefix(t.codec.mime, "video/"):
		return t.refuse(fmt.Sprintf("codec %q of kind %q", t.info.Codec, t.info.Kind), ErrUnsupported)
	case t.packets == 0 && t.broken != nil:
		return t.broken
	case t.packets == 0:
		return t.refuse("no packets", ErrFormat)
	}
	return nil
}

func (t *track) refuse(what string, err error) error {
	return &Error{File: t.path, Err: fmt.Errorf("%s: %w", what, err)}
}

func (t *track) video() bool { return t.info.Kind == 'v' }

// extension is the id of a header extension, 0 for none.
func (t *track) extension(uri string) uint8 {
	for id, u := range t.info.Extensions {
		if u == uri {
			return id
		}
	}
	return 0
}

// parameterSets are those of H.264 in the parameters (RFC 6184, section 8.1).
func (t *track) parameterSets() [][]byte {
	var out [][]byte
	for _, part := range strings.Split(t.info.Fmtp, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(key, "sprop-parameter-sets") {
			continue
		}
		for _, set := range strings.Split(value, ",") {
			if b, err := base64.StdEncoding.DecodeString(set); err == nil && len(b) > 0 {
				out = append(out, b)
			}
		}
	}
	return out
}

// each gives all packets of the track, in order, with their arrivals since the
// first. What it gives is valid until it gives the next.
func (t *track) each(ctx context.Context, yield func(b []byte, at time.Duration) error) error {
	f, err := os.Open(t.path)
	if err != nil {
		return &Error{File: t.path, Err: err}
	}
	defer func() { _ = f.Close() }() // only read
	r, err := NewReader(f, t.path)
	if err != nil {
		return err
	}
	clock := ticker{rate: int64(t.codec.rate)}
	for {
		frame, err := r.Next()
		var broken *Error
		if errors.Is(err, io.EOF) || errors.As(err, &broken) {
			return ctx.Err() // how it ends is known from the scan
		}
		p, ok := parseRTP(frame.Data)
		if !ok {
			continue
		}
		if t.info.Version < 2 {
			frame.Arrival = clock.at(p.ts)
		}
		b := frame.Data
		if red := t.info.RED; red != 0 && p.pt == red {
			if b, ok = stripRED(b, p); !ok {
				continue
			}
			p.pt = b[1] & 0x7f
		}
		if t.pt >= 0 && int(p.pt) != t.pt {
			continue
		}
		if err := yield(b, frame.Arrival); err != nil {
			return err
		}
	}
}
