package capture

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
)

// TestLedgerAlwaysAddsUp drives a call through any course of events: at every
// moment each due frame of each track is captured, in the ledger or under way,
// the rows say the same, and no tap is forgotten.
func TestLedgerAlwaysAddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, func(c *Config) { c.Queue = rapid.IntRange(1, 4).Draw(rt, "queue"); c.FrozenAfter = 3 })
		errs := []error{nil, nil, still.ErrUndecodable, still.ErrCrashed, still.ErrBusy}
		w.imager.err = func(n int) error { return errs[n%len(errs)] }
		const tracks = 4
		all := make([]*fakeTrack, tracks)
		for i := range all {
			all[i] = w.track(fmt.Sprint(i), nil)
		}
		w.s.SetRecording(call, true, "e", Settings{})
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			f := all[rapid.IntRange(0, tracks-1).Draw(rt, "track")]
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				f.silent = !f.silent
			case 1:
				f.deaf = !f.deaf
			case 2:
				f.still = !f.still
			case 3:
				w.s.TrackMuted(f.info.ID, rapid.Bool().Draw(rt, "muted"))
			case 4:
				w.idle = !w.idle
			case 5:
				w.bus.putErr = nil
				if rapid.Bool().Draw(rt, "broken") {
					w.bus.putErr = errors.New("broken")
				}
			case 6:
				f.answer = time.Duration(rapid.IntRange(10, 3000).Draw(rt, "answer")) * time.Millisecond
			case 7:
				w.s.SetRecording(call, rapid.Bool().Draw(rt, "on"), "e", Settings{IntervalSeconds: rapid.IntRange(2, 5).Draw(rt, "interval")})
			case 8:
				f.send("", true)
			case 9:
				w.s.KeyframeExpected(f.info.ID)
			}
			w.run(time.Duration(rapid.IntRange(1, 7000).Draw(rt, "pause")) * time.Millisecond)
			for i := range tracks {
				w.check(fmt.Sprint(i))
			}
		}
		w.idle = false
		w.run(10 * time.Second)
		w.s.StopCall(call)
		w.run(10 * time.Second)
		st := w.s.Stats()
		inRows := map[event.GapReason]uint64{}
		for _, g := range w.rows.gapList() {
			inRows[event.GapReason(g.Reason)] += uint64(g.Due)
		}
		if st.Due != st.Captured+st.Missed() || st.InFlight != 0 || int(st.Captured) != len(w.bus.frames) {
			rt.Fatalf("%+v, %d frames", st, len(w.bus.frames))
		}
		for reason, n := range st.Gaps {
			if inRows[reason] != n {
				rt.Fatalf("%s: %d missed, %d in rows", reason, n, inRows[reason])
			}
		}
		for _, f := range all {
			if f.opened != f.closed {
				rt.Fatalf("track %s: %d taps open", f.info.ID, f.opened-f.closed)
			}
		}
	})
}
