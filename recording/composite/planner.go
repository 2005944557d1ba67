package composite

import (
	"slices"
	"time"

	"stillwatch/recording/layout"
)

// longest is how long a chunk may become for want of a keyframe.
const longest = 60 * time.Second

// tooSmall is by how much a layer may be smaller than its tile: 5 %.
const tooSmall = 0.95

// planner cuts intervals into chunks.
type planner struct {
	m      *Movie
	o      Options
	people []layout.Person
	tracks map[string]Track
}

// call is the time in the call of one of the movie.
func (p *planner) call(frame int) time.Duration { return p.m.Start + p.m.time(frame) }

// interval appends the chunks of frames [from, to) with one arrangement.
func (p *planner) interval(from, to int, tiles []layout.Tile) {
	edges := append(p.changes(from, to, tiles), to)
	cut := p.m.frame(p.o.Cut)
	near := func(edge int) bool { return abs(edge-cut) < p.m.FPS }
	if cut > from && cut < to && !near(from) && !slices.ContainsFunc(edges, near) {
		edges = append(edges, cut)
		slices.Sort(edges)
	}
	for _, edge := range edges {
		for from < edge {
			cut := p.cut(from, edge, tiles)
			c := Chunk{N: len(p.m.Chunks), From: p.m.time(from), To: p.m.time(cut), Tiles: []Tile{}}
			for _, t := range tiles {
				c.Tiles = append(c.Tiles, p.tile(t, p.call(from), p.call(cut)))
			}
			p.m.Chunks = append(p.m.Chunks, c)
			from = cut
		}
	}
}

// changes are the frames in (from, to) at which another layer becomes the best
// for a tile, not closer than a second to each other.
func (p *planner) changes(from, to int, tiles []layout.Tile) []int {
	var at []int
	for _, t := range tiles {
		for _, l := range p.tracks[t.TrackID].Layers {
			for _, s := range l.Spans {
				for _, d := range []time.Duration{s.From, s.To} {
					f := p.m.after(d - p.m.Start)
					if f-from < p.m.FPS || to-f < p.m.FPS {
						continue
					}
					if p.best(t, p.call(f-1), p.call(f)) != p.best(t, p.call(f), p.call(f+1)) {
						at = append(at, f)
					}
				}
			}
		}
	}
	slices.Sort(at)
	last := from
	return slices.DeleteFunc(at, func(f int) bool {
		if f-last < p.m.FPS {
			return true
		}
		last = f
		return false
	})
}

// cut is where the chunk that begins at a frame ends: equal parts of what is
// left, moved to where the least has to be decoded before the next begins.
func (p *planner) cut(from, to int, tiles []layout.Tile) int {
	most := max(p.m.frame(p.o.MaxChunk), 1)
	left := to - from
	if left <= most {
		return to
	}
	part := left / ((left + most - 1) / most)
	best, waste := p.cheapest(from+part-part/4, min(from+part+part/4, to), from+part, tiles)
	if waste > float64(part)/2 {
		// Keyframes are rare: longer chunks decode less twice.
		wide := min(from+p.m.frame(longest), to)
		if wide == to {
			return to
		}
		best, _ = p.cheapest(from+part-part/4, wide, wide, tiles)
	}
	return best
}

// cheapest is the frame of [lo, hi] at which a chunk can begin with the least
// to decode before it, in frames of the mean tile; among equals the one nearest
// to wanted.
func (p *planner) cheapest(lo, hi, wanted int, tiles []layout.Tile) (best int, waste float64) {
	candidates := []int{wanted}
	for _, t := range tiles {
		l := p.best(t, p.call(lo), p.call(hi))
		for _, k := range l.keys(p.call(lo), p.call(hi)) {
			f := p.m.after(k - p.m.Start)
			if f >= lo && f <= hi {
				candidates = append(candidates, f)
			}
		}
	}
	best = -1
	for _, f := range candidates {
		w := p.lead(f, tiles)
		better := w < waste || w == waste && abs(f-wanted) < abs(best-wanted)
		if best < 0 || better {
			best, waste = f, w
		}
	}
	return best, waste
}

