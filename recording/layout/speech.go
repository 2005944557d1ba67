package layout

import (
	"cmp"
	"slices"
	"time"
)

// LevelPoint is the loudness of one packet of sound: the audio level header
// extension (RFC 6464).
type LevelPoint struct {
	At time.Duration
	// Level is in -dBov: 0 is the loudest, 127 silence.
	Level uint8
	// Voice is the sender's own opinion that this is speech.
	Voice bool
}

// Speech is a time in which somebody spoke. Level is how loud on average, in
// -dBov as in LevelPoint: smaller is louder.
type Speech struct {
	From, To time.Duration
	Level    uint8
}

// SpeakerOptions say what counts as speech. The zero value gives the defaults.
type SpeakerOptions struct {
	// Open is the level (-dBov) at which speech begins, Close the softer one
	// below which it ends: between them things stay as they are. A packet that
	// is marked as voice begins speech from Close on. 0 is 45 and 55.
	Open, Close uint8
	// Least is the shortest that counts, a cough is none. 0 is 120 ms.
	Least time.Duration
	// Release is the pause that ends speech, and how long without packets
	// (silence is often not sent). 0 is 400 ms.
	Release time.Duration
}

func (o SpeakerOptions) withDefaults() SpeakerOptions {
	if o.Open == 0 {
		o.Open = 45
	}
	if o.Close == 0 {
		o.Close = 55
	}
	o.Close = max(o.Close, o.Open)
	if o.Least <= 0 {
		o.Least = 120 * time.Millisecond
	}
	if o.Release <= 0 {
		o.Release = 400 * time.Millisecond
	}
	return o
}

// Speakers are the times in which one person spoke, in order and apart, from
// the levels of their packets in any order.
func Speakers(points []LevelPoint, o SpeakerOptions) []Speech {
	o = o.withDefaults()
	if !slices.IsSortedFunc(points, byAt) {
		points = slices.Clone(points)
		slices.SortStableFunc(points, byAt)
	}
	var out []Speech
	var from, last time.Duration // of the speech that is going on
	var sum, count int
	finish := func() {
		if count > 0 && last-from >= o.Least {
			out = append(out, Speech{From: from, To: last, Level: uint8(sum / count)})
		}
		sum, count = 0, 0
	}
	for _, p := range points {
		if count > 0 && p.At-last >= o.Release {
			finish()
		}
		loud := p.Level <= o.Open || p.Voice && p.Level <= o.Close
		if count > 0 {
			loud = loud || p.Level <= o.Close
		}
		if !loud {
			continue
		}
		if count == 0 {
			from = p.At
		}
		last = p.At
		sum += int(p.Level)
		count++
	}
	finish()
	return out
}

func byAt(a, b LevelPoint) int { return cmp.Compare(a.At, b.At) }
