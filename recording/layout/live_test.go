package layout

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// said are the packets of somebody who speaks in some of the 100 ms.
func said(spoken []bool, level uint8) []LevelPoint {
	var out []LevelPoint
	for i, on := range spoken {
		for k := range 5 {
			p := LevelPoint{At: time.Duration(i)*100*time.Millisecond + time.Duration(k)*20*time.Millisecond, Level: 127}
			if on {
				p.Level = level
			}
			out = append(out, p)
		}
	}
	return out
}

func TestLiveFloorFollowsTheRules(t *testing.T) {
	t.Parallel()
	l := NewLive(SpeakerOptions{}, FloorOptions{})
	play := func(id string, from, to time.Duration, level uint8) (took []time.Duration) {
		for at := from; at < to; at += 20 * time.Millisecond {
			if l.Point(id, LevelPoint{At: at, Level: level}) {
				took = append(took, at)
			}
		}
		return took
	}
	if got := play("ann", 0, time.Second, 30); len(got) != 1 || got[0] != 120*time.Millisecond || l.Holder() != "ann" {
		t.Fatalf("the first who speaks gets it at %v", got)
	}
	if got := play("bob", time.Second, 1100*time.Millisecond, 30); len(got) != 0 {
		t.Fatalf("a cough took it at %v", got)
	}
	if got := play("bob", 2*time.Second, 3*time.Second, 30); len(got) != 1 || got[0] != 2600*time.Millisecond || l.Holder() != "bob" {
		t.Fatalf("after 600 ms of speech and the holder's 2 s: %v, %s", got, l.Holder())
	}
	if !l.Leave("bob") || l.Holder() != "" || l.Leave("bob") {
		t.Fatal("who leaves has it no more")
	}
	if got := play("ann", 3*time.Second, 4*time.Second, 30); len(got) != 1 || got[0] != 3120*time.Millisecond {
		t.Fatalf("a free floor is taken at once: %v", got)
	}
}

// Whoever gets the floor live speaks just then, as the whole call tells it, and
// for long enough; and turns last.
func TestLiveFloorGoesToWhoSpeaks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		spoken := rapid.SliceOfN(rapid.IntRange(0, 2), 10, 120).Draw(t, "who speaks") // 2 is nobody
		ids := []string{"ann", "bob"}
		var speech [2][]Speech
		var points [2][]LevelPoint
		for who := range ids {
			on := make([]bool, len(spoken))
			for i, s := range spoken {
				on[i] = s == who
			}
			points[who] = said(on, 30)
			speech[who] = Speakers(points[who], SpeakerOptions{})
		}
		l := NewLive(SpeakerOptions{}, FloorOptions{})
		last := time.Duration(-1)
		for i := range points[0] {
			for who, id := range ids {
				at := points[who][i].At
				if !l.Point(id, points[who][i]) {
					continue
				}
				least := 120 * time.Millisecond
				if last >= 0 {
					least = 600 * time.Millisecond
				}
				holder := slices.Index(ids, l.Holder())
				if !slices.ContainsFunc(speech[holder], func(s Speech) bool { return s.From+least <= at && at <= s.To }) {
					t.Fatalf("%s got the floor at %v and spoke %+v", l.Holder(), at, speech[holder])
				}
				if last >= 0 && at-last < 2*time.Second {
					t.Fatalf("the floor changed hands at %v and at %v", last, at)
				}
				last = at
			}
		}
		if last < 0 && slices.ContainsFunc(speech[:], func(s []Speech) bool { return len(s) > 0 }) {
			t.Fatalf("nobody got the floor: %+v", speech)
		}
	})
}
