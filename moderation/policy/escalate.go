package policy

import (
	"reflect"
	"slices"
	"time"

	"stillwatch/internal/event"
)

// breached is a violation that a participant's other rules may count.
type breached struct {
	ruleID string
	at     time.Time
}

// maxBreached bounds how many violations are remembered to be counted.
const maxBreached = 256

// Swap puts another policy in force from the next verdict on. Windows and
// counts stay as they are. A rule of the API that is new or different reads
// the frames that are remembered, which can make one violation at most, and
// that only with the next frame that meets it.
func (e *Engine) Swap(cfg Config) {
	e.use(cfg)
	rules := map[string]CallRule{}
	for _, r := range cfg.Calls {
		rules[r.ID] = r
	}
	for _, p := range e.people {
		p.known.size, p.all.size = e.size, e.size
		for _, t := range p.tracks {
			t.known.size = e.size
		}
		for id, t := range p.tallies {
			if r, ok := rules[id]; ok && !reflect.DeepEqual(r, t.rule) {
				p.change(t, r)
			}
		}
	}
}

// change gives a tally another rule of the same id.
func (p *person) change(t *tally, r CallRule) {
	t.settleAll()
	hits := slices.Clone(t.hits)
	t.rule, t.hits = r, nil
	p.seed(t, hits)
}

// seed gives a tally the frames that are remembered.
func (p *person) seed(t *tally, hits []event.Verdict) {
	for _, v := range hits {
		t.add(v)
	}
	for _, v := range p.known.list {
		t.add(v)
	}
}

func (e *Engine) callRules(callType string) []CallRule {
	if len(e.cfg.Calls) == 0 {
		return nil
	}
	rules, ok := e.calls[callType]
	if !ok {
		rules = e.cfg.callRules(callType)
		e.calls[callType] = rules
	}
	return rules
}

// tally is the participant's for a rule.
func (p *person) tally(r CallRule) *tally {
	t := p.tallies[r.ID]
	if t != nil {
		return t
	}
	t = &tally{rule: r, since: p.since}
	if c, ok := p.counted[r.ID]; ok {
		t.number, t.since = c.Number, later(t.since, c.At.Add(r.Cooldown.duration()))
	}
	p.seed(t, nil)
	p.tallies[r.ID] = t
	return t
}

// restore takes in a violation of the past.
func (p *person) restore(c Counted) {
	old := p.counted[c.RuleID]
	p.counted[c.RuleID] = Counted{c.RuleID, max(old.Number, c.Number), later(old.At, c.At)}
	if c.Number > 0 {
		p.breach(c.RuleID, c.At)
	}
}

func (p *person) breach(ruleID string, at time.Time) {
	p.breached = append(p.breached, breached{ruleID, at})
	slices.SortStableFunc(p.breached, func(a, b breached) int { return a.at.Compare(b.at) })
	p.breached = newest(p.breached, maxBreached)
}

