package media_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"

	"stillwatch/internal/event"
	"stillwatch/recording/media"
	"stillwatch/recording/raw"
)

func TestSession(t *testing.T) {
	t.Parallel()
	src := newMemory()
	large, small, a := video(t, media.VP8), sent{codec: media.VP8, units: clip(t, clipSpec{codec: media.VP8, width: 160, height: 96, frames: 25, gop: 25}), start: time.Second, step: 40 * time.Millisecond}, sound(t, media.Opus, 440)
	src.entries = []raw.Entry{
		{Kind: raw.Joined, UserID: "u", UserSessionID: "u-1", Name: "Uma", Role: "host"},
		{Kind: raw.Joined, At: time.Second, UserID: "w", UserSessionID: "w-1", Name: "Wim"},
		{Kind: raw.Muted, At: 2 * time.Second, TrackID: "cam"},
		{Kind: raw.Unmuted, At: 2500 * time.Millisecond, TrackID: "cam"},
		{Kind: raw.Muted, At: 3 * time.Second, TrackID: "cam"},
		{Kind: raw.Left, At: 3 * time.Second, UserID: "w", UserSessionID: "w-1"},
		{Kind: raw.Joined, At: 3200 * time.Millisecond, UserID: "w", UserSessionID: "w-1", Name: "Wim"},
	}
	i := small.info("q", "u")
	i.RID, i.TrackID = "q", "cam"
	src.add(i, small.packets())
	j := large.info("f", "u")
	j.RID, j.TrackID = "f", "cam"
	src.add(j, large.packets())
	k := a.info("mic", "x")
	k.Type = event.TrackScreenShareAudio
	src.add(k, a.packets())
	src.streams = append(src.streams, raw.StreamInfo{ID: "none", TrackID: "none", UserSessionID: "u-1", Type: event.TrackVideo, MimeType: "video/H265", ClockRate: 90000})
	s, err := media.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	people := s.People()
	if len(people) != 4 || people[0].Name != "Uma" || people[0].Role != "host" || people[0].Leave != s.Length() ||
		people[1].Leave != 3*time.Second || people[2].Join != 3200*time.Millisecond || people[3].UserID != "x" {
		t.Errorf("%+v", people)
	}
	tracks := s.Tracks()
	if len(tracks) != 3 || tracks[1].Person != 3 || tracks[1].Codec != media.Opus || tracks[2].Codec != "" {
		t.Fatalf("%+v", tracks)
	}
	cam := tracks[0]
	if len(cam.Layers) != 2 || cam.Layers[0].RID != "f" || cam.Layers[0].Width != 320 || cam.Layers[1].Width != 160 || cam.Person != 0 {
		t.Fatalf("%+v", cam)
	}
	if l := cam.Layers[0]; len(l.Keys) != 3 || l.Bitrate < 100_000 || l.Bitrate > 2_000_000 || !slices.Equal(l.Spans, []media.Span{
		{From: 530 * time.Millisecond, To: 2 * time.Second}, {From: 2500 * time.Millisecond, To: 3 * time.Second},
	}) {
		t.Errorf("%+v", l)
	}
	if p := s.Problems(); len(p) != 1 || !strings.Contains(p[0].Error(), "H265") {
		t.Errorf("problems: %v", p)
	}
	if s.Info().CID != "default:x" || s.Length() < 3*time.Second {
		t.Errorf("%+v, %v", s.Info(), s.Length())
	}
	for _, err := range s.Samples(t.Context(), "nobody") {
		if !errors.Is(err, media.ErrUnknown) {
			t.Errorf("got %v", err)
		}
	}
}

func TestExtensions(t *testing.T) {
	t.Parallel()
	with := func(s sent, id uint8, value func(i int) byte) (packets []raw.Packet) {
		for i, ps := range s.rtp() {
			for _, p := range ps {
				if err := p.SetExtension(id, []byte{value(i)}); err != nil {
					t.Fatal(err)
				}
				packets = append(packets, stored(p, s.start+time.Duration(i)*s.step))
			}
		}
		return packets
	}
	a, v := sound(t, media.Opus, 440), video(t, media.VP8)
	src := newMemory()
	ai, vi := a.info("a", "u"), v.info("v", "u")
	ai.AudioLevelExtID, vi.RotationExtID = 3, 4
	src.add(ai, with(a, 3, func(i int) byte { return byte(i%2)<<7 | byte(i%128) }))
	src.add(vi, with(v, 4, func(i int) byte { return byte(i / 25) }))
	s := src.load(t)
	levels := s.Levels("t-a")
	if len(levels) != len(a.units) {
		t.Fatalf("%d levels", len(levels))
	}
	for i, l := range levels {
		if int(l.Level) != i%128 || l.Voice != (i%2 == 1) || (l.At-a.start-time.Duration(i)*a.step).Abs() > time.Millisecond {
			t.Fatalf("level %d: %+v", i, l)
		}
	}
	for i, m := range samples(t, s.Samples(t.Context(), "a")) {
		if !m.Leveled || int(m.Level) != i%128 || m.Voice != (i%2 == 1) || m.Length != 20*time.Millisecond {
			t.Fatalf("sample %d: %+v", i, m.Sample)
		}
	}
	for i, m := range samples(t, s.Samples(t.Context(), "v")) {
		if m.Rotation != 90*(i/25) {
			t.Fatalf("picture %d: rotation %d", i, m.Rotation)
		}
	}
	if l := s.Levels("nobody"); l != nil {
		t.Errorf("levels of nobody: %v", l)
	}
}

