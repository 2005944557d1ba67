package recorder

import (
	"context"
	"slices"

	"stillwatch/internal/bus"
	"stillwatch/internal/event"
)

// flagSubscription reads what is asked to be done about somebody. The group is
// the node's own: each node looks for calls that run on it.
func (r *Recorder) flagSubscription() bus.Subscription {
	return bus.Subscription{
		Topic: event.TopicActions, Group: bus.EphemeralPrefix + r.cfg.Node + "-recorder", Consumer: r.cfg.Node, FromNow: true,
		Handler: func(_ context.Context, ev event.Envelope) error {
			if ev.Type != event.TypeActionRequested {
				return nil
			}
			var a event.ActionRequested
			if err := ev.Decode(&a); err != nil {
				return err
			}
			// What an earlier session of the call was flagged for is none of this one's.
			if l := r.byCall(a.CID); l != nil && slices.Contains(flagKinds, string(a.Kind)) && (a.SessionID == "" || a.SessionID == l.info.SessionID) {
				l.do(func() { l.flag(a) })
			}
			return nil
		},
	}
}
