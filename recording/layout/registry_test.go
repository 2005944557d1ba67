package layout

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestFind(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"": "grid", "grid": "grid", "gallery": "grid", "spotlight": "speaker", "speaker": "speaker",
		"screenshare": "screenshare", "screenshare-side": "screenshare", "single": "single", "single:u1": "single:u1",
	} {
		l, err := Find(name)
		if err != nil || l.Name() != want {
			t.Errorf("%q: %v, %v", name, l, err)
		}
	}
	_, err := Find("mosaic")
	if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "grid, screenshare, single, speaker") {
		t.Errorf("%v", err)
	}
}

type named string

func (n named) Name() string        { return string(n) }
func (named) Arrange(Moment) []Tile { return nil }

func TestRegisterRefusesNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "grid", "gallery", "a:b"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was taken", name)
				}
			}()
			Register(named(name))
		}()
	}
}

// interview shows two people large, side by side and whole, and the rest of
// the call not at all.
type interview struct{}

func (interview) Name() string { return "test-interview" }

func (interview) Arrange(m Moment) []Tile {
	// Who to show: the first two who came, or have cards.
	faces := m.Faces(2)
	// Where: two columns, or two rows on a portrait canvas. Cells keeps all
	// edges even.
	cols, rows := 2, 1
	if m.Portrait() {
		cols, rows = 1, 2
	}
	cells := Cells(m.Canvas(), cols, rows, len(faces), m.Gap)
	var tiles []Tile
	for i, f := range faces {
		tile := m.People[f].Picture(cells[i])
		tile.Fit = Contain
		tiles = append(tiles, tile)
	}
	return tiles
}

// A layout of one's own, from its type to the intervals of a movie.
func ExampleRegister() {
	Register(interview{}) // in your program: in an init function

	l, err := Find("test-interview") // as settings do
	if err != nil {
		panic(err)
	}
	call := Scene{Width: 1280, Height: 720, Length: 10 * time.Second, People: []Person{
		{ID: "1", Name: "Ann", Leave: 10 * time.Second, Camera: []Spell{{"cam-ann", 0, 10 * time.Second}}},
		{ID: "2", Name: "Bob", Join: 4 * time.Second, Leave: 10 * time.Second, Camera: []Spell{{"cam-bob", 4 * time.Second, 9 * time.Second}}},
	}}
	for _, in := range Timeline(call, l, Options{}) {
		fmt.Println(in.From, "to", in.To)
		for _, t := range in.Tiles {
			fmt.Printf("  %s in %+v, %v\n", call.People[t.Person].Name, t.Rect, t.Fit)
		}
	}
	// Output:
	// 0s to 4s
	//   Ann in {X:320 Y:0 W:640 H:720}, contain
	// 4s to 9s
	//   Ann in {X:0 Y:0 W:640 H:720}, contain
	//   Bob in {X:640 Y:0 W:640 H:720}, contain
	// 9s to 10s
	//   Ann in {X:320 Y:0 W:640 H:720}, contain
}
