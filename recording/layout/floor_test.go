package layout

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func talker(level uint8, spans ...time.Duration) Person {
	p := Person{Leave: time.Hour}
	for i := 0; i < len(spans); i += 2 {
		p.Speech = append(p.Speech, Speech{spans[i], spans[i+1], level})
	}
	return p
}

func TestFloor(t *testing.T) {
	t.Parallel()
	leaver := talker(30, 0, 5*sec)
	leaver.Leave = 3 * sec
	for name, c := range map[string]struct {
		people []Person
		want   []Turn
	}{
		"silence":      {[]Person{talker(30)}, nil},
		"keeps it":     {[]Person{talker(30, 1*sec, 2*sec)}, []Turn{{0, sec, time.Hour}}},
		"changes":      {[]Person{talker(30, 0, 4*sec), talker(30, 4*sec, 8*sec)}, []Turn{{0, 0, 4600 * ms}, {1, 4600 * ms, time.Hour}}},
		"cough":        {[]Person{talker(30, 0, 4*sec), talker(30, 5*sec, 5*sec+500*ms)}, []Turn{{0, 0, time.Hour}}},
		"interrupts":   {[]Person{talker(30, 0, 9*sec), talker(30, 4*sec, 8*sec)}, []Turn{{0, 0, time.Hour}}},
		"louder":       {[]Person{talker(42, 0, 9*sec), talker(30, 4*sec, 8*sec)}, []Turn{{0, 0, 4600 * ms}, {1, 4600 * ms, 8400 * ms}, {0, 8400 * ms, time.Hour}}},
		"hold":         {[]Person{talker(30, 0, 100*ms), talker(30, 500*ms, 8*sec)}, []Turn{{0, 0, 2 * sec}, {1, 2 * sec, time.Hour}}},
		"quiet":        {[]Person{talker(30, 0, 5*sec), talker(30, 4*sec, 8*sec)}, []Turn{{0, 0, 5400 * ms}, {1, 5400 * ms, time.Hour}}},
		"leaves":       {[]Person{leaver, talker(30, 2900*ms, 8*sec)}, []Turn{{0, 0, 3 * sec}, {1, 3 * sec, time.Hour}}},
		"loudest":      {[]Person{talker(40, sec, 5*sec), talker(30, sec, 5*sec)}, []Turn{{1, sec, time.Hour}}},
		"again, split": {[]Person{talker(30, 0, sec, sec, 2*sec)}, []Turn{{0, 0, time.Hour}}},
	} {
		if got := Floor(c.people, FloorOptions{}); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestFloorIsHeldByOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := anyScene(t)
		o := FloorOptions{}.withDefaults()
		turns := Floor(s.People, FloorOptions{})
		for i, turn := range turns {
			p := s.People[turn.Person]
			if turn.From >= turn.To || turn.From < p.Join || turn.To > p.Leave {
				t.Fatalf("turn %d: %v of %v", i, turn, p)
			}
			if turn.To-turn.From < o.Hold && turn.To != p.Leave {
				t.Fatalf("turn %d is short: %v", i, turn)
			}
			if i == 0 {
				continue
			}
			last := turns[i-1]
			if turn.From < last.To {
				t.Fatalf("%v and %v", last, turn)
			}
			// Silence keeps the last: only leaving ends a turn without a next.
			if turn.From > last.To && last.To != s.People[last.Person].Leave {
				t.Fatalf("nobody between %v and %v", last, turn)
			}
			if !slices.ContainsFunc(tidy(p), func(s Speech) bool { return s.From <= turn.From && turn.From < s.To }) {
				t.Fatalf("%v begins in silence", turn)
			}
		}
		if n := len(turns); n > 0 && turns[n-1].To != s.People[turns[n-1].Person].Leave {
			t.Fatalf("the last turn ends at %v", turns[n-1].To)
		}
	})
}

// levels are points every 20 ms.
func levels(from, to time.Duration, level uint8, voice bool) (out []LevelPoint) {
	for at := from; at <= to; at += 20 * ms {
		out = append(out, LevelPoint{at, level, voice})
	}
	return out
}

func TestSpeakers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		points []LevelPoint
		want   []Speech
	}{
		"nothing":       {nil, nil},
		"silence":       {levels(0, sec, 127, false), nil},
		"speech":        {slices.Concat(levels(0, sec, 30, false), levels(sec+20*ms, 2*sec, 100, false)), []Speech{{0, sec, 30}}},
		"pause":         {slices.Concat(levels(0, sec, 30, false), levels(1300*ms, 2*sec, 30, false)), []Speech{{0, 2 * sec, 30}}},
		"long pause":    {slices.Concat(levels(0, sec, 30, false), levels(1400*ms, 2*sec, 30, false)), []Speech{{0, sec, 30}, {1400 * ms, 2 * sec, 30}}},
		"cough":         {levels(0, 100*ms, 20, true), nil},
		"between":       {slices.Concat(levels(0, sec, 40, false), levels(1020*ms, 2*sec, 50, false)), []Speech{{0, 2 * sec, 44}}},
		"only soft":     {levels(0, sec, 50, false), nil},
		"soft, voice":   {levels(0, sec, 50, true), []Speech{{0, sec, 50}}},
		"voice of none": {levels(0, sec, 90, true), nil},
	} {
		if got := Speakers(c.points, SpeakerOptions{}); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestSpeakersAreInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		points := rapid.SliceOf(rapid.Custom(func(t *rapid.T) LevelPoint {
			return LevelPoint{
				time.Duration(rapid.IntRange(0, 5000).Draw(t, "at")) * ms,
				uint8(rapid.IntRange(0, 127).Draw(t, "level")), rapid.Bool().Draw(t, "voice"),
			}
		})).Draw(t, "points")
		o := SpeakerOptions{}.withDefaults()
		got := Speakers(points, SpeakerOptions{})
		for i, s := range got {
			if s.To-s.From < o.Least || s.Level > o.Close {
				t.Fatalf("%v", s)
			}
			if i > 0 && s.From-got[i-1].To < o.Release {
				t.Fatalf("%v and %v", got[i-1], s)
			}
		}
	})
}
