package layout

// speaker shows who has the floor large and the others in a strip.
type speaker struct{}

func (speaker) Name() string { return "speaker" }

func (speaker) Arrange(m Moment) []Tile {
	if m.Sharer >= 0 && !m.KeepOnShare {
		return screenshare{}.Arrange(m)
	}
	faces := m.Faces(m.MaxTiles)
	if len(faces) < 2 {
		return gridOf(m, faces)
	}
	first := m.Speaker
	others := m.Faces(m.MaxTiles-1, first)
	if p := m.People[first]; p.Camera == "" && !m.Cards {
		// Who speaks has no face to show: the first who has one.
		first = faces[0]
		others = m.Faces(m.MaxTiles-1, first)
	}
	large, strip := Split(m)
	return append([]Tile{m.People[first].Picture(large)}, m.pictures(others, Pack(strip, len(others), m.Gap, 16, 9))...)
}

// screenshare shows the screen that was shared last large and the people in a
// strip. Without a share it is a grid.
type screenshare struct{}

func (screenshare) Name() string { return "screenshare" }

func (screenshare) Arrange(m Moment) []Tile {
	faces := m.Faces(min(m.MaxTiles, LargestGrid))
	if m.Sharer < 0 {
		return gridOf(m, faces)
	}
	sharer := m.People[m.Sharer]
	if len(faces) == 0 {
		return []Tile{sharer.Share(m.Canvas())}
	}
	large, strip := Split(m)
	return append([]Tile{sharer.Share(large)}, m.pictures(faces, Pack(strip, len(faces), m.Gap, 16, 9))...)
}

// Single shows one person on all of the canvas: the user UserID, or with ""
// whoever has the floor. Who shows no face but a screen is shown by that.
// While the user is away the canvas is empty.
type Single struct{ UserID string }

// Name is single, with the user after a colon where one is given.
func (s Single) Name() string {
	if s.UserID != "" {
		return "single:" + s.UserID
	}
	return "single"
}

// Arrange gives the one tile there is.
func (s Single) Arrange(m Moment) []Tile {
	if s.UserID == "" {
		if m.Speaker < 0 {
			return nil
		}
		return m.People[m.Speaker].alone(m)
	}
	var tiles []Tile
	for _, p := range m.People {
		// Of two connections of one user the later counts.
		if p.UserID == s.UserID {
			tiles = p.alone(m)
		}
	}
	return tiles
}

func (p Present) alone(m Moment) []Tile {
	if p.Camera == "" && p.Screen != "" {
		return []Tile{p.Share(m.Canvas())}
	}
	return []Tile{p.Picture(m.Canvas())}
}
