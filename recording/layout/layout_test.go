package layout

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	sec = time.Second
	ms  = time.Millisecond
)

// always has a camera from join to leave.
func always(id string, join, leave time.Duration) Person {
	return Person{
		ID: "s-" + id, UserID: id, Name: strings.ToUpper(id), Join: join, Leave: leave,
		Camera: []Spell{{TrackID: "cam-" + id, From: join, To: leave}},
	}
}

// dump is a timeline as text, with the people's names.
func dump(s Scene, in []Interval) string {
	var b strings.Builder
	for _, i := range in {
		fmt.Fprintf(&b, "%v-%v", i.From, i.To)
		for _, t := range i.Tiles {
			track := t.TrackID
			if track == "" {
				track = "card"
			}
			fmt.Fprintf(&b, " %s:%s@%d,%d,%dx%d/%v", s.People[t.Person].UserID, track, t.Rect.X, t.Rect.Y, t.Rect.W, t.Rect.H, t.Fit)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\ngot\n%swant\n%s", name, got, want)
	}
}

// Four people who come one after the other: QB-69, QB-100.
func TestTimelineOfFourJoiners(t *testing.T) {
	t.Parallel()
	s := Scene{Width: 1280, Height: 720, Length: 40 * sec, People: []Person{
		always("ann", 0, 40*sec), always("bob", 5*sec, 40*sec), always("cid", 12*sec, 30*sec), always("dee", 20*sec, 36*sec),
	}}
	golden(t, "four-joiners.txt", dump(s, Timeline(s, grid{}, Options{})))
}

// A call with all there is: camera off, share, speech, a blink, a comeback.
func TestTimelineOfBusyCall(t *testing.T) {
	t.Parallel()
	ann, bob, cid := always("ann", 0, 60*sec), always("bob", 2*sec, 50*sec), always("cid", 3*sec, 20*sec)
	back := always("cid", 24*sec, 60*sec)
	back.ID = "s-cid-2"
	bob.Camera = []Spell{{"cam-bob", 2 * sec, 10 * sec}, {"cam-bob", 10*sec + 80*ms, 15 * sec}, {"cam-bob-2", 18 * sec, 50 * sec}}
	bob.Screen = []Spell{{"screen-bob", 30 * sec, 45 * sec}}
	ann.Screen = []Spell{{"screen-ann", 40 * sec, 42 * sec}}
	ann.Speech = []Speech{{sec, 4 * sec, 30}, {35 * sec, 39 * sec, 30}}
	bob.Speech = []Speech{{6 * sec, 9 * sec, 30}}
	cid.Speech = []Speech{{12 * sec, 18 * sec, 30}}
	s := Scene{Width: 1280, Height: 720, Length: 60 * sec, People: []Person{ann, bob, cid, back}}
	for _, name := range Names() {
		if strings.HasPrefix(name, "test-") {
			continue
		}
		l, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "busy-"+name+".txt", dump(s, Timeline(s, l, Options{CardWhenOff: true, Gap: 4})))
	}
	tall := s
	tall.Width, tall.Height = 720, 1280
	golden(t, "busy-portrait.txt", dump(tall, Timeline(tall, speaker{}, Options{})))
}

func TestTimelineOmits(t *testing.T) {
	t.Parallel()
	a, b := always("ann", 0, 10*sec), always("bob", 0, 10*sec)
	b.Screen = []Spell{{"screen-bob", 2 * sec, 5 * sec}}
	b.Speech = []Speech{{0, 10 * sec, 10}}
	hidden := b
	hidden.Hidden = true
	for _, l := range []Layout{grid{}, speaker{}, screenshare{}, Single{}, Single{UserID: "bob"}} {
		for _, c := range []struct {
			bob  Person
			omit []string
		}{{b, []string{"bob"}}, {hidden, nil}} {
			s := Scene{Width: 640, Height: 480, Length: 10 * sec, People: []Person{a, c.bob}}
			got := Timeline(s, l, Options{Omit: c.omit, CardWhenOff: true})
			if len(got) != 1 {
				t.Fatalf("%s: %s", l.Name(), dump(s, got))
			}
			for _, tile := range got[0].Tiles {
				if tile.Person == 1 {
					t.Errorf("%s shows bob", l.Name())
				}
			}
		}
	}
}

