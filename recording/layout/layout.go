package layout

import (
	"slices"
	"time"
)

// Rect is a rectangle in pixels; X and Y are of its upper left corner.
type Rect struct{ X, Y, W, H int }

// Right is the first column right of r, Bottom the first row below it.
func (r Rect) Right() int { return r.X + r.W }

// Bottom is the first row below r.
func (r Rect) Bottom() int { return r.Y + r.H }

// Overlaps tells whether the two have a pixel in common.
func (r Rect) Overlaps(o Rect) bool {
	return r.W > 0 && r.H > 0 && o.W > 0 && o.H > 0 &&
		r.X < o.Right() && o.X < r.Right() && r.Y < o.Bottom() && o.Y < r.Bottom()
}

// Fit says how a picture of another shape gets into its tile.
type Fit int

const (
	// Cover fills the tile and cuts off what sticks out: cameras.
	Cover Fit = iota
	// Contain shows all of the picture, with bars: screens.
	Contain
)

// String is the fit's name, lower case.
func (f Fit) String() string {
	if f == Contain {
		return "contain"
	}
	return "cover"
}

// Tile is one picture in its place.
type Tile struct {
	// Person is an index into Scene.People.
	Person int
	// TrackID says which picture of theirs; "" is a card with their name.
	TrackID string
	Rect    Rect
	Fit     Fit
}

// Interval is a stretch of the movie with one arrangement: From is in it, To
// is not. No tiles is an empty canvas.
type Interval struct {
	From, To time.Duration
	Tiles    []Tile
}

// Spell is a time in which a track has pictures that can be decoded.
type Spell struct {
	TrackID  string
	From, To time.Duration
}

// Person is one connection of a user to the call; who comes again is another
// Person.
type Person struct {
	// ID is unique in the scene; UserID is not, after a reconnect.
	ID, UserID, Name string
	// Join and Leave are since the session's start, as all times here.
	Join, Leave time.Duration
	// Camera and Screen say when there are pictures. Where spells overlap the
	// one that began last counts.
	Camera, Screen []Spell
	// Speech says when they spoke; see Speakers.
	Speech []Speech
	// Hidden people get no tile and never the floor: the sound of a mixer, or
	// somebody who only watches.
	Hidden bool
}

// Scene is what happened in a call.
type Scene struct {
	// Width and Height are of the movie in pixels. Odd ones lose a pixel.
	Width, Height int
	// Length is that of the movie, from the session's start.
	Length time.Duration
	People []Person
}

// Defaults of Options.
const (
	DefaultMinInterval = 200 * time.Millisecond
	DefaultFrameTime   = 40 * time.Millisecond
	DefaultMaxTiles    = 9
	// LargestGrid is the most that MaxTiles can be.
	LargestGrid = 25
)

// Options say how a timeline is made. The zero value gives the defaults.
type Options struct {
	// MinInterval is the shortest an arrangement lasts; what is shorter is
	// flicker and left out. It is rounded up to whole frames. 0 is 200 ms.
	MinInterval time.Duration
	// FrameTime is how long a picture of the movie is: intervals begin at
	// multiples of it. 0 is 40 ms (25 pictures a second).
	FrameTime time.Duration
	// Floor says who counts as the speaker; Hold, if not 0, is its Hold.
	Floor FloorOptions
	Hold  time.Duration
	// Omit are user ids of whom nothing is shown; what they say does not make
	// them the speaker either.
	Omit []string
	// CardWhenOff gives people without a picture a card with their name.
	// Otherwise they are not shown while their camera is off.
	CardWhenOff bool
	// MaxTiles is how many people are shown at once, 1 to 25. 0 is 9.
	MaxTiles int
	// Gap is the distance of tiles in pixels, rounded down to an even number.
	Gap int
	// KeepOnShare stays with grid, speaker and the like while a screen is
	// shared, where otherwise the share becomes large.
	KeepOnShare bool
	// Whole shows cameras whole, with bars, instead of cutting their edges
	// off: what is at the edge of a picture may matter.
	Whole bool
}

func (o Options) withDefaults() Options {
	if o.FrameTime <= 0 {
		o.FrameTime = DefaultFrameTime
	}
	if o.MinInterval <= 0 {
		o.MinInterval = DefaultMinInterval
	}
	o.MinInterval = snap(o.MinInterval, o.FrameTime)
	if o.Hold > 0 {
		o.Floor.Hold = o.Hold
	}
	if o.MaxTiles <= 0 {
		o.MaxTiles = DefaultMaxTiles
	}
	o.MaxTiles = min(o.MaxTiles, LargestGrid)
	o.Gap = max(o.Gap, 0) &^ 1
	return o
}

// snap rounds up to whole frames: the first picture of the movie that lies at
// or after d.
func snap(d, frame time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return (d + frame - 1) / frame * frame
}

// Timeline is the movie's arrangement: intervals that together are exactly
// [0, Length), each different from the one before, none shorter than
// MinInterval unless Length itself is. They begin at whole frames; the last
// ends with Length. The answer does not depend on the order of People, but for
// the indices in its tiles. A scene without length has no intervals.
//
// An arrangement comes as soon as what it shows is there, and stays up to
// three times MinInterval longer than true while things change faster than it
// may.
func Timeline(scene Scene, l Layout, o Options) []Interval {
	if scene.Length <= 0 {
		return nil
	}
	o = o.withDefaults()
	s := newStage(scene, o)
	var runs []run
	for _, at := range s.marks() {
		tiles := s.arrange(l, at)
		if len(runs) > 0 && slices.Equal(runs[len(runs)-1].tiles, tiles) {
			continue
		}
		runs = append(runs, run{at: at, tiles: tiles})
	}
	return settle(runs, scene.Length, o.MinInterval)
}
