package layout

import (
	"strings"
	"time"
)

// Live tells who has the floor while a call runs, by the rules of Speakers and
// Floor: it knows no later packets, so a turn begins when Floor's would, or as
// late as SpeakerOptions.Least after it. It is for one goroutine.
type Live struct {
	s      SpeakerOptions
	f      FloorOptions
	voices map[string]*voice
	holder string
	since  time.Duration
}

// voice is what is heard of one person.
type voice struct {
	from, last time.Duration // of the speech that is going on, or was last
	sum, count int           // of its levels
	ever       bool
}

func (v *voice) level() int { return v.sum / max(v.count, 1) }

// NewLive begins with nobody.
func NewLive(s SpeakerOptions, f FloorOptions) *Live {
	return &Live{s: s.withDefaults(), f: f.withDefaults(), voices: map[string]*voice{}}
}

// Holder is who has the floor, "" nobody.
func (l *Live) Holder() string { return l.holder }

// Point takes the loudness of a packet of somebody, and tells whether the floor
// has changed hands by it.
func (l *Live) Point(id string, p LevelPoint) (changed bool) {
	v := l.voices[id]
	if v == nil {
		v = &voice{}
		l.voices[id] = v
	}
	if v.count > 0 && p.At-v.last >= l.s.Release {
		v.sum, v.count = 0, 0
	}
	loud := p.Level <= l.s.Open || (p.Voice || v.count > 0) && p.Level <= l.s.Close
	if !loud {
		return false
	}
	if v.count == 0 {
		v.from = p.At
	}
	v.last = max(v.last, p.At)
	v.sum, v.count, v.ever = v.sum+int(p.Level), v.count+1, true
	return l.take(p.At)
}

// Leave tells that somebody is gone. Who had the floor has it no more.
func (l *Live) Leave(id string) (changed bool) {
	delete(l.voices, id)
	if l.holder != id || id == "" {
		return false
	}
	l.holder = ""
	return true
}

// speaks tells whether somebody's speech goes on and is long enough to count.
func (l *Live) speaks(v *voice, at time.Duration) bool {
	return v.count > 0 && at-v.last < l.s.Release && v.last-v.from >= l.s.Least
}

// take gives the floor to whoever may take it at a moment.
func (l *Live) take(at time.Duration) bool {
	softest := 256 // -dBov that a taker may have at most
	if l.holder != "" {
		if at < l.since+l.f.Hold {
			return false
		}
		if h := l.voices[l.holder]; h != nil {
			switch {
			case l.speaks(h, at):
				softest = h.level() - l.f.Margin
			case h.ever && at < h.last+l.f.Quiet:
				return false
			}
		}
	}
	best := ""
	for id, v := range l.voices {
		if id == l.holder || !l.speaks(v, at) || v.level() > softest || l.holder != "" && at < v.from+l.f.Take {
			continue
		}
		if best == "" || before(id, v, best, l.voices[best]) {
			best = id
		}
	}
	if best == "" {
		return false
	}
	l.holder, l.since = best, at
	return true
}

// before tells who of two goes first: the louder, who spoke longer, then by id.
func before(a string, v *voice, b string, w *voice) bool {
	if v.level() != w.level() {
		return v.level() < w.level()
	}
	if v.from != w.from {
		return v.from < w.from
	}
	return strings.Compare(a, b) < 0
}