func TestTimelineEdges(t *testing.T) {
	t.Parallel()
	if got := Timeline(Scene{Width: 64, Height: 64}, grid{}, Options{}); got != nil {
		t.Errorf("no length: %v", got)
	}
	empty := Timeline(Scene{Width: 64, Height: 64, Length: 3 * ms}, grid{}, Options{})
	if len(empty) != 1 || empty[0].To != 3*ms || len(empty[0].Tiles) != 0 {
		t.Errorf("nobody: %v", empty)
	}
	// Two who come nearly together come together, and a late first frame does
	// not begin the movie with an empty canvas.
	s := Scene{Width: 64, Height: 64, Length: 10 * sec, People: []Person{
		always("ann", 100*ms, 10*sec), always("bob", 2*sec, 10*sec), always("cid", 2*sec+90*ms, 10*sec),
	}}
	got := Timeline(s, grid{}, Options{})
	if len(got) != 2 || len(got[0].Tiles) != 1 || len(got[1].Tiles) != 3 || got[1].From != 2120*ms {
		t.Errorf("got\n%s", dump(s, got))
	}
	// Somebody who flaps for long is neither always nor never seen wrong.
	flap := always("bob", 0, 10*sec)
	flap.Camera = nil
	for at := sec; at < 9*sec; at += 160 * ms {
		flap.Camera = append(flap.Camera, Spell{"cam-bob", at, at + 80*ms})
	}
	s.People = []Person{always("ann", 0, 10*sec), flap}
	if got := Timeline(s, grid{}, Options{}); len(got) != 1 {
		t.Errorf("flapping camera:\n%s", dump(s, got))
	}
	// A whole camera is not cut.
	for _, tile := range Timeline(s, grid{}, Options{Whole: true})[0].Tiles {
		if tile.Fit != Contain {
			t.Error("a camera was cut")
		}
	}
}

// anyScene draws a call of up to 12 people.
func anyScene(t *rapid.T) Scene {
	s := Scene{
		Width: rapid.IntRange(64, 1920).Draw(t, "w"), Height: rapid.IntRange(64, 1920).Draw(t, "h"),
		Length: time.Duration(rapid.IntRange(1, 20_000).Draw(t, "length")) * ms,
	}
	span := func(lo, hi time.Duration, label string) (a, b time.Duration) {
		x := time.Duration(rapid.Int64Range(int64(lo), int64(hi)).Draw(t, label+" from"))
		y := time.Duration(rapid.Int64Range(int64(lo), int64(hi)).Draw(t, label+" to"))
		return min(x, y), max(x, y)
	}
	for i := range rapid.IntRange(0, 12).Draw(t, "people") {
		p := Person{ID: fmt.Sprint("s", i), UserID: fmt.Sprint("u", rapid.IntRange(0, i).Draw(t, "user"))}
		p.Join, p.Leave = span(-sec, s.Length+sec, "stay")
		spells := func(kind string, n int) (out []Spell) {
			for range rapid.IntRange(0, n).Draw(t, kind+"s") {
				from, to := span(p.Join, p.Leave, kind)
				out = append(out, Spell{fmt.Sprint(kind, i), from, to})
			}
			return out
		}
		p.Camera, p.Screen = spells("cam", 6), spells("screen", 2)
		for range rapid.IntRange(0, 4).Draw(t, "speeches") {
			from, to := span(-sec, s.Length+sec, "speech")
			p.Speech = append(p.Speech, Speech{from, to, uint8(rapid.IntRange(0, 127).Draw(t, "level"))})
		}
		s.People = append(s.People, p)
	}
	return s
}

func anyOptions(t *rapid.T) Options {
	return Options{
		MinInterval: time.Duration(rapid.IntRange(0, 1000).Draw(t, "min")) * ms,
		FrameTime:   rapid.SampledFrom([]time.Duration{0, 40 * ms, 33_333_333, sec}).Draw(t, "frame"),
		CardWhenOff: rapid.Bool().Draw(t, "cards"), MaxTiles: rapid.IntRange(0, 30).Draw(t, "max"),
		Gap: rapid.IntRange(0, 20).Draw(t, "gap"), KeepOnShare: rapid.Bool().Draw(t, "keep"),
	}
}

func anyLayout(t *rapid.T) Layout {
	return rapid.SampledFrom([]Layout{grid{}, speaker{}, screenshare{}, Single{}, Single{UserID: "u0"}}).Draw(t, "layout")
}

