package policy

import (
	"slices"
	"time"

	"stillwatch/internal/event"
)

// maxHits is how many frames that met a condition are remembered for a rule
// and a participant; the oldest go.
const maxHits = 512

// tally is what the engine remembers of a participant for one CallRule.
//
// The violations that follow from a set of frames do not depend on the order
// in which these came: the frames that meet a condition are kept in order of
// capture, and with each new one the violations are worked out anew, earliest
// first, each on frames captured after the one before and its cool-down. One
// more frame makes at most one more violation of them. What is older than the
// bus can bring (clockStep) is settled and needs no frames any more.
type tally struct {
	rule CallRule
	hits []event.Verdict // by capture
	// number is how many violations were told of.
	number int
	// since is up to when frames are used up.
	since time.Time
	// open are the violations after since that were told of, by the capture of
	// their last frame.
	open []time.Time
}

// breach is one violation: its moment and the frames that made it.
type breach struct {
	at     time.Time
	frames []event.Verdict
}

// score of the frame under a keyframe condition, and whether it is a hit.
func (k KeyframeParams) hit(v event.Verdict) bool { return score(v, k.Labels) >= k.MinConfidence }

func (r CallRule) hit(v event.Verdict) bool {
	return slices.ContainsFunc(r.Conditions, func(c Condition) bool { return c.Keyframe != nil && c.Keyframe.hit(v) })
}

// add takes a frame in if it meets a condition.
func (t *tally) add(v event.Verdict) bool {
	if v.State != event.VerdictKnown || !t.rule.hit(v) || !v.Frame.CapturedAt.After(t.since) {
		return false
	}
	at, found := slices.BinarySearchFunc(t.hits, v, byCapture)
	if found {
		return false
	}
	t.hits = slices.Insert(t.hits, at, v)
	if len(t.hits) > maxHits {
		t.hits = slices.Delete(t.hits, 0, len(t.hits)-maxHits)
	}
	return true
}

// breaches works out the violations after since. others are the violations of
// other rules, by rising time.
func (t *tally) breaches(others []time.Time) (out []breach) {
	since := t.since
	for _, at := range t.moments(others) {
		if !at.After(since) {
			continue
		}
		if frames, ok := t.met(since, at, others); ok {
			out = append(out, breach{at, frames})
			since = at.Add(t.rule.Cooldown.duration())
		}
	}
	return out
}

// moments are when a violation can be: at a hit, or at one of others.
func (t *tally) moments(others []time.Time) []time.Time {
	out := make([]time.Time, 0, len(t.hits)+len(others))
	for _, h := range t.hits {
		out = append(out, h.Frame.CapturedAt)
	}
	if t.rule.counts() {
		out = append(out, others...)
		slices.SortFunc(out, time.Time.Compare)
	}
	return out
}

// met tells whether the conditions hold at the moment at, on what came after
// since, and on which frames.
func (t *tally) met(since, at time.Time, others []time.Time) (frames []event.Verdict, ok bool) {
	any, all := false, true
	for _, c := range t.rule.Conditions {
		var yes bool
		switch {
		case c.Keyframe != nil:
			from := later(since, at.Add(-c.Keyframe.Window.duration()))
			var in []event.Verdict
			for _, h := range t.hits {
				if h.Frame.CapturedAt.After(from) && !h.Frame.CapturedAt.After(at) && c.Keyframe.hit(h) {
					in = append(in, h)
				}
			}
			if yes = len(in) >= c.Keyframe.Threshold; yes {
				frames = append(frames, in...)
			}
		case c.Count != nil:
			from, n := later(since, at.Add(-c.Count.Window.duration())), 0
			for _, o := range others {
				if o.After(from) && !o.After(at) {
					n++
				}
			}
			yes = n >= c.Count.Threshold
		default:
			continue // the call type: the rule would not be here
		}
		any, all = any || yes, all && yes
	}
	slices.SortFunc(frames, byCapture)
	frames = slices.CompactFunc(frames, func(a, b event.Verdict) bool { return a.Frame.FrameID == b.Frame.FrameID })
	if t.rule.Logic == LogicOr {
		return frames, any
	}
	return frames, all
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// count works the violations out and returns the one that is new, if any.
// latest is the capture of the participant's newest frame.
func (t *tally) count(latest time.Time, others []time.Time) (b breach, ok bool) {
	all := t.breaches(others)
	told := len(t.open)
	switch {
	case len(all) > told:
		t.number++
		b, ok = all[len(all)-1], true
	case len(all) < told: // frames are gone: what was told of is settled
		t.settleAll()
		return breach{}, false
	}
	t.open = t.open[:0]
	for _, b := range all {
		t.open = append(t.open, b.at)
	}
	t.settle(latest.Add(-clockStep))
	return b, ok
}

// settle forgets what can no longer change: violations up to the moment, and
// frames that no violation after it can stand on.
func (t *tally) settle(upTo time.Time) {
	for len(t.open) > 0 && !t.open[0].After(upTo) {
		t.since = t.open[0].Add(t.rule.Cooldown.duration())
		t.open = slices.Delete(t.open, 0, 1)
	}
	oldest := later(t.since, upTo.Add(-t.rule.window()))
	t.hits = slices.DeleteFunc(t.hits, func(h event.Verdict) bool { return !h.Frame.CapturedAt.After(oldest) })
}

func (t *tally) settleAll() {
	if n := len(t.open); n > 0 {
		t.since = later(t.since, t.open[n-1].Add(t.rule.Cooldown.duration()))
		t.open = nil
	}
	t.hits = slices.DeleteFunc(t.hits, func(h event.Verdict) bool { return !h.Frame.CapturedAt.After(t.since) })
}

// window is the longest of the rule's keyframe conditions.
func (r CallRule) window() (w time.Duration) {
	for _, c := range r.Conditions {
		if c.Keyframe != nil {
			w = max(w, c.Keyframe.Window.duration())
		}
	}
	return w
}

// rewind drops the frames captured after at, by a clock set back since.
func (t *tally) rewind(at time.Time) {
	t.hits = slices.DeleteFunc(t.hits, func(h event.Verdict) bool { return h.Frame.CapturedAt.After(at) })
	t.open = slices.DeleteFunc(t.open, func(o time.Time) bool { return o.After(at) })
	if t.since.After(at) {
		t.since = at
	}
}
