package layout

import (
	"slices"
	"time"
)

// run is a stretch with one true arrangement, from at to the next run.
type run struct {
	at    time.Duration
	tiles []Tile
}

// settle makes intervals of runs and leaves flicker out: what lasts shorter
// than least is not shown when things then are as before, and otherwise waits,
// at most for least, for something that lasts. Nothing is cut off at the end
// that would be shorter than least.
func settle(runs []run, length, least time.Duration) []Interval {
	w := waiter{runs: runs, length: length, least: least}
	now := w.first()
	out := []Interval{{To: length, Tiles: runs[now].tiles}}
	for {
		last := &out[len(out)-1]
		at, next, ok := w.next(now, last.From)
		if !ok {
			return out
		}
		last.To = at
		out = append(out, Interval{From: at, To: length, Tiles: runs[next].tiles})
		now = next
	}
}

type waiter struct {
	runs          []run
	length, least time.Duration
}

func (w waiter) end(i int) time.Duration {
	if i+1 < len(w.runs) {
		return w.runs[i+1].at
	}
	return w.length
}

// lasts tells whether run i, shown from at on, is shown for long enough.
func (w waiter) lasts(i int, at time.Duration) bool {
	return w.end(i)-at >= w.least || w.end(i) == w.length
}

// first is the run to begin with. What lasts only for a blink before the first
// one comes in is not worth a picture.
func (w waiter) first() int {
	i := 0
	for i+1 < len(w.runs) && !w.lasts(i, w.runs[i].at) && w.runs[i+1].at <= w.least {
		i++
	}
	return i
}

// next says when the arrangement of run now, shown since from, gives way to
// which. It answers false when it stays to the end.
func (w waiter) next(now int, from time.Duration) (time.Duration, int, bool) {
	shown := w.runs[now].tiles
	i := now
	for {
		// at is the first moment at which what is shown may change and is wrong.
		at := max(from+w.least, w.runs[i].at)
		for i < len(w.runs) && (w.end(i) <= at || slices.EqualFunc(w.runs[i].tiles, shown, equalTile)) {
			if i++; i < len(w.runs) {
				at = max(at, w.runs[i].at)
			}
		}
		if i >= len(w.runs) {
			return 0, 0, false
		}
		cut, next, back := w.wait(i, at, shown)
		if back > 0 {
			i = back
			continue
		}
		if w.length-cut < w.least {
			return 0, 0, false
		}
		return cut, next, true
	}
}

// wait looks from a wrong moment on for what to show instead, and from when.
// back is the run with which things are as shown again, so that nothing is to
// be done, or 0.
func (w waiter) wait(i int, at time.Duration, shown []Tile) (cut time.Duration, next, back int) {
	latest := at + w.least
	cut = at
	for {
		if w.lasts(i, cut) {
			return cut, i, 0
		}
		after := w.runs[i+1].at // there is one, or i would last
		if after > latest {
			return latest, i, 0
		}
		i++
		cut = after
		if slices.EqualFunc(w.runs[i].tiles, shown, equalTile) {
			return 0, 0, i
		}
	}
}

func equalTile(a, b Tile) bool { return a == b }