func abs(n int) int { return max(n, -n) }

// lead is how much has to be decoded before a frame, in frames of the mean
// tile weighed by area.
func (p *planner) lead(frame int, tiles []layout.Tile) float64 {
	var sum, area float64
	for _, t := range tiles {
		l := p.best(t, p.call(frame), p.call(frame+1))
		if l.StreamID == "" {
			continue
		}
		a := float64(l.Width * l.Height)
		area += a
		if n, found := slices.BinarySearch(l.Keys, p.call(frame)+p.m.time(1)/2); !found && n > 0 {
			sum += a * (p.call(frame) - l.Keys[n-1]).Seconds() * float64(p.m.FPS)
		}
	}
	if area == 0 {
		return 0
	}
	return max(sum/area, 0)
}

// keys are the layer's keyframes in [from, to].
func (l choice) keys(from, to time.Duration) []time.Duration {
	a, _ := slices.BinarySearch(l.Keys, from)
	b, _ := slices.BinarySearch(l.Keys, to)
	return l.Keys[a:b]
}

// choice is the layer to show.
type choice struct {
	*Layer
}

var none = &Layer{}

// best is the layer for a tile: of those that last through [from, to) the
// lowest that is large enough, or else the largest; of others the one that
// lasts longest.
func (p *planner) best(t layout.Tile, from, to time.Duration) choice {
	track, ok := p.tracks[t.TrackID]
	if !ok || t.TrackID == "" {
		return choice{none}
	}
	var best *Layer
	for i := range track.Layers {
		l := &track.Layers[i]
		if l.covered(from, to) > 0 && (best == nil || better(l, best, t, from, to)) {
			best = l
		}
	}
	if best == nil {
		return choice{none}
	}
	return choice{best}
}

func better(a, b *Layer, t layout.Tile, from, to time.Duration) bool {
	ca, cb := a.covered(from, to), b.covered(from, to)
	slack := (to - from) / 50
	if wa, wb := ca >= to-from-slack, cb >= to-from-slack; wa != wb {
		return wa
	} else if !wa && ca != cb {
		return ca > cb
	}
	if ea, eb := a.enough(t), b.enough(t); ea != eb {
		return ea
	} else if ea {
		return a.Height < b.Height
	}
	return a.Height > b.Height
}

// enough tells whether the layer has to be made hardly larger for the tile.
func (l *Layer) enough(t layout.Tile) bool {
	if l.Width == 0 || l.Height == 0 {
		return false
	}
	w, _ := scaled(l.Width, l.Height, t.Rect, t.Fit == layout.Contain)
	return float64(l.Width) >= tooSmall*float64(w)
}

// covered is how long the layer can be decoded in [from, to).
func (l *Layer) covered(from, to time.Duration) (sum time.Duration) {
	for _, s := range l.Spans {
		sum += max(min(s.To, to)-max(s.From, from), 0)
	}
	return sum
}

// tile turns a layout's tile into one of a chunk at [from, to) of the call.
func (p *planner) tile(t layout.Tile, from, to time.Duration) Tile {
	person := p.people[t.Person]
	hide := p.o.Blur && !slices.Contains(p.o.Flagged, person.UserID)
	out := Tile{Rect: t.Rect, Whole: t.Fit == layout.Contain, Blur: hide}
	if !hide {
		out.Name = person.Name
		if out.Name == "" {
			out.Name = person.UserID
		}
		out.Label = p.o.Names
	}
	if l := p.best(t, from, to); l.StreamID != "" {
		out.StreamID, out.Codec, out.Width, out.Height = l.StreamID, p.tracks[t.TrackID].Codec, l.Width, l.Height
	}
	return out
}
