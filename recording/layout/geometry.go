package layout

import "fmt"

// even is the part of r inside the canvas, shrunk to even edges.
func even(r, canvas Rect) Rect {
	left, top := max(r.X, canvas.X), max(r.Y, canvas.Y)
	right, bottom := min(r.Right(), canvas.Right()), min(r.Bottom(), canvas.Bottom())
	left, top = (left+1)&^1, (top+1)&^1
	right, bottom = right&^1, bottom&^1
	return Rect{X: left, Y: top, W: max(right-left, 0), H: max(bottom-top, 0)}
}

// Check tells what is wrong with the tiles of a moment: one that sticks out of
// the canvas, has no or an odd size or place, overlaps another, or shows
// somebody or something that is not there. It is for tests of layouts.
func Check(m Moment, tiles []Tile) error {
	for i, t := range tiles {
		r := t.Rect
		switch {
		case r.X < 0 || r.Y < 0 || r.Right() > m.Width || r.Bottom() > m.Height:
			return fmt.Errorf("tile %d: %v sticks out of the canvas of %dx%d", i, r, m.Width, m.Height)
		case r.W < 2 || r.H < 2:
			return fmt.Errorf("tile %d: %v has no size", i, r)
		case (r.X|r.Y|r.W|r.H)&1 != 0:
			return fmt.Errorf("tile %d: %v is not even", i, r)
		case !m.has(t):
			return fmt.Errorf("tile %d: person %d with track %q is not there", i, t.Person, t.TrackID)
		}
		for j, o := range tiles[:i] {
			if r.Overlaps(o.Rect) {
				return fmt.Errorf("tile %d: %v overlaps %v of tile %d", i, r, o.Rect, j)
			}
		}
	}
	return nil
}

func (m Moment) has(t Tile) bool {
	for _, p := range m.People {
		if p.Person == t.Person {
			return t.TrackID == "" || t.TrackID == p.Camera || t.TrackID == p.Screen
		}
	}
	return false
}

// Cells are n equal rectangles in rows of cols each inside area, gap pixels
// apart, from left to right and top to bottom. A last row that is not full is
// centred. All edges are even where those of area are. Where the gap leaves no
// room it is left out; where nothing fits at all the answer is nil.
func Cells(area Rect, cols, rows, n, gap int) []Rect {
	if n <= 0 || cols <= 0 || rows <= 0 {
		return nil
	}
	w, h := share(area.W, cols, gap), share(area.H, rows, gap)
	if w < 2 || h < 2 {
		if gap == 0 {
			return nil
		}
		return Cells(area, cols, rows, n, 0)
	}
	return place(area, cols, rows, n, gap, w, h)
}

// share is what each of n gets of length with gaps between, even.
func share(length, n, gap int) int { return (length - gap*(n-1)) / n &^ 1 }

// place centres rows of cells of w by h in area.
func place(area Rect, cols, rows, n, gap, w, h int) []Rect {
	cells := make([]Rect, 0, n)
	rows = min(rows, (n+cols-1)/cols)
	top := area.Y + (area.H-rows*h-(rows-1)*gap)/2&^1
	for row := 0; row < rows; row++ {
		in := min(cols, n-row*cols)
		left := area.X + (area.W-in*w-(in-1)*gap)/2&^1
		for col := range in {
			cells = append(cells, Rect{X: left + col*(w+gap), Y: top + row*(h+gap), W: w, H: h})
		}
	}
	return cells
}

// Pack are n equal rectangles of the shape ratioW:ratioH, as large as area
// allows, centred in it: for strips of people at the side.
func Pack(area Rect, n, gap, ratioW, ratioH int) []Rect {
	var best []Rect
	for cols := 1; cols <= n; cols++ {
		rows := (n + cols - 1) / cols
		w, h := share(area.W, cols, gap), share(area.H, rows, gap)
		if w*ratioH > h*ratioW {
			w = h * ratioW / ratioH &^ 1
		} else {
			h = w * ratioH / ratioW &^ 1
		}
		if w < 2 || h < 2 || len(best) > 0 && w <= best[0].W {
			continue
		}
		best = place(area, cols, rows, n, gap, w, h)
	}
	if best == nil && gap > 0 {
		return Pack(area, n, 0, ratioW, ratioH)
	}
	return best
}

// Split cuts the canvas into a large part and a strip that is a fifth of it: at
// the right side, or at the bottom of a portrait canvas.
func Split(m Moment) (large, strip Rect) {
	large, strip = m.Canvas(), m.Canvas()
	if m.Portrait() {
		strip.H = max(m.Height/5&^1, 2)
		strip.Y = m.Height - strip.H
		large.H = max(strip.Y-m.Gap, 2)
		return large, strip
	}
	strip.W = max(m.Width/5&^1, 2)
	strip.X = m.Width - strip.W
	large.W = max(strip.X-m.Gap, 2)
	return large, strip
}
