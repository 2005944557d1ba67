package capture

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"

	"stillwatch/capture/keyframe"
)

// lane is one open tap and the assembler behind it. While no lane is open a
// track's packets need not be decrypted, so it is closed as soon as possible.
type lane struct {
	t       *sampled
	rid     string
	take    func(*lane, *keyframe.Keyframe)
	mu      sync.Mutex
	asm     *keyframe.Assembler
	packets uint64
	closed  bool
	stop    func()
}

// open taps the track. It is called without locks, once.
func (l *lane) open() {
	stop := l.t.track.Tap(l.rid, l.sink)
	l.mu.Lock()
	l.stop = stop
	closed := l.closed
	l.mu.Unlock()
	if closed {
		stop()
	}
}

func (l *lane) sink(p *rtp.Packet, at time.Time) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.packets++
	k, ok := l.asm.Push(p, at)
	l.mu.Unlock()
	if ok {
		l.take(l, k)
	}
}

// shut makes the lane deaf and frees its packets. It returns what ends the
// tap, to be called without locks; nil if the tap is not there yet.
func (l *lane) shut() (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		l.asm.Reset()
	}
	return l.stop
}

// seen returns how many packets came and how many keyframes were incomplete.
func (l *lane) seen() (packets, incomplete uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.packets, l.asm.Stats().Incomplete
}

// chooseLayer returns the lowest active layer that reaches the height, else
// the highest active one; when none is active, the highest of all. Heights
// that the track does not tell are taken from keyframes seen before, and
// where there were none, each layer is taken to be half the next higher one.
func chooseLayer(layers []Layer, known map[string]int, height int) string {
	var active []Layer
	for _, l := range layers {
		if l.Active {
			active = append(active, l)
		}
	}
	if len(active) == 0 {
		active = layers
	}
	if len(active) == 0 {
		return ""
	}
	heights := make([]int, len(active))
	for i := len(active) - 1; i >= 0; i-- {
		switch l := active[i]; {
		case known[l.RID] > 0:
			heights[i] = known[l.RID]
		case l.Height > 0:
			heights[i] = l.Height
		case i+1 < len(active):
			heights[i] = heights[i+1] / 2
		}
	}
	// By their heights, not by their order: that is of their bit rates, and a
	// layer that has just begun is the last but not the lowest.
	best := -1
	for i, h := range heights {
		if h >= height && (best < 0 || h < heights[best]) {
			best = i
		}
	}
	if best < 0 {
		best = len(active) - 1
	}
	return active[best].RID
}

// layerAbove returns one of the active layers above rid, by share, which is
// above 0 and up to 1; rid itself if there is none.
func layerAbove(layers []Layer, rid string, share float64) string {
	above := layers[slices.IndexFunc(layers, func(l Layer) bool { return l.RID == rid })+1:]
	above = slices.DeleteFunc(slices.Clone(above), func(l Layer) bool { return !l.Active })
	if len(above) == 0 {
		return rid
	}
	return above[int(math.Ceil(share*float64(len(above))))-1].RID
}