func TestTimelineIsPartition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, o, l := anyScene(t), anyOptions(t), anyLayout(t)
		d := o.withDefaults()
		in := Timeline(s, l, o)
		var at time.Duration
		for i, iv := range in {
			if iv.From != at || iv.To <= iv.From || iv.From%d.FrameTime != 0 {
				t.Fatalf("interval %d does not follow at %v:\n%s", i, at, dump(s, in))
			}
			if iv.To-iv.From < d.MinInterval && s.Length >= d.MinInterval {
				t.Fatalf("interval %d is too short:\n%s", i, dump(s, in))
			}
			if i > 0 && slices.Equal(iv.Tiles, in[i-1].Tiles) {
				t.Fatalf("interval %d is as the one before", i)
			}
			at = iv.To
			for j, a := range iv.Tiles {
				r := a.Rect
				if r.X < 0 || r.Y < 0 || r.W < 2 || r.H < 2 || r.Right() > s.Width || r.Bottom() > s.Height || (r.X|r.Y|r.W|r.H)&1 != 0 {
					t.Fatalf("tile %d: %v", j, r)
				}
				for _, b := range iv.Tiles[:j] {
					if r.Overlaps(b.Rect) {
						t.Fatalf("%v overlaps %v", r, b.Rect)
					}
				}
			}
		}
		if at != s.Length {
			t.Fatalf("ends at %v of %v", at, s.Length)
		}
	})
}

// What is shown was true a moment ago, or will be in a moment at the start.
func TestTimelineIsTrue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, o, l := anyScene(t), anyOptions(t), anyLayout(t)
		d := o.withDefaults()
		st := newStage(s, d)
		in := Timeline(s, l, o)
		marks := st.marks()
		for _, iv := range in {
			// The states between From-3·min and To, asked at the interval's end.
			lo, hi := max(iv.To-4*d.MinInterval, 0), iv.To
			if iv.To-iv.From > 4*d.MinInterval {
				hi = iv.To
			} else {
				lo = min(lo, max(iv.From-d.MinInterval, 0))
			}
			ok := false
			for i, m := range marks {
				until := s.Length
				if i+1 < len(marks) {
					until = marks[i+1]
				}
				if m <= hi && until > lo && slices.Equal(st.arrange(l, m), iv.Tiles) {
					ok = true
				}
			}
			if !ok {
				t.Fatalf("[%v,%v) was not true at its end", iv.From, iv.To)
			}
		}
	})
}

func TestGridShowsEverybodyOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, o := anyScene(t), anyOptions(t)
		o.CardWhenOff = true
		d := o.withDefaults()
		st := newStage(s, d)
		for _, at := range st.marks() {
			m := st.moment(at)
			tiles := grid{}.Arrange(m)
			if err := Check(m, tiles); err != nil {
				t.Fatal(err)
			}
			shown := map[int]int{}
			for _, tile := range tiles {
				if tile.Fit == Cover {
					shown[tile.Person]++
				}
			}
			here := 0
			for i, p := range s.People {
				present := p.Join <= at && at < p.Leave
				if present {
					here++
				}
				if n := shown[i]; n > 1 || n == 1 && !present {
					t.Fatalf("person %d has %d tiles at %v, present %v", i, n, at, present)
				}
			}
			if len(shown) != min(here, d.MaxTiles) {
				t.Fatalf("%d of %d are shown", len(shown), here)
			}
		}
	})
}

func TestTimelineDoesNotDependOnOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, o, l := anyScene(t), anyOptions(t), anyLayout(t)
		want := dump(s, Timeline(s, l, o))
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		mixed := s
		mixed.People = slices.Clone(s.People)
		r.Shuffle(len(mixed.People), func(i, j int) {
			mixed.People[i], mixed.People[j] = mixed.People[j], mixed.People[i]
		})
		if got := dump(mixed, Timeline(mixed, l, o)); got != want {
			t.Fatalf("got\n%swant\n%s", got, want)
		}
	})
}

func BenchmarkTimeline(b *testing.B) {
	s := Scene{Width: 1280, Height: 720, Length: time.Hour}
	for i := range 9 {
		p := always(fmt.Sprint("u", i), time.Duration(i)*sec, time.Hour)
		for at := p.Join; at < time.Hour; at += 11 * sec {
			p.Speech = append(p.Speech, Speech{at, at + 3*sec, 30})
		}
		s.People = append(s.People, p)
	}
	for b.Loop() {
		Timeline(s, speaker{}, Options{})
	}
}
