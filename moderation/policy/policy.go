// Package policy decides what a participant's verdicts lead to: a pure state
// machine without input, output or a clock of its own.
package policy

import (
	"cmp"
	"slices"
	"time"

	"stillwatch/internal/event"
)

// maxTracks is how many tracks of a participant have a window of their own;
// beyond it the one unused for longest gives way. A user can have as many at
// once (8 connections of 16 media sections): with less room, clean tracks
// would push the window of another out before its next frame.
const maxTracks = 128

// Person is a participant of a session.
type Person struct{ SessionID, UserID string }

// Engine applies one policy. The same verdicts in the same order give the
// same decisions. It is not safe for concurrent use.
type Engine struct {
	cfg     Config
	version string
	people  map[Person]*person
	brake   brake
	// calls are the rules of the API by call type, as they are asked for.
	calls map[string][]CallRule
	// size is the largest n of any rule: what a window must hold.
	size int
}

// person is what the engine remembers of a participant.
type person struct {
	known, all frames
	tracks     []*track
	flagged    bool
	fired      map[string]bool // by rule name
	// since is when the participant was last reset; older frames are void.
	since  time.Time
	latest time.Time
	seen   *recall
	// tallies are by the id of the API's rule; counted is what a restart or
	// another call left of them, and breached when violations were.
	tallies  map[string]*tally
	counted  map[string]Counted
	breached []breached
}

type track struct {
	id    string
	known frames
}

// New makes an engine for a policy that Parse or Validate has passed.
func New(cfg Config) *Engine {
	e := &Engine{people: map[Person]*person{}}
	e.use(cfg)
	return e
}

func (e *Engine) use(cfg Config) {
	e.cfg, e.version, e.brake.max = cfg, cfg.Version(), cfg.Brake.MaxBansPerMinute
	e.calls = map[string][]CallRule{}
	e.size = cfg.Default.largest()
	for _, set := range cfg.CallTypes {
		e.size = max(e.size, set.largest())
	}
	for _, rules := range cfg.Configs {
		e.size = max(e.size, Set{Rules: rules}.largest())
	}
}

// Size is how many frames a window holds: the largest n of any rule.
func (e *Engine) Size() int { return e.size }

func (s Set) largest() int {
	n := s.UnknownN
	for _, r := range s.Rules {
		n = max(n, r.N)
	}
	return n
}

// Version is the policy's version, as in its decisions.
func (e *Engine) Version() string { return e.version }

// Observe takes a verdict in and returns the decisions that it completes, in
// the order of the ladder. A frame that was seen before gives none.
func (e *Engine) Observe(v event.Verdict) []Decision {
	set := e.cfg.For(v.Frame.CallType)
	p, added, hit := e.note(Person{v.Frame.SessionID, v.Frame.UserID}, v)
	if v.State != event.VerdictKnown {
		if !added {
			return nil
		}
		return e.unknown(p, set, v)
	}
	var out []Decision
	if added {
		for _, r := range ladder(set.Rules) {
			if d, ok := e.apply(p, r, v); ok {
				out = append(out, e.climb(p, r, d)...)
			}
		}
	}
	if hit {
		out = append(out, e.escalate(p, v)...)
	}
	return out
}

// note puts v into the participant's windows and tallies. It tells whether the
// windows have room for it, and whether it is a hit for a rule of the API.
func (e *Engine) note(who Person, v event.Verdict) (p *person, added, hit bool) {
	p = e.person(who)
	if !p.seen.add(v.Frame.FrameID) {
		return p, false, false
	}
	if p.latest.Sub(v.Frame.CapturedAt) > clockStep {
		p.rewind(v.Frame.CapturedAt)
	}
	if !v.Frame.CapturedAt.After(p.since) {
		return p, false, false
	}
	if v.Frame.CapturedAt.After(p.latest) {
		p.latest = v.Frame.CapturedAt
	}
	for _, r := range e.callRules(v.Frame.CallType) {
		hit = p.tally(r).add(v) || hit
	}
	if !p.all.add(v) {
		return p, false, hit
	}
	if v.State == event.VerdictKnown {
		p.known.add(v)
		p.track(v.Frame.TrackID, e.size).known.add(v)
	}
	return p, true, hit
}

// clockStep is by how much a frame must be older than the newest to tell that
// the clock was set back; the bus brings no new frame so late.
const clockStep = time.Minute

// rewind drops the frames that were captured after at, by a clock that has been
// set back since. They would be the newest until it has caught up, and no
// frame before would count.
func (p *person) rewind(at time.Time) {
	ahead := func(v event.Verdict) bool { return v.Frame.CapturedAt.After(at) }
	p.all.list = slices.DeleteFunc(p.all.list, ahead)
	p.known.list = slices.DeleteFunc(p.known.list, ahead)
	for _, t := range p.tracks {
		t.known.list = slices.DeleteFunc(t.known.list, ahead)
	}
	for _, t := range p.tallies {
		t.rewind(at)
	}
	p.latest = at
}

func (e *Engine) person(who Person) *person {
	p := e.people[who]
	if p == nil {
		p = e.blank()
		e.people[who] = p
	}
	return p
}

func (e *Engine) blank() *person {
	return &person{
		fired: map[string]bool{}, known: frames{size: e.size}, all: frames{size: e.size}, seen: &recall{},
		tallies: map[string]*tally{}, counted: map[string]Counted{},
	}
}

