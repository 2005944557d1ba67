package bus

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"stillwatch/internal/event"
)

// TestLanesHoldTheirPromise drives lanes with any mix of pushing, taking,
// finishing and retrying: of one key only one job is out at a time, jobs of a
// key come in order, nothing is lost, and room is given back.
func TestLanesHoldTheirPromise(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const limit = 8
		l := newLanes(limit)
		out := map[string]*lane{}
		lastDone := map[string]int{}
		waiting, next := 0, 0
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				if waiting == limit {
					t.Skip("no room")
				}
				next++
				j := &job{id: fmt.Sprint(next), tries: next, ev: event.Envelope{Key: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")}}
				j.slot = rapid.SampledFrom([]string{"", "cam", "screen"}).Draw(t, "slot")
				l.room <- struct{}{}
				if old := l.push(j); old == nil {
					waiting++
				} else if old.slot != j.slot || old.ev.Key != j.ev.Key || out[j.ev.Key] != nil && l.first(out[j.ev.Key]) == old {
					t.Fatalf("%+v took the place of %+v", j, old)
				}
			},
			"push twice": func(t *rapid.T) {
				ids := l.ids()
				if len(ids) == 0 || waiting == limit {
					t.Skip()
				}
				l.room <- struct{}{}
				if l.push(&job{id: ids[0], ev: event.Envelope{Key: "a"}}) != nil {
					t.Fatal("an entry that is held replaced another")
				}
			},
			"take": func(t *rapid.T) {
				select {
				case ln := <-l.ready:
					if out[ln.key] != nil {
						t.Fatalf("two jobs of %s are out", ln.key)
					}
					out[ln.key] = ln
					l.first(ln)
				default:
					t.Skip("nothing is ready")
				}
			},
			"finish": func(t *rapid.T) {
				for key, ln := range out {
					j := l.first(ln)
					// A replacing job is younger than its place, never
					// older than what was done before.
					if j.slot == "" && j.tries < lastDone[key] {
						t.Fatalf("job %d of %s after %d", j.tries, key, lastDone[key])
					}
					if j.slot == "" {
						lastDone[key] = j.tries
					}
					delete(out, key)
					l.finish(ln)
					waiting--
					return
				}
				t.Skip("nothing is out")
			},
			"again": func(t *rapid.T) {
				for key, ln := range out {
					delete(out, key)
					l.again(ln)
					return
				}
				t.Skip("nothing is out")
			},
			"": func(t *rapid.T) {
				if len(l.ids()) != waiting || len(l.room) != waiting {
					t.Fatalf("%d are held and %d have room, want %d", len(l.ids()), len(l.room), waiting)
				}
			},
		})
	})
}
