package composite

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"stillwatch/recording/layout"
)

// graph collects ffmpeg's inputs and filters for a chunk.
type graph struct {
	m       *Movie
	inputs  []string // arguments
	n       int      // inputs so far
	filters []string
	tiles   []string // labels of what is stacked
	places  []string
}

func (g *graph) input(path string, args ...string) int {
	g.inputs = append(append(g.inputs, args...), "-i", filepath.Base(path))
	g.n++
	return g.n - 1
}

func (g *graph) filter(format string, args ...any) {
	g.filters = append(g.filters, fmt.Sprintf(format, args...))
}

// maxPixels is what a picture from outside may have at most: 4096x4096.
const maxPixels = "16777216"

// place adds a tile whose filter output is called label.
func (g *graph) place(label string, r layout.Rect) {
	g.tiles = append(g.tiles, "["+label+"]")
	g.places = append(g.places, fmt.Sprintf("%d_%d", r.X, r.Y))
}

// picture adds a tile with pictures of a stream.
func (g *graph) picture(t Tile, pieces []piece) {
	label := fmt.Sprintf("t%d", len(g.tiles))
	var parts []string
	for i, p := range pieces {
		in := g.input(p.path, "-threads", "1", "-max_pixels", maxPixels, "-f", "ivf")
		chain := g.chain(t, p)
		if i < len(pieces)-1 {
			// The next piece comes after exactly so many frames.
			chain += fmt.Sprintf(",tpad=stop=%d:stop_mode=clone,trim=end_frame=%d", p.to-p.from, p.to-p.from)
		}
		part := label
		if len(pieces) > 1 {
			part = fmt.Sprintf("%sp%d", label, i)
			parts = append(parts, "["+part+"]")
		}
		g.filter("[%d:v]%s[%s]", in, chain, part)
	}
	if len(parts) > 0 {
		g.filter("%sconcat=n=%d[%s]", strings.Join(parts, ""), len(parts), label)
	}
	g.place(label, t.Rect)
}

// chain brings a piece's pictures to the movie's frame rate and the tile's
// size. The frame rate is brought down before scaling and up after it.
func (g *graph) chain(t Tile, p piece) string {
	// The last picture stands: fps gives nothing of an input that ends before
	// start_time, and xstack would wait for it without end.
	rate := fmt.Sprintf("tpad=stop=-1:stop_mode=clone,fps=%d:start_time=%.6f,setpts=PTS-%d", g.m.FPS, float64(p.lead)/float64(g.m.FPS), p.lead)
	fit := fitting(t, p)
	if p.pictures > p.to-p.from {
		return rate + "," + fit
	}
	return fit + "," + rate
}

// fitting scales, turns and cuts or pads a picture to its tile.
func fitting(t Tile, p piece) string {
	w, h := p.width, p.height
	if p.rotation%180 != 0 {
		w, h = h, w
	}
	sw, sh := scaled(w, h, t.Rect, t.Whole)
	bw, bh := sw, sh
	if p.rotation%180 != 0 {
		bw, bh = bh, bw
	}
	flags := "area"
	if sw > w {
		flags = "bicubic"
	}
	f := fmt.Sprintf("scale=%d:%d:flags=%s,format=yuv420p", bw, bh, flags)
	switch p.rotation {
	case 90:
		f += ",transpose=clock"
	case 180:
		f += ",hflip,vflip"
	case 270:
		f += ",transpose=cclock"
	}
	if sw > t.Rect.W || sh > t.Rect.H {
		f += fmt.Sprintf(",crop=%d:%d", t.Rect.W, t.Rect.H)
	}
	if sw < t.Rect.W || sh < t.Rect.H {
		f += fmt.Sprintf(",pad=%d:%d:%d:%d", t.Rect.W, t.Rect.H, (t.Rect.W-sw)/2&^1, (t.Rect.H-sh)/2&^1)
	}
	if t.Blur {
		// So few pixels that nobody can be told from them, drawn large and soft.
		f += fmt.Sprintf(",scale=8:%d:flags=area,scale=%d:%d:flags=bilinear", max(8*t.Rect.H/t.Rect.W, 2)&^1, t.Rect.W, t.Rect.H)
	}
	return f + ",setsar=1"
}

