package recorder

import (
	"context"
	"encoding/json"

	"stillwatch/internal/bus"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/raw"
)

// settingsSubscription reads which calls were changed. The group is the node's
// own: each node looks for calls that run on it.
func (r *Recorder) settingsSubscription() bus.Subscription {
	return bus.Subscription{
		Topic: event.TopicPublic, Group: bus.EphemeralPrefix + r.cfg.Node + "-recorder", Consumer: r.cfg.Node, FromNow: true,
		Handler: func(_ context.Context, ev event.Envelope) error {
			if ev.Type == event.CallUpdated {
				r.syncCall(ev.Key)
			}
			return nil
		},
	}
}

// watchSettings lets changed settings reach the calls that run. What is missed
// here is seen with the next order.
func (r *Recorder) watchSettings(ctx context.Context) {
	err := r.cfg.Bus.Consume(ctx, r.settingsSubscription())
	if err != nil && ctx.Err() == nil {
		r.log.Error("changed settings are seen with the next order only", "err", err)
	}
}

// replan reads the call's plan again and taps what it asks for by now. The
// runs that are on keep the plans that they began with. It is false if the plan
// could not be read.
func (l *live) replan() bool {
	if err := l.r.retry(func(ctx context.Context) error { return l.readPlan(ctx) }); err != nil {
		l.r.log.Warn("a call is recorded by the settings that it had", "call", l.info.CID, "err", err)
		return false
	}
	if l.writer == nil {
		l.spool()
	} else if !l.tapped && (l.plan.Spools() || l.plan.PreRolls()) {
		l.open()
	}
	l.retap()
	return true
}

// retap taps what is wanted by now, and leaves the rest.
func (l *live) retap() {
	for _, t := range l.tracks {
		for _, info := range t.Streams() {
			if t.taken[info.RID] && !l.wants(info) {
				t.leave(info.RID)
			}
		}
		l.tap(t)
	}
}

// wants leaves out what neither the call's plan nor that of a run which is on
// records. Evidence is of all; what business files leave out of it is their
// steps' business.
func (l *live) wants(s raw.StreamInfo) bool {
	if wantedBy(l.plan, s) {
		return true
	}
	for _, run := range l.runs {
		var plan recording.Plan
		if json.Unmarshal(run.Plan.V, &plan) == nil && wantedBy(plan, s) {
			return true
		}
	}
	return false
}

func wantedBy(p recording.Plan, s raw.StreamInfo) bool {
	return p.Evidence == recording.ModeOnFlag || !leavesOut(p, s.UserID, s.Video()) && !s.LeftOut()
}