func newest[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

// others are when rules other than the one were violated.
func (p *person) others(ruleID string) []time.Time {
	var out []time.Time
	for _, b := range p.breached {
		if b.ruleID != ruleID {
			out = append(out, b.at)
		}
	}
	return out
}

// escalate counts the violations that v completes.
func (e *Engine) escalate(p *person, v event.Verdict) (out []Decision) {
	var basis []event.Verdict // of the newest violation
	for _, r := range e.callRules(v.Frame.CallType) {
		t := p.tally(r)
		if !r.hit(v) && (basis == nil || !r.counts()) {
			continue // nothing that it looks at has changed
		}
		b, ok := t.count(p.latest, p.others(r.ID))
		if !ok {
			continue
		}
		if len(b.frames) == 0 {
			b.frames = basis // only the violations of others were counted
		}
		if len(b.frames) < 2 { // never from one frame
			t.number--
			continue
		}
		basis = b.frames
		p.breach(r.ID, b.at)
		out = append(out, e.act(p, t, b, v)...)
	}
	return out
}

// act turns a violation into what its rung says.
func (e *Engine) act(p *person, t *tally, b breach, v event.Verdict) []Decision {
	rung, _ := t.rule.rung(t.number)
	base := e.violation(t, b, v)
	base.Violation.Actions = []string{}
	if len(rung.Actions) == 0 {
		return []Decision{base}
	}
	var out []Decision
	for _, d := range orders(base, rung) {
		out = append(out, e.rise(p, d)...)
	}
	for _, do := range doings {
		if done(out, rung, do.name, do.kind) {
			base.Violation.Actions = append(base.Violation.Actions, do.name)
		}
	}
	return out
}

// done tells whether an action is among the decisions: one of the rung that was
// not braked, or a flag that came with another.
func done(ds []Decision, rung Sequence, name string, kind event.ActionKind) bool {
	return (name == DoFlag || slices.Contains(rung.Actions, name)) &&
		slices.ContainsFunc(ds, func(d Decision) bool { return d.Action == kind })
}

// violation is the decision without an action.
func (e *Engine) violation(t *tally, b breach, v event.Verdict) Decision {
	r := t.rule
	rule := Rule{Name: r.Name, Reason: r.Description, Labels: r.labels()}
	for _, c := range r.Conditions {
		if k := c.Keyframe; k != nil && (rule.K == 0 || k.MinConfidence < rule.Confidence) {
			rule.Confidence, rule.K, rule.MaxAgeSeconds = k.MinConfidence, k.Threshold, int(k.Window.duration().Seconds())
		}
	}
	rule.N = len(b.frames)
	d := e.decide(rule, v, b.frames, r.hit, "")
	d.Evidence.CallRule, d.Evidence.Violation = &r, t.number
	d.Violation = &Violation{Rule: r, Number: t.number, CapturedAt: b.at}
	return d
}

// orders are the decisions of a rung: one of each kind, in order.
func orders(base Decision, s Sequence) (out []Decision) {
	lasting := time.Duration(s.Options.Duration) * time.Second
	for _, do := range doings {
		if !slices.Contains(s.Actions, do.name) {
			continue
		}
		d := base
		d.Action = do.kind
		switch do.name {
		case DoWarn:
			d.Message = s.Options.WarningText
		case DoBlur:
			d.Lasting = lasting
		case DoMuteVideo:
			d.Tracks, d.Lasting = []event.TrackType{event.TrackVideo, event.TrackScreenShare}, lasting
		case DoMuteAudio:
			d.Tracks, d.Lasting = []event.TrackType{event.TrackAudio, event.TrackScreenShareAudio}, lasting
			if n := len(out); n > 0 && out[n-1].Action == event.ActionMute {
				out[n-1].Tracks = append(out[n-1].Tracks, d.Tracks...)
				continue
			}
		case DoKick:
			if s.Options.KickReason != "" {
				d.Reason = s.Options.KickReason
			}
		case DoBan:
			if s.Options.BanTimeout > 0 {
				d.ExpiresAt = d.At.Add(time.Duration(s.Options.BanTimeout) * time.Minute)
			}
		}
		if d.Lasting > 0 {
			d.ExpiresAt = d.At.Add(d.Lasting)
		}
		out = append(out, d)
	}
	return out
}

// rise holds an order of a rule of the API to what holds for all: no ban
// without a flag, and nobody put out beyond the brake.
func (e *Engine) rise(p *person, d Decision) []Decision {
	flag := d
	flag.Action, flag.ExpiresAt = event.ActionFlag, time.Time{}
	switch d.Action {
	case event.ActionFlag:
		p.flagged = true
		return []Decision{d}
	case event.ActionBan, event.ActionKick, event.ActionEndCall:
		if !e.brake.free(d.At) {
			p.flagged = true
			flag.Evidence.Braked, flag.Evidence.Wanted = true, d.Action
			return []Decision{flag}
		}
		e.brake.take()
	default:
		return []Decision{d}
	}
	if d.Action != event.ActionBan || p.flagged {
		return []Decision{d}
	}
	p.flagged = true
	return []Decision{flag, d}
}