// scaled is the even size to which a picture of w by h is scaled for a tile:
// the smallest that fills it, or the largest that fits in. Where the shapes
// differ by less than three pixels it is the tile's.
func scaled(w, h int, r layout.Rect, whole bool) (sw, sh int) {
	if w <= 0 || h <= 0 {
		return r.W, r.H
	}
	fx, fy := float64(r.W)/float64(w), float64(r.H)/float64(h)
	f := max(fx, fy)
	if whole {
		f = min(fx, fy)
	}
	sw, sh = even(float64(w)*f), even(float64(h)*f)
	if abs(sw-r.W) <= 2 {
		sw = r.W
	}
	if abs(sh-r.H) <= 2 {
		sh = r.H
	}
	return sw, sh
}

func even(f float64) int { return max(int(math.Round(f/2))*2, 2) }

// card adds a tile with a picture that stands still.
func (g *graph) card(path string, r layout.Rect) {
	label := fmt.Sprintf("t%d", len(g.tiles))
	in := g.input(path, "-framerate", strconv.Itoa(g.m.FPS))
	g.filter("[%d:v]format=yuv420p,setsar=1[%s]", in, label)
	g.place(label, r)
}

// over is a small picture with transparency above the movie.
type over struct {
	path string
	x, y int
}

// finish stacks the tiles and puts overs on top; the result is called v0, and
// v1 and so on for the further encoders.
func (g *graph) finish(c Chunk, overs []over) {
	ground := "0x" + strings.TrimPrefix(g.m.Background, "#")
	switch {
	case len(g.tiles) == 0:
		g.filter("color=%s:s=%dx%d:r=%d,format=yuv420p[s]", ground, g.m.Width, g.m.Height, g.m.FPS)
	default:
		// The last picture of each input stays until all end, which the two
		// pixels under the first tile never do. (tpad without end would do the
		// same, but spins for ever on an input without any picture.)
		g.filter("color=%s:s=2x2:r=%d,format=yuv420p[g]", ground, g.m.FPS)
		g.filter("[g]%sxstack=inputs=%d:fill=%s:layout=%d_%d|%s%s[s]", strings.Join(g.tiles, ""), len(g.tiles)+1, ground,
			c.Tiles[0].Rect.X, c.Tiles[0].Rect.Y, strings.Join(g.places, "|"), g.fill(c, ground))
	}
	last := "s"
	for i, o := range overs {
		in := g.input(o.path, "-framerate", strconv.Itoa(g.m.FPS))
		next := fmt.Sprintf("o%d", i)
		g.filter("[%s][%d:v]overlay=%d:%d[%s]", last, in, o.x, o.y, next)
		last = next
	}
	if len(g.m.Encoders) == 1 {
		g.filter("[%s]null[v0]", last)
		return
	}
	outs := ""
	for i := range g.m.Encoders {
		outs += fmt.Sprintf("[v%d]", i)
	}
	g.filter("[%s]split=%d%s", last, len(g.m.Encoders), outs)
}

// fill enlarges the stack to the canvas where the tiles do not reach its lower
// right edges.
func (g *graph) fill(c Chunk, ground string) string {
	w, h := 0, 0
	for _, t := range c.Tiles {
		w, h = max(w, t.Rect.Right()), max(h, t.Rect.Bottom())
	}
	if w == g.m.Width && h == g.m.Height {
		return ""
	}
	return fmt.Sprintf(",pad=%d:%d:0:0:%s", g.m.Width, g.m.Height, ground)
}

// args are those of ffmpeg to write the chunk to a file.
func (g *graph) args(frames int, out string) []string {
	gop := frames
	if most := 5 * g.m.FPS; frames > most {
		parts := (frames + most - 1) / most
		gop = (frames + parts - 1) / parts
	}
	a := append(g.inputs, "-filter_complex_threads", "1", "-filter_complex", strings.Join(g.filters, ";"))
	for i := range g.m.Encoders {
		a = append(a, "-map", fmt.Sprintf("[v%d]", i))
	}
	for i, e := range g.m.Encoders {
		a = append(a, e.args(i, gop)...)
	}
	// WebRTC's cameras are BT.601 of limited range, and stay so.
	return append(a, "-r", strconv.Itoa(g.m.FPS), "-frames:v", strconv.Itoa(frames),
		"-colorspace", "smpte170m", "-color_primaries", "smpte170m", "-color_trc", "smpte170m", "-color_range", "tv",
		"-max_error_rate", "1", "-map_metadata", "-1", "-f", "nut", out)
}
