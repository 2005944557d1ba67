package slices

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const (
	h   = time.Hour
	mi  = time.Minute
	sec = time.Second
)

func spans(s ...time.Duration) (out []Span) {
	for i := 0; i < len(s); i += 2 {
		out = append(out, Span{s[i], s[i+1]})
	}
	return out
}

func TestFiles(t *testing.T) {
	t.Parallel()
	file := func(s ...time.Duration) File { return File{spans(s...)} }
	for name, c := range map[string]struct {
		pushes []Span
		s      Settings
		want   []File
	}{
		"nothing":                {nil, Settings{}, nil},
		"no length":              {spans(sec, sec), Settings{}, nil},
		"KS-05":                  {spans(0, 6*h), Settings{Slice: 2 * h}, []File{file(0, 2*h), file(2*h, 4*h), file(4*h, 6*h)}},
		"KS-05 in seconds":       {spans(0, 6*sec), Settings{Slice: 2 * sec}, []File{file(0, 2*sec), file(2*sec, 4*sec), file(4*sec, 6*sec)}},
		"KS-08":                  {spans(0, 11*h, 11*h+mi, 12*h), Settings{Period: 10 * h, Resume: 180 * sec}, []File{file(0, 11*h), file(11*h+mi, 12*h)}},
		"KS-07, not yet":         {spans(0, 9*h, 9*h+mi, 12*h), Settings{Period: 10 * h, Resume: 180 * sec}, []File{file(0, 9*h, 9*h+mi, 12*h)}},
		"KS-07, exactly":         {spans(0, 10*h, 10*h+mi, 12*h), Settings{Period: 10 * h, Resume: 180 * sec}, []File{file(0, 10*h), file(10*h+mi, 12*h)}},
		"KS-09":                  {spans(0, 3*h), Settings{Slice: 2 * h, Period: h, Resume: 180 * sec}, []File{file(0, 2*h), file(2*h, 3*h)}},
		"KS-09, resumed":         {spans(0, 90*mi, 91*mi, 3*h), Settings{Slice: 2 * h, Period: h, Resume: 180 * sec}, []File{file(0, 90*mi), file(91*mi, 3*h)}},
		"KS-11, 179 s":           {spans(0, mi, mi+179*sec, h), Settings{Resume: 180 * sec}, []File{file(0, mi, mi+179*sec, h)}},
		"KS-11, 180 s":           {spans(0, mi, mi+180*sec, h), Settings{Resume: 180 * sec}, []File{file(0, mi, mi+180*sec, h)}},
		"KS-11, 181 s":           {spans(0, mi, mi+181*sec, h), Settings{Resume: 180 * sec}, []File{file(0, mi), file(mi+181*sec, h)}},
		"TC-15, 0 s":             {spans(0, mi, mi, h), Settings{}, []File{file(0, mi), file(mi, h)}},
		"TC-15, 1800 s":          {spans(0, mi, 31*mi, h), Settings{Resume: MaxResume}, []File{file(0, mi, 31*mi, h)}},
		"TC-15, above":           {spans(0, mi, 31*mi+1, h), Settings{Resume: MaxResume}, []File{file(0, mi), file(31*mi+1, h)}},
		"TC-22":                  {spans(0, 59*mi), Settings{Slice: h}, []File{file(0, 59*mi)}},
		"TC-22, exactly":         {spans(0, h), Settings{Slice: h}, []File{file(0, h)}},
		"TC-23":                  {spans(0, 150*mi), Settings{Slice: h}, []File{file(0, h), file(h, 2*h), file(2*h, 150*mi)}},
		"TC-24":                  {spans(0, 5*mi, 6*mi, 12*mi, 13*mi, 20*mi), Settings{}, []File{file(0, 5*mi), file(6*mi, 12*mi), file(13*mi, 20*mi)}},
		"TC-25, as one":          {spans(0, 5*mi, 6*mi, 12*mi, 13*mi, 20*mi), Settings{Resume: 180 * sec}, []File{file(0, 5*mi, 6*mi, 12*mi, 13*mi, 20*mi)}},
		"slice in a later span":  {spans(0, 5*mi, 6*mi, 12*mi), Settings{Slice: 10 * mi, Resume: 180 * sec}, []File{file(0, 5*mi, 6*mi, 10*mi), file(10*mi, 12*mi)}},
		"full in an interrupted": {spans(0, 9*mi, 11*mi, 15*mi), Settings{Slice: 10 * mi, Resume: 180 * sec}, []File{file(0, 9*mi), file(11*mi, 15*mi)}},
		"full as it comes back":  {spans(0, 9*mi, 10*mi, 15*mi), Settings{Slice: 10 * mi, Resume: 180 * sec}, []File{file(0, 9*mi), file(10*mi, 15*mi)}},
		"overlapping, unordered": {spans(4*mi, 6*mi, 0, 5*mi), Settings{}, []File{file(0, 6*mi)}},
	} {
		if got := Files(c.pushes, nil, nil, c.s); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestFilesAtKeyframes(t *testing.T) {
	t.Parallel()
	var keys []time.Duration
	for at := time.Duration(0); at < 60*sec; at += 7 * sec {
		keys = append(keys, at)
	}
	got := Files(spans(0, 60*sec), nil, keys, Settings{Slice: 20 * sec})
	want := []File{{spans(0, 21*sec)}, {spans(21*sec, 42*sec)}, {spans(42*sec, 60*sec)}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Files(spans(0, 60*sec), nil, []time.Duration{0}, Settings{Slice: 20 * sec}); len(got) != 1 {
		t.Errorf("cut without a keyframe: %v", got)
	}
	// A keyframe exactly at the limit, and one at the very end.
	got = Files(spans(0, 40*sec), nil, []time.Duration{40 * sec, 20 * sec, 0}, Settings{Slice: 20 * sec})
	if len(got) != 2 || got[0].To() != 20*sec {
		t.Errorf("got %v", got)
	}
	if got := Files(spans(0, 60*sec), nil, []time.Duration{}, Settings{Slice: 20 * sec}); len(got) != 1 {
		t.Errorf("video without any keyframe was cut: %v", got)
	}
}

// A camera that is off most of the time, and a microphone that is always on.
func TestFilesAreCutExactlyWhereThereAreNoPictures(t *testing.T) {
	t.Parallel()
	keys := []time.Duration{18 * sec, 25 * sec, 38 * sec, 70 * sec}
	pictures := spans(18*sec, 32*sec, 38*sec, 44*sec, 70*sec, 90*sec)
	for slice, want := range map[time.Duration][]File{
		10 * sec: {{spans(0, 10*sec)}, {spans(10*sec, 25*sec)}, {spans(25*sec, 35*sec)}, {spans(35*sec, 45*sec)}, {spans(45*sec, 55*sec)}, {spans(55*sec, 65*sec)}, {spans(65*sec, 90*sec)}, {spans(90*sec, 100*sec)}},
		18 * sec: {{spans(0, 18*sec)}, {spans(18*sec, 36*sec)}, {spans(36*sec, 54*sec)}, {spans(54*sec, 90*sec)}, {spans(90*sec, 100*sec)}},
		28 * sec: {{spans(0, 32*sec)}, {spans(32*sec, 60*sec)}, {spans(60*sec, 90*sec)}, {spans(90*sec, 100*sec)}},
	} {
		if got := Files(spans(0, 100*sec), pictures, keys, Settings{Slice: slice}); !reflect.DeepEqual(got, want) {
			t.Errorf("%v: got %v, want %v", slice, got, want)
		}
	}
	if got := Files(spans(0, 30*sec), nil, nil, Settings{Slice: 10 * sec}); len(got) != 3 {
		t.Errorf("got %v", got)
	}
}

func TestPushRefusesDisorder(t *testing.T) {
	t.Parallel()
	var s Stream
	if err := s.Push(5, 10, nil); err != nil {
		t.Fatal(err)
	}
	for _, p := range spans(9, 12, 20, 19) {
		if err := s.Push(p.From, p.To, nil); !errors.Is(err, ErrOrder) {
			t.Errorf("%v: %v", p, err)
		}
	}
}

func TestFilesHoldTheStream(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := func(most int, label string) time.Duration {
			return time.Duration(rapid.IntRange(0, most).Draw(t, label)) * sec
		}
		set := Settings{Slice: d(200, "slice"), Period: d(200, "period"), Resume: d(60, "resume")}
		var pushes []Span
		var at time.Duration
		for range rapid.IntRange(0, 8).Draw(t, "pushes") {
			from := at + d(90, "gap")
			at = from + d(600, "length")
			pushes = append(pushes, Span{from, at})
		}
		var keys []time.Duration
		copied := rapid.Bool().Draw(t, "copied")
		if copied {
			keys = []time.Duration{}
			for k := d(10, "first key"); k < at; k += sec + d(20, "key") {
				keys = append(keys, k)
			}
		}
		files := Files(pushes, nil, keys, set)
		var held []Span
		for i, f := range files {
			if len(f.Spans) == 0 {
				t.Fatalf("file %d is empty", i)
			}
			if set.Slice > 0 && !copied && f.Length() > set.Slice {
				t.Fatalf("file %d is too long: %v", i, f)
			}
			for j, sp := range f.Spans {
				if sp.From >= sp.To {
					t.Fatalf("file %d: %v", i, f)
				}
				if j > 0 && (sp.From-f.Spans[j-1].To > set.Resume || set.Resume == 0) {
					t.Fatalf("file %d goes on after %v", i, sp.From-f.Spans[j-1].To)
				}
				if n := len(held); n > 0 && sp.From == held[n-1].To {
					held[n-1].To = sp.To // gapless
				} else {
					held = append(held, sp)
				}
			}
			if i == 0 {
				continue
			}
			last, began := files[i-1], f.From()
			if began == last.To() && set.Slice > 0 && last.Length() >= set.Slice {
				if copied && !slices.Contains(keys, began) && !slices.ContainsFunc(pushes, func(p Span) bool { return p.From == began }) {
					t.Fatalf("file %d begins without a keyframe", i)
				}
				continue
			}
			gap := began - last.To()
			if set.Resume > 0 && gap <= set.Resume && (set.Slice == 0 || began-last.From() < set.Slice) &&
				(set.Period == 0 || last.Length() < set.Period) {
				t.Fatalf("file %d is new for no reason: %v, %v", i, last, f)
			}
		}
		var want []Span
		for _, p := range pushes {
			if n := len(want); n > 0 && p.From == want[n-1].To {
				want[n-1].To = p.To
			} else if p.From < p.To {
				want = append(want, p)
			}
		}
		if !reflect.DeepEqual(held, want) {
			t.Fatalf("files hold %v of %v", held, want)
		}
	})
}