// Parameter sets that are in the SDP alone stand before every keyframe.
func TestParameterSetsFromSDP(t *testing.T) {
	t.Parallel()
	s := video(t, media.H264)
	sets := bytes.Split(s.units[0], []byte{0, 0, 0, 1})[1:3]
	bare := s
	bare.units = nil
	for _, u := range s.units {
		var b []byte
		for _, nal := range bytes.Split(u, []byte{0, 0, 0, 1})[1:] {
			if typ := nal[0] & 31; typ != 7 && typ != 8 {
				b = append(append(b, 0, 0, 0, 1), nal...)
			}
		}
		bare.units = append(bare.units, b)
	}
	src := newMemory()
	info := bare.info("v", "u")
	info.ParameterSets = sets
	// something before, so that the first packet's place is proven
	packets := bare.packets()
	before := stored(&rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 0x5711, SequenceNumber: s.seq - 1, Timestamp: s.ts - 3600, Marker: true}, Payload: []byte{0x41, 0x9a}}, s.start)
	src.add(info, append([]raw.Packet{before}, packets...))
	all := samples(t, src.load(t).Samples(t.Context(), "v"))
	if len(all) != 75 {
		t.Fatalf("%d samples", len(all))
	}
	for i, m := range all {
		want := bare.units[i]
		if i%25 == 0 {
			want = nil
			for _, nal := range sets {
				want = append(append(want, 0, 0, 0, 1), nal...)
			}
			want = append(want, bare.units[i]...)
		}
		if !bytes.Equal(m.Data, want) || m.Broken {
			t.Fatalf("sample %d differs: % x, not % x", i, m.Data[:40], want[:40])
		}
	}
}

// Padding alone fills the sequence, and is no picture.
func TestPadding(t *testing.T) {
	t.Parallel()
	for _, codec := range videoCodecs {
		s := video(t, codec)
		var packets []raw.Packet
		seq := s.seq
		for i, ps := range s.rtp() {
			at := s.start + time.Duration(i)*s.step + s.lag
			for _, p := range ps {
				p.SequenceNumber = seq
				seq++
				packets = append(packets, stored(p, at))
			}
			for range i % 3 {
				packets = append(packets, stored(&rtp.Packet{
					Header:      rtp.Header{Version: 2, SSRC: 0x5711, SequenceNumber: seq, Timestamp: s.ticks(i), Padding: true},
					PaddingSize: 255,
				}, at))
				seq++
			}
		}
		src := newMemory()
		src.add(s.info("a", "u"), packets)
		equal(t, s, samples(t, src.load(t).Samples(t.Context(), "a")))
	}
}

// damaged is a folder one of whose files cannot be read beyond some packets.
type damaged struct {
	*memory
	id    string
	after int
}

var errDamaged = errors.New("damaged")

func (d damaged) Packets(id string) iter.Seq2[raw.Packet, error] {
	return func(yield func(raw.Packet, error) bool) {
		n := 0
		for p, err := range d.memory.Packets(id) {
			if n++; id == d.id && n > d.after {
				yield(raw.Packet{}, errDamaged)
				return
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

func TestDamagedStream(t *testing.T) {
	t.Parallel()
	a := sound(t, media.Opus, 440)
	m := newMemory()
	m.add(a.info("a", "u"), a.packets())
	m.add(a.info("b", "w"), a.packets())
	s, err := media.Load(damaged{m, "a", 100})
	if err != nil {
		t.Fatal(err)
	}
	if p := s.Problems(); len(p) != 1 || !errors.Is(p[0], errDamaged) {
		t.Errorf("problems: %v", p)
	}
	if n := len(samples(t, s.Samples(t.Context(), "a"))); n != 100 {
		t.Errorf("%d samples", n)
	}
	if n := len(samples(t, s.Samples(t.Context(), "b"))); n != len(a.units) {
		t.Errorf("%d samples", n)
	}
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	a := sound(t, media.Opus, 440)
	for range 5 {
		a.units = append(a.units, a.units...)
	}
	m := newMemory()
	m.add(a.info("a", "u"), a.packets())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := m.load(t)
	n := 0
	for _, err := range s.Samples(ctx, "a") {
		if n++; n == 300 {
			cancel()
		}
		if err != nil {
			if !errors.Is(err, context.Canceled) || n > 1000 {
				t.Errorf("after %d: %v", n, err)
			}
			n = -1
			break
		}
	}
	if n != -1 {
		t.Error("the context's end is not told")
	}
	if _, err := media.LoadContext(ctx, m); !errors.Is(err, context.Canceled) {
		t.Errorf("load: %v", err)
	}
	if err := s.MixAudio(ctx, media.MixOptions{Path: t.TempDir() + "/x", Format: "wav"}); !errors.Is(err, context.Canceled) {
		t.Errorf("mix: %v", err)
	}
}

// The same through a real folder.
func TestRealFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/s"
	key := raw.Key{1, 2, 3}
	start := time.Now()
	w, err := raw.Create(dir, key, raw.SessionInfo{CID: "default:x", SessionID: "s", StartedAt: start}, raw.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := video(t, media.VP9)
	for range 3 {
		v.units = append(v.units, v.units...) // 24 s
	}
	stream, err := w.Stream(v.info("v", "u"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range v.packets() {
		stream.Write(p.Data, p.RTCP, start.Add(p.At))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := raw.Open(dir, key)
	if err != nil {
		t.Fatal(err)
	}
	s, err := media.Load(r)
	if err != nil {
		t.Fatal(err)
	}
	all := samples(t, s.Samples(t.Context(), "v"))
	equal(t, v, all)
	part := samples(t, s.From(t.Context(), "v", 15*time.Second))
	if len(part) == 0 || part[0].At > 15*time.Second || part[0].At < 13*time.Second || !bytes.Equal(part[0].Data, all[len(all)-len(part)].Data) {
		t.Errorf("%d samples from the middle", len(part))
	}
}
