package layout

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// full is a moment with n cameras.
func full(w, h, n int) Moment {
	m := Moment{Width: w, Height: h, MaxTiles: LargestGrid, Speaker: min(0, n-1), Sharer: -1}
	for i := range n {
		m.People = append(m.People, Present{Person: i, ID: fmt.Sprint("s", i), UserID: fmt.Sprint("u", i), Camera: fmt.Sprint("cam", i)})
	}
	return m
}

func rows(tiles []Tile) string {
	var out []string
	y := -1
	for _, t := range tiles {
		if t.Rect.Y != y {
			out, y = append(out, ""), t.Rect.Y
		}
		out[len(out)-1] += "x"
	}
	return strings.Join(out, " ")
}

func TestGridShapes(t *testing.T) {
	t.Parallel()
	for n, want := range map[int][2]string{
		1: {"x", "x"}, 2: {"xx", "x x"}, 3: {"xx x", "xx x"}, 4: {"xx xx", "xx xx"},
		5: {"xxx xx", "xx xx x"}, 6: {"xxx xxx", "xx xx xx"}, 7: {"xxx xxx x", "xxx xxx x"},
		9: {"xxx xxx xxx", "xxx xxx xxx"}, 10: {"xxxx xxxx xx", "xxx xxx xxx x"},
		16: {"xxxx xxxx xxxx xxxx", "xxxx xxxx xxxx xxxx"}, 20: {"xxxxx xxxxx xxxxx xxxxx", "xxxx xxxx xxxx xxxx xxxx"},
		25: {"xxxxx xxxxx xxxxx xxxxx xxxxx", "xxxxx xxxxx xxxxx xxxxx xxxxx"},
	} {
		if got := rows(grid{}.Arrange(full(1280, 720, n))); got != want[0] {
			t.Errorf("%d: %q", n, got)
		}
		if got := rows(grid{}.Arrange(full(720, 1280, n))); got != want[1] {
			t.Errorf("%d portrait: %q", n, got)
		}
	}
	three := grid{}.Arrange(full(1280, 720, 3))
	if r := three[2].Rect; r != (Rect{320, 360, 640, 360}) {
		t.Errorf("the third is not centred: %v", r)
	}
}

func TestLayoutsKeepTheRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 30).Draw(t, "n")
		m := full(2*rapid.IntRange(1, 1000).Draw(t, "w"), 2*rapid.IntRange(1, 1000).Draw(t, "h"), n)
		m.Gap, m.Cards = 2*rapid.IntRange(0, 20).Draw(t, "gap"), rapid.Bool().Draw(t, "cards")
		m.MaxTiles, m.KeepOnShare = rapid.IntRange(1, 25).Draw(t, "max"), rapid.Bool().Draw(t, "keep")
		if n > 0 {
			m.Speaker = rapid.IntRange(0, n-1).Draw(t, "speaker")
			m.People[m.Speaker].Camera = rapid.SampledFrom([]string{"", "cam"}).Draw(t, "camera")
			if rapid.Bool().Draw(t, "shares") {
				m.Sharer = rapid.IntRange(0, n-1).Draw(t, "sharer")
				m.People[m.Sharer].Screen = "screen"
			}
		}
		for _, l := range []Layout{grid{}, speaker{}, screenshare{}, Single{}} {
			tiles := l.Arrange(m)
			if err := Check(m, tiles); err != nil && m.Width >= 64 && m.Height >= 64 {
				t.Fatalf("%s: %v", l.Name(), err)
			}
			if len(tiles) > m.MaxTiles+1 {
				t.Fatalf("%s shows %d", l.Name(), len(tiles))
			}
		}
	})
}

func TestFacesKeepTheSpeaker(t *testing.T) {
	t.Parallel()
	m := full(64, 64, 5)
	m.Cards, m.Speaker, m.People[0].Camera = true, 4, ""
	if got := fmt.Sprint(m.Faces(3)); got != "[1 2 4]" {
		t.Error(got)
	}
	if got := fmt.Sprint(m.Faces(9, 2)); got != "[0 1 3 4]" {
		t.Error(got)
	}
}

func TestSpeakerLayout(t *testing.T) {
	t.Parallel()
	m := full(1280, 720, 4)
	m.Speaker = 2
	tiles := speaker{}.Arrange(m)
	if tiles[0].Person != 2 || tiles[0].Rect != (Rect{0, 0, 1024, 720}) || len(tiles) != 4 {
		t.Errorf("%v", tiles)
	}
	if r := tiles[1].Rect; r.W != 256 || r.H != 144 || r.X != 1024 {
		t.Errorf("strip: %v", r)
	}
	m.Sharer, m.People[0].Screen = 0, "screen"
	tiles = speaker{}.Arrange(m)
	if tiles[0].TrackID != "screen" || tiles[0].Fit != Contain || len(tiles) != 5 {
		t.Errorf("share: %v", tiles)
	}
	m.KeepOnShare = true
	if tiles = (speaker{}).Arrange(m); len(tiles) != 4 || tiles[0].Person != 2 {
		t.Errorf("kept: %v", tiles)
	}
}

func TestCheckTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	m := full(100, 100, 2)
	for want, tiles := range map[string][]Tile{
		"sticks out":   {{Person: 0, Rect: Rect{90, 0, 20, 20}}},
		"has no size":  {{Person: 0, Rect: Rect{0, 0, 0, 20}}},
		"is not even":  {{Person: 0, Rect: Rect{1, 0, 20, 20}}},
		"is not there": {{Person: 7, Rect: Rect{0, 0, 20, 20}}},
		"overlaps":     {{Person: 0, Rect: Rect{0, 0, 20, 20}}, {Person: 1, Rect: Rect{18, 18, 20, 20}}},
	} {
		if err := Check(m, tiles); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if Check(m, []Tile{{Person: 1, TrackID: "cam1", Rect: Rect{0, 0, 2, 2}}}) != nil {
		t.Error("a good tile is refused")
	}
}
