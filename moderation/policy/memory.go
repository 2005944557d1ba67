package policy

import (
	"slices"
	"time"

	"stillwatch/internal/event"
)

// Decided is a decision of the past, as Restore wants it.
type Decided struct {
	// Rule is empty for a decision of a rule of the API, which fires again.
	Rule   string
	Action event.ActionKind
	Braked bool
}

// Counted is a violation of the past, as Restore wants it.
type Counted struct {
	RuleID string
	// Number is 0 for a violation in another call: its frames are used up, and
	// it does not count in this one.
	Number int
	// At is the capture of the frame that completed it.
	At time.Time
}

// Knows tells whether the engine remembers the participant.
func (e *Engine) Knows(who Person) bool { return e.people[who] != nil }

// Fired tells whether any rule has fired for the participant since the last
// reset.
func (e *Engine) Fired(who Person) bool {
	p := e.people[who]
	return p != nil && (p.flagged || len(p.fired) > 0 || len(p.breached) > 0)
}

// Restore gives the engine what is known of a participant it has not seen:
// after a restart, or when a user begins a new session. Verdicts, of earlier
// sessions too, fill the windows and lead to no decision; what was decided in
// this session does not fire again. Frames captured up to since, the moment of
// the last ban or unban, are void. Violations go on from counted, oldest first.
func (e *Engine) Restore(who Person, since time.Time, verdicts []event.Verdict, decided []Decided, counted ...Counted) {
	p := e.person(who)
	p.since = since
	for _, c := range counted {
		p.restore(c)
	}
	for _, v := range verdicts {
		e.note(who, v)
	}
	for _, d := range decided {
		if d.Action == event.ActionFlag {
			p.flagged = true
		}
		if d.Rule == "" {
			continue
		}
		// A flag that a ban brought with it leaves the ban's rule alone.
		if d.Action == event.ActionBan || d.Braked || !e.bans(d.Rule) {
			p.fired[d.Rule] = true
		}
	}
}

// bans tells whether a rule of that name bans, in any set.
func (e *Engine) bans(rule string) bool {
	is := func(r Rule) bool { return r.Name == rule && r.Action == event.ActionBan }
	if slices.ContainsFunc(e.cfg.Default.Rules, is) {
		return true
	}
	for _, set := range e.cfg.CallTypes {
		if slices.ContainsFunc(set.Rules, is) {
			return true
		}
	}
	for _, rules := range e.cfg.Configs {
		if slices.ContainsFunc(rules, is) {
			return true
		}
	}
	return false
}

// RestoreBans tells the brake of what it let through before, oldest first.
func (e *Engine) RestoreBans(at ...time.Time) {
	for _, t := range at {
		e.brake.free(t)
		e.brake.take()
	}
}

// Reset forgets what a user did up to the moment at, in every session, so
// that each rule may fire anew: an unban does this.
func (e *Engine) Reset(userID string, at time.Time) {
	for who, p := range e.people {
		if who.UserID == userID && at.After(p.since) {
			clean := e.blank()
			clean.since, clean.latest, clean.seen = at, p.latest, p.seen
			e.people[who] = clean
		}
	}
}

// Forget drops the participants whose newest frame is older than before, and
// returns how many. Who comes back is to be restored.
func (e *Engine) Forget(before time.Time) (n int) {
	for who, p := range e.people {
		if p.latest.Before(before) {
			delete(e.people, who)
			n++
		}
	}
	return n
}
