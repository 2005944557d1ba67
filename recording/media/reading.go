package media

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pion/rtp"

	"stillwatch/recording/raw"
)

// streamInfo is what a reading needs to know of a stream.
type streamInfo struct {
	raw.StreamInfo
	codec string // "" unknown
}

func newStreamInfo(i raw.StreamInfo) streamInfo {
	s := streamInfo{StreamInfo: i}
	_, name, _ := strings.Cut(i.MimeType, "/")
	for _, c := range []string{VP8, VP9, H264, AV1, Opus, PCMU, PCMA} {
		if strings.EqualFold(name, c) && (newFormat(c, nil) != nil) == i.Video() {
			s.codec = c
		}
	}
	if s.ClockRate == 0 {
		s.ClockRate = map[string]uint32{Opus: 48000, PCMU: 8000, PCMA: 8000}[s.codec]
		if s.ClockRate == 0 {
			s.ClockRate = 90000
		}
	}
	return s
}

// extensions reads the header extensions: the rotation (coordination of video
// orientation, 3GPP TS 26.114, section 7.4.5: bits 1 and 0 are quarter turns)
// and the audio level (RFC 6464, section 3), each plus one, 0 where not there.
func (i streamInfo) extensions(h *rtp.Header) (rotation, level int16) {
	if id := i.RotationExtID; id != 0 {
		if b := h.GetExtension(id); len(b) == 1 {
			rotation = 90*int16(b[0]&3) + 1
		}
	}
	if id := i.AudioLevelExtID; id != 0 {
		if b := h.GetExtension(id); len(b) >= 1 {
			level = int16(b[0]) + 1
		}
	}
	return rotation, level
}

// reading is one pass over a stream's packets.
type reading struct {
	in    streamInfo
	clock *clock
	// first makes the clock; later passes follow it.
	first  bool
	cur    cursor
	order  order
	framer framer
	emit   func(*coded) bool
	// now is the arrival of the packet at hand, nowN how many came in the same
	// millisecond so far; open says that the packet has no place yet.
	now  time.Duration
	nowN int
	open bool
	// catch is the snapshot that the reading goes on from, while it reads what
	// the window held at that point.
	catch *snapshot
	// taken is when a snapshot of sound was taken.
	taken time.Duration
}

// newReading makes a pass from the start, or from a snapshot.
func newReading(in streamInfo, c *clock, first bool, from *snapshot, emit func(*coded) bool) *reading {
	r := &reading{in: in, clock: c, first: first, emit: emit, cur: cursor{seg: -1}}
	r.framer = framer{format: newFormat(in.codec, in.ParameterSets), emit: emit, broken: true}
	if from == nil {
		return r
	}
	r.cur = from.cursor
	r.catch = from
	r.order.started, r.order.any = true, true
	r.order.ssrc, r.order.next, r.order.high = from.ssrc, from.next, from.next
	r.framer.seen, r.framer.rotation = from.proven, from.rotation
	if r.framer.format != nil {
		r.framer.format.load(from.format)
	}
	return r
}

// run reads packets until the end, an error or until emit wants no more.
func (r *reading) run(ctx context.Context, src Source, from *snapshot) error {
	var start time.Duration
	if from != nil {
		start = from.from
	}
	n := 0
	for p, err := range packetsFrom(src, r.in.ID, start) {
		if err != nil {
			r.end()
			return err
		}
		if n++; n&0xff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if p.At >= start && !r.push(p) {
			return nil
		}
	}
	r.end()
	return ctx.Err()
}

// caughtUp brings the window to what it was at the snapshot.
func (r *reading) caughtUp() bool {
	r.order.newest, r.order.high = r.catch.newest, max(r.order.high, r.catch.high)
	r.order.aside = r.catch.aside
	r.order.aside.payload = slices.Clone(r.catch.aside.payload)
	r.catch = nil
	return r.drain(false)
}

// push takes a stored packet. It answers false when emit wants no more.
func (r *reading) push(p raw.Packet) bool {
	if p.At != r.now {
		r.now, r.nowN = p.At, 0
	}
	r.nowN++
	if c := r.catch; c != nil && (p.At > c.now || p.At == c.now && r.nowN > c.nowN) && !r.caughtUp() {
		return false
	}
	if p.RTCP {
		if r.first {
			r.clock.report(&r.cur, p.Data, p.At)
		}
		return true
	}
	var pkt rtp.Packet
	if pkt.Unmarshal(p.Data) != nil {
		return true
	}
	r.open = true
	for {
		ext, v := r.order.place(&pkt.Header)
		if r.catch != nil {
			if v == taken {
				r.order.put(&pkt, ext, taken, p.At, r.in)
			}
			return true
		}
		switch v {
		case late:
			return true
		case stray:
			r.order.put(&pkt, 0, stray, p.At, r.in)
			return true
		case anew:
			if !r.drain(true) || !r.framer.lose(true) {
				return false
			}
			r.order.begin()
		case tooFar:
			if !r.makeRoom(ext) {
				return false
			}
		default:
			r.order.put(&pkt, ext, taken, p.At, r.in)
			r.open = false
			return r.drain(false)
		}
	}
}

func (r *reading) makeRoom(ext uint64) bool {
	if !r.order.started {
		r.order.started, r.order.waiting = true, false
		return true
	}
	if p, gap := r.order.pop(true); p != nil {
		return r.take(p, gap)
	}
	r.order.next = ext - ringSize + 1
	return true
}

func (r *reading) end() {
	r.open = false
	if (r.catch == nil || r.caughtUp()) && r.drain(true) {
		r.framer.lose(true)
	}
}

func (r *reading) drain(all bool) bool {
	for {
		p, gap := r.order.pop(all)
		if p == nil {
			return true
		}
		if !r.take(p, gap) {
			return false
		}
	}
}

// take handles a packet in sequence.
func (r *reading) take(p *packet, gap bool) bool {
	if gap && r.framer.format != nil && !r.framer.lose(true) {
		return false
	}
	if len(p.payload) == 0 { // padding, which fills the sequence
		return true
	}
	before := r.cur
	step := r.clock.learn
	if !r.first {
		step = func(cur *cursor, p *packet) (mark, bool) { return r.clock.step(cur, p, r.clock.ssrc) }
	}
	m, ok := step(&r.cur, p)
	if !ok {
		return r.framer.format == nil || r.framer.lose(true)
	}
	snap := func() snapshot {
		s := snapshot{
			next: p.ext, ssrc: p.ssrc, from: r.order.oldest(p), cursor: before,
			now: r.now, nowN: r.nowN, newest: r.order.newest, high: r.order.high, aside: r.order.aside,
		}
		if r.open {
			s.nowN--
		}
		if s.aside.payload = nil; s.aside.used {
			s.aside.payload = slices.Clone(r.order.aside.payload)
		}
		return s
	}
	if r.framer.format != nil {
		return r.framer.push(p, m, snap)
	}
	return r.sound(p, m, snap)
}

// sound gives a packet of sound.
func (r *reading) sound(p *packet, m mark, take func() snapshot) bool {
	c := coded{mark: m, data: p.payload, level: p.level}
	c.key = true
	switch r.in.codec {
	case Opus:
		if c.length = opusTicks(p.payload); c.length == 0 {
			return true
		}
	case PCMU, PCMA:
		c.length = int64(len(p.payload))
	default:
		return true
	}
	if r.first && (r.taken == 0 || m.at-r.taken >= checkEvery) {
		s := take()
		c.snap, r.taken = &s, m.at
	}
	return r.emit(&c)
}
