package layout

// grid shows everybody alike.
type grid struct{}

func (grid) Name() string { return "grid" }

// shapes are the columns and rows for up to so many people on a landscape
// canvas; portrait turns them over.
var shapes = []struct{ people, cols, rows int }{
	{1, 1, 1}, {2, 2, 1}, {4, 2, 2}, {6, 3, 2}, {9, 3, 3}, {12, 4, 3}, {16, 4, 4}, {20, 5, 4}, {25, 5, 5},
}

func (grid) Arrange(m Moment) []Tile {
	if m.Sharer >= 0 && !m.KeepOnShare {
		return screenshare{}.Arrange(m)
	}
	return gridOf(m, m.Faces(min(m.MaxTiles, LargestGrid)))
}

func gridOf(m Moment, faces []int) []Tile {
	for _, s := range shapes {
		if len(faces) > s.people {
			continue
		}
		cols, rows := s.cols, s.rows
		if m.Portrait() {
			cols, rows = rows, cols
		}
		return m.pictures(faces, Cells(m.Canvas(), cols, rows, len(faces), m.Gap))
	}
	return nil
}

// pictures puts people into cells. People for whom there is no cell are left
// out.
func (m Moment) pictures(faces []int, cells []Rect) []Tile {
	tiles := make([]Tile, 0, len(faces))
	for i, f := range faces[:min(len(faces), len(cells))] {
		tiles = append(tiles, m.People[f].Picture(cells[i]))
	}
	return tiles
}
