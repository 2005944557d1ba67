package layout

import (
	"cmp"
	"slices"
	"time"
)

// Present is one of the people at a moment.
type Present struct {
	// Person is their index in Scene.People, which tiles carry.
	Person           int
	ID, UserID, Name string
	// Camera and Screen are ids of tracks that have pictures now, or "".
	Camera, Screen string
}

// Picture is a tile of the person's camera, or their card, in r.
func (p Present) Picture(r Rect) Tile {
	return Tile{Person: p.Person, TrackID: p.Camera, Rect: r, Fit: Cover}
}

// Share is a tile of the person's screen in r.
func (p Present) Share(r Rect) Tile {
	return Tile{Person: p.Person, TrackID: p.Screen, Rect: r, Fit: Contain}
}

// Moment is the state of a call at one time, as a Layout sees it.
type Moment struct {
	// Width and Height are of the canvas, both even.
	Width, Height int
	// Gap is the wanted distance of tiles, even; MaxTiles how many people may
	// be shown at most, at least 1.
	Gap, MaxTiles int
	// People are those present who have something to show (a camera, or a card
	// where cards are wanted, or a screen), in the order in which they came.
	People []Present
	// Speaker is an index into People: who has the floor, or had it last, or
	// else somebody with a picture. -1 only without people.
	Speaker int
	// Sharer is an index into People: who began last to share their screen. -1
	// when nobody shares.
	Sharer int
	// Cards tells that people without a camera are to be shown by their names.
	Cards bool
	// KeepOnShare asks not to change the arrangement for a shared screen.
	KeepOnShare bool
}

// Portrait tells whether the canvas is higher than wide.
func (m Moment) Portrait() bool { return m.Height > m.Width }

// Canvas is all of it.
func (m Moment) Canvas() Rect { return Rect{W: m.Width, H: m.Height} }

// Faces are the indices of at most n people to show as camera or card, in the
// order in which they came, without those in except. When there are more, the
// speaker stays, then who has a picture, then who came first.
func (m Moment) Faces(n int, except ...int) []int {
	var all []int
	for i, p := range m.People {
		if slices.Contains(except, i) || p.Camera == "" && !m.Cards {
			continue
		}
		all = append(all, i)
	}
	if len(all) <= n {
		return all
	}
	rank := func(i int) int {
		switch {
		case i == m.Speaker:
			return 0
		case m.People[i].Camera != "":
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b int) int { return cmp.Compare(rank(a), rank(b)) })
	all = all[:max(n, 0)]
	slices.Sort(all)
	return all
}

// stage answers what the state of a scene is at a time.
type stage struct {
	scene  Scene
	o      Options
	people []int // indices of those not omitted, in the order of their coming
	turns  []Turn
}

func newStage(scene Scene, o Options) *stage {
	s := &stage{scene: scene, o: o}
	var cast []Person // in the order of s.people, so that ties break alike
	for i, p := range scene.People {
		if !p.Hidden && !slices.Contains(o.Omit, p.UserID) {
			s.people = append(s.people, i)
		}
	}
	slices.SortStableFunc(s.people, func(a, b int) int {
		p, q := scene.People[a], scene.People[b]
		return cmp.Or(cmp.Compare(p.Join, q.Join), cmp.Compare(p.ID, q.ID), cmp.Compare(p.UserID, q.UserID),
			cmp.Compare(p.Leave, q.Leave), cmp.Compare(p.Name, q.Name))
	})
	for _, i := range s.people {
		cast = append(cast, scene.People[i])
	}
	s.turns = Floor(cast, o.Floor) // Turn.Person is an index into s.people
	return s
}

// marks are the times, in whole frames, at which the state may change.
func (s *stage) marks() []time.Duration {
	at := []time.Duration{0}
	add := func(ds ...time.Duration) {
		for _, d := range ds {
			if d = snap(d, s.o.FrameTime); d < s.scene.Length {
				at = append(at, d)
			}
		}
	}
	for _, i := range s.people {
		p := s.scene.People[i]
		add(p.Join, p.Leave)
		for _, sp := range p.Camera {
			add(sp.From, sp.To)
		}
		for _, sp := range p.Screen {
			add(sp.From, sp.To)
		}
	}
	for _, t := range s.turns {
		add(t.From, t.To)
	}
	slices.Sort(at)
	return slices.Compact(at)
}

// current is the spell that holds at a time, the one that began last.
func current(spells []Spell, at time.Duration) (Spell, bool) {
	var best Spell
	found := false
	for _, sp := range spells {
		if sp.TrackID == "" || at < sp.From || at >= sp.To {
			continue
		}
		if !found || sp.From > best.From || sp.From == best.From && sp.TrackID > best.TrackID {
			best, found = sp, true
		}
	}
	return best, found
}

// moment is the state at a time.
func (s *stage) moment(at time.Duration) Moment {
	m := Moment{
		Width: s.scene.Width &^ 1, Height: s.scene.Height &^ 1,
		Gap: s.o.Gap, MaxTiles: s.o.MaxTiles, Speaker: -1, Sharer: -1,
		Cards: s.o.CardWhenOff, KeepOnShare: s.o.KeepOnShare,
	}
	seats := make(map[int]int, len(s.people)) // place in s.people → in m.People
	var since time.Duration
	for k, i := range s.people {
		p := s.scene.People[i]
		if at < p.Join || at >= p.Leave {
			continue
		}
		here := Present{Person: i, ID: p.ID, UserID: p.UserID, Name: p.Name}
		if sp, ok := current(p.Camera, at); ok {
			here.Camera = sp.TrackID
		}
		sp, shares := current(p.Screen, at)
		if shares {
			here.Screen = sp.TrackID
		}
		if here.Camera == "" && here.Screen == "" && !m.Cards {
			continue
		}
		seats[k] = len(m.People)
		if shares && (m.Sharer < 0 || sp.From > since) {
			m.Sharer, since = len(m.People), sp.From
		}
		m.People = append(m.People, here)
	}
	m.Speaker = s.speaker(m, seats, at)
	return m
}

// speaker is who has the floor at a time, or had it last of those who are
// still there, or else the first with a picture.
func (s *stage) speaker(m Moment, seats map[int]int, at time.Duration) int {
	n, _ := slices.BinarySearchFunc(s.turns, at, func(t Turn, at time.Duration) int {
		if t.From <= at {
			return -1
		}
		return 1
	})
	for i := n - 1; i >= 0; i-- {
		if seat, ok := seats[s.turns[i].Person]; ok {
			return seat
		}
	}
	for i, p := range m.People {
		if p.Camera != "" {
			return i
		}
	}
	return min(0, len(m.People)-1)
}

// arrange asks the layout for the tiles at a time and brings them in order.
func (s *stage) arrange(l Layout, at time.Duration) []Tile {
	m := s.moment(at)
	var tiles []Tile
	for _, t := range l.Arrange(m) {
		t.Rect = even(t.Rect, m.Canvas())
		if t.Rect.W == 0 || t.Rect.H == 0 {
			continue // nothing of it can be seen
		}
		if s.o.Whole {
			t.Fit = Contain
		}
		tiles = append(tiles, t)
	}
	return tiles
}
