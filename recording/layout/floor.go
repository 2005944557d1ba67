package layout

import (
	"cmp"
	"slices"
	"time"
)

// Turn is a time in which a person has the floor. Person is an index into what
// Floor was given.
type Turn struct {
	Person   int
	From, To time.Duration
}

// FloorOptions say how fast the floor changes hands. The zero value gives the
// defaults.
type FloorOptions struct {
	// Take is how long somebody speaks before they take the floor. 0 is 600 ms.
	Take time.Duration
	// Quiet is how long the holder is silent before others can. 0 is 400 ms.
	Quiet time.Duration
	// Hold is how long a turn lasts at least. 0 is 2 s.
	Hold time.Duration
	// Margin is by how many dB somebody has to be louder than the holder to
	// take the floor while the holder speaks. 0 is 12.
	Margin int
}

func (o FloorOptions) withDefaults() FloorOptions {
	if o.Take <= 0 {
		o.Take = 600 * time.Millisecond
	}
	if o.Quiet <= 0 {
		o.Quiet = 400 * time.Millisecond
	}
	if o.Hold <= 0 {
		o.Hold = 2 * time.Second
	}
	if o.Margin <= 0 {
		o.Margin = 12
	}
	return o
}

// Floor says who has the floor when: turns in order, never two at a time. Who
// speaks first gets it at once. After that somebody gets it who spoke for Take
// and still speaks, when the holder had it for Hold and is silent for Quiet or
// softer by Margin. In silence the holder keeps it. It ends when the holder
// leaves, and then goes at once to who speaks. Of several the loudest gets it,
// then who spoke longer, then the first in people.
func Floor(people []Person, o FloorOptions) []Turn {
	f := newFloor(people, o.withDefaults())
	var turns []Turn
	holder, since := -1, time.Duration(0)
	for at, ok := f.after(-1, holder, since); ok; at, ok = f.after(at, holder, since) {
		if holder >= 0 && at >= people[holder].Leave {
			turns[len(turns)-1].To = people[holder].Leave
			holder = -1
		}
		next := f.taker(at, holder, since)
		if next < 0 {
			continue
		}
		if holder >= 0 {
			turns[len(turns)-1].To = at
		}
		turns = append(turns, Turn{Person: next, From: at, To: people[next].Leave})
		holder, since = next, at
	}
	return turns
}

type floor struct {
	people []Person
	speech [][]Speech // of each, in order, apart, while present
	events []time.Duration
	o      FloorOptions
}

func newFloor(people []Person, o FloorOptions) *floor {
	f := &floor{people: people, o: o}
	for _, p := range people {
		spoken := tidy(p)
		f.speech = append(f.speech, spoken)
		for _, s := range spoken {
			f.events = append(f.events, s.From, s.From+o.Take, s.To, s.To+o.Quiet)
		}
		f.events = append(f.events, p.Leave)
	}
	slices.Sort(f.events)
	f.events = slices.Compact(f.events)
	return f
}

// tidy are a person's times of speech in order, cut to their presence; those
// that overlap or touch become one with the level of the louder.
func tidy(p Person) []Speech {
	var out []Speech
	sorted := slices.Clone(p.Speech)
	slices.SortFunc(sorted, func(a, b Speech) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Level, b.Level))
	})
	for _, s := range sorted {
		s.From, s.To = max(s.From, p.Join), min(s.To, p.Leave)
		if s.From >= s.To {
			continue
		}
		if n := len(out); n > 0 && s.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, s.To)
			out[n-1].Level = min(out[n-1].Level, s.Level)
			continue
		}
		out = append(out, s)
	}
	return out
}

// after is the next time at which something may change: an event, or the end
// of the holder's time of grace.
func (f *floor) after(at time.Duration, holder int, since time.Duration) (time.Duration, bool) {
	i, found := slices.BinarySearch(f.events, at)
	if found {
		i++
	}
	grace := since + f.o.Hold
	if holder >= 0 && at < grace && (i == len(f.events) || grace < f.events[i]) {
		return grace, true
	}
	if i == len(f.events) {
		return 0, false
	}
	return f.events[i], true
}

// speaking is the speech in which person i is at a time; if there is none, the
// last before.
func (f *floor) speaking(i int, at time.Duration) (s Speech, now, ever bool) {
	n, found := slices.BinarySearchFunc(f.speech[i], at, func(s Speech, at time.Duration) int { return cmp.Compare(s.From, at) })
	if found {
		n++
	}
	if n == 0 {
		return Speech{}, false, false
	}
	s = f.speech[i][n-1]
	return s, at < s.To, true
}

// taker is who takes the floor from holder at a time, or -1.
func (f *floor) taker(at time.Duration, holder int, since time.Duration) int {
	softest := 256 // -dBov that a taker may have at most
	if holder >= 0 {
		if at < since+f.o.Hold {
			return -1
		}
		s, now, ever := f.speaking(holder, at)
		switch {
		case now:
			softest = int(s.Level) - f.o.Margin
		case ever && at < s.To+f.o.Quiet:
			return -1
		}
	}
	best, loudest := -1, Speech{}
	for i := range f.people {
		s, now, _ := f.speaking(i, at)
		if !now || i == holder || int(s.Level) > softest || holder >= 0 && at < s.From+f.o.Take {
			continue
		}
		if best < 0 || s.Level < loudest.Level || s.Level == loudest.Level && s.From < loudest.From {
			best, loudest = i, s
		}
	}
	return best
}
