package media

import "time"

// Bounds of a coded picture: a 4K keyframe of high quality has some 2 MB.
const (
	maxPictureBytes   = 8 << 20
	maxPicturePackets = 1 << 14
)

// coded is a whole picture or packet of sound that is not on the call's clock
// yet. data is valid until the next.
type coded struct {
	picture
	mark
	data            []byte
	broken          bool
	rotation, level int16
	// length of sound in ticks.
	length int64
	// snap is where a reading can begin that gives this one first.
	snap *snapshot
}

// framer gathers packets in sequence to pictures. A picture is whole when a
// packet that provably is its first, one that provably is its last, and all
// between them are there. First is what follows another picture's packet, or
// what the payload says; last is the marker, or what is followed by another
// picture's. An unfinished one is dropped, and what follows is broken until
// the next keyframe.
type framer struct {
	format format
	emit   func(*coded) bool

	// seen says that the packet before the next is known.
	seen   bool
	broken bool

	open, proven, marked, tooLarge bool
	ts                             uint32
	first                          mark
	rotation                       int16
	data                           []byte
	ends                           []int
	payloads                       [][]byte
	out                            []byte
	snap                           snapshot

	incomplete, malformed int
}

// lose says that packets are missing before the next, or the sequence ends.
// It answers false when the consumer wants no more.
func (f *framer) lose(after bool) bool {
	ok := true
	if f.open {
		if f.marked {
			ok = f.finish()
		} else {
			f.drop()
		}
	}
	f.seen = false
	f.broken = f.broken || after
	return ok
}

func (f *framer) drop() {
	f.open, f.broken = false, true
	f.incomplete++
}

// push takes the next packet in sequence.
func (f *framer) push(p *packet, m mark, take func() snapshot) bool {
	ok := true
	if f.open && (p.ts != f.ts || m.seg != f.first.seg) {
		ok = f.finish()
	}
	if !f.open {
		f.begin(p, m, take)
	}
	f.seen = true
	f.marked = p.marker
	f.first.at = min(f.first.at, m.at)
	if p.rotation > 0 {
		f.rotation = p.rotation - 1
	}
	if len(f.data)+len(p.payload) > maxPictureBytes || len(f.ends) >= maxPicturePackets {
		f.tooLarge = true
		return ok
	}
	f.data = append(f.data, p.payload...)
	f.ends = append(f.ends, len(f.data))
	return ok
}

func (f *framer) begin(p *packet, m mark, take func() snapshot) {
	f.open, f.tooLarge = true, false
	f.proven = f.seen || f.format.starts(p.payload)
	f.ts, f.first = p.ts, m
	f.data, f.ends = f.data[:0], f.ends[:0]
	f.snap = take()
	f.snap.proven, f.snap.rotation, f.snap.format = f.proven, f.rotation, f.format.save()
}

// finish gives the picture whose last packet is there.
func (f *framer) finish() bool {
	if !f.proven || f.tooLarge {
		f.drop()
		return true
	}
	f.open = false
	f.payloads = f.payloads[:0]
	from := 0
	for _, end := range f.ends {
		f.payloads = append(f.payloads, f.data[from:end])
		from = end
	}
	out, pic, err := f.format.join(f.out[:0], f.payloads)
	f.out = out
	switch {
	case err == errNoPicture:
		return true
	case err != nil || len(out) == 0:
		f.broken = true
		f.malformed++
		return true
	}
	if pic.key {
		f.broken = false
	}
	return f.emit(&coded{picture: pic, mark: f.first, data: out, broken: f.broken, rotation: f.rotation, snap: &f.snap})
}

// snapshot is the state of a reading in front of a picture or packet.
type snapshot struct {
	next uint64
	ssrc uint32
	from time.Duration // earliest arrival of what matters from there on
	// now and nowN say after which packet it was taken; newest, high and aside
	// are of the window then.
	now    time.Duration
	nowN   int
	newest time.Duration
	high   uint64
	aside  packet

	cursor   cursor
	proven   bool
	rotation int16
	format   any
}