// track returns the window of a track and makes it the most recent one.
func (p *person) track(id string, size int) *track {
	i := slices.IndexFunc(p.tracks, func(t *track) bool { return t.id == id })
	var t *track
	switch {
	case i >= 0:
		t = p.tracks[i]
		p.tracks = slices.Delete(p.tracks, i, i+1)
	case len(p.tracks) == maxTracks:
		p.tracks = slices.Delete(p.tracks, 0, 1)
		fallthrough
	default:
		t = &track{id: id, known: frames{size: size}}
	}
	p.tracks = append(p.tracks, t)
	return t
}

// ladder orders rules: flags before bans, else as written.
func ladder(rules []Rule) []Rule {
	rung := map[event.ActionKind]int{event.ActionFlag: 0, event.ActionBan: 1}
	sorted := slices.Clone(rules)
	slices.SortStableFunc(sorted, func(a, b Rule) int { return cmp.Compare(rung[a.Action], rung[b.Action]) })
	return sorted
}

// apply tells whether rule r fires on v. The window of all tracks stands
// against a picture spread over tracks; the window of the one track against
// clean tracks that dilute it.
func (e *Engine) apply(p *person, r Rule, v event.Verdict) (Decision, bool) {
	if p.fired[r.Name] || score(v, r.Labels) < r.Confidence {
		return Decision{}, false
	}
	hit := func(v event.Verdict) bool { return score(v, r.Labels) >= r.Confidence }
	whole := p.known.last(r.N, r.maxAge())
	if completes(v, whole, hit, r.K) {
		return e.decide(r, v, whole, hit, ""), true
	}
	alone := p.track(v.Frame.TrackID, e.size).known.last(r.N, r.maxAge())
	if completes(v, alone, hit, r.K) {
		return e.decide(r, v, alone, hit, v.Frame.TrackID), true
	}
	return Decision{}, false
}

// completes tells whether v is one of k or more hits in the window.
func completes(v event.Verdict, window []event.Verdict, hit func(event.Verdict) bool, k int) bool {
	n, in := 0, false
	for _, w := range window {
		if hit(w) {
			n++
			in = in || w.Frame.FrameID == v.Frame.FrameID
		}
	}
	return in && n >= k
}

// climb turns a rule that fired into decisions: no ban without a flag, and
// none beyond the brake.
func (e *Engine) climb(p *person, r Rule, d Decision) []Decision {
	p.fired[r.Name] = true
	if r.Action == event.ActionFlag {
		p.flagged = true
		return []Decision{d}
	}
	flag := d
	flag.Action, flag.ExpiresAt = event.ActionFlag, time.Time{}
	if !e.brake.free(d.At) {
		p.flagged = true
		flag.Evidence.Braked = true
		return []Decision{flag}
	}
	e.brake.take()
	if p.flagged {
		return []Decision{d}
	}
	p.flagged = true
	return []Decision{flag, d}
}

// unknown applies the policy's mode to a verdict that is none.
func (e *Engine) unknown(p *person, set Set, v event.Verdict) []Decision {
	if set.OnUnknown != FailClosed || p.fired[RuleUnknown] {
		return nil
	}
	r := Rule{
		Name: RuleUnknown, Labels: []string{}, K: set.UnknownK, N: set.UnknownN,
		Action: event.ActionFlag, MaxAgeSeconds: defaultMaxAgeSeconds,
	}
	hit := func(v event.Verdict) bool { return v.State != event.VerdictKnown }
	window := p.all.last(r.N, r.maxAge())
	if !completes(v, window, hit, r.K) {
		return nil
	}
	return e.climb(p, r, e.decide(r, v, window, hit, ""))
}

func (e *Engine) decide(r Rule, v event.Verdict, window []event.Verdict, hit func(event.Verdict) bool, trackID string) Decision {
	d := Decision{
		CID: v.Frame.CID, SessionID: v.Frame.SessionID, UserID: v.Frame.UserID,
		Rule: r.Name, Reason: r.says(), Action: r.Action, Labels: strongest(v, r.Labels), Score: score(v, r.Labels),
		Frame: v.Frame, At: v.At, Verdicts: slices.Clone(window),
		Evidence: Evidence{PolicyVersion: e.version, Rule: r, TrackID: trackID},
	}
	if d.At.IsZero() {
		d.At = v.Frame.CapturedAt
	}
	if r.BanTimeoutMinutes > 0 {
		d.ExpiresAt = d.At.Add(time.Duration(r.BanTimeoutMinutes) * time.Minute)
	}
	for _, w := range window {
		d.Evidence.Frames = append(d.Evidence.Frames, EvidenceFrame{
			FrameID: w.Frame.FrameID, VerdictID: w.VerdictID, SHA256: w.Frame.SHA256,
			CapturedAt: w.Frame.CapturedAt, State: w.State, Scores: w.Scores,
			Score: score(w, r.Labels), Hit: hit(w), Reused: w.Reused,
		})
	}
	return d
}

func strongest(v event.Verdict, labels []string) []string {
	sorted := slices.Clone(labels)
	slices.SortStableFunc(sorted, func(a, b string) int {
		return cmp.Compare(score(v, []string{b}), score(v, []string{a}))
	})
	return sorted
}

// Suspect tells whether a verdict comes within half the confidence of a rule
// of its call type. A suspect picture is always looked at anew: one mistaken
// look, taken over for the pictures behind it, must not add up to k of n.
func (c Config) Suspect(v event.Verdict) bool {
	for _, r := range c.callRules(v.Frame.CallType) {
		for _, cond := range r.Conditions {
			if k := cond.Keyframe; k != nil && score(v, k.Labels) >= k.MinConfidence/2 {
				return true
			}
		}
	}
	return slices.ContainsFunc(c.For(v.Frame.CallType).Rules, func(r Rule) bool {
		return score(v, r.Labels) >= r.Confidence/2
	})
}
