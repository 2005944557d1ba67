package node

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/capture/call"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// twoOf lets ann and bob join, and returns what lets a connection go.
func twoOf(t *testing.T, r *rig, after time.Duration) (leave func(p call.Participant, reason string), ann, bob call.Participant) {
	t.Helper()
	r.alone = after
	ann, bob = joined("ann", "user", time.Now()), joined("bob", "user", time.Now())
	r.node.SessionStarted(session())
	r.node.ParticipantJoined(ann)
	r.node.ParticipantJoined(bob)
	return func(p call.Participant, reason string) {
		n := len(told[event.ParticipantLeft](t, r, event.CallParticipantLeft))
		p.LeftAt = time.Now()
		r.node.ParticipantLeft(p, reason)
		testkit.Eventually(t, 20*time.Second, func() bool {
			return len(told[event.ParticipantLeft](t, r, event.CallParticipantLeft)) > n
		})
	}, ann, bob
}

func TestTheLastOfTwoIsHungUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, "available")
	leave, ann, _ := twoOf(t, r, time.Millisecond)
	leave(ann, "left")
	testkit.Eventually(t, 20*time.Second, func() bool { return r.calls.saw("end default:a") })
	ended := told[event.CallEnding](t, r, event.CallEnded)
	if len(ended) != 1 || ended[0].Reason != reasonAlone || ended[0].User != nil || r.call(t).EndedAt.IsZero() {
		t.Errorf("told %+v", ended)
	}
}

func TestWhoComesBackInTimeKeepsTheCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, "available")
	leave, ann, bob := twoOf(t, r, time.Hour)
	second := bob
	second.UserSessionID = "us-bob-2"
	r.node.ParticipantJoined(second) // another window
	leave(bob, "left")               // of which one is closed
	if r.node.waitsAlone("s1") {
		t.Error("bob is still there, and the call waits for its end")
	}
	leave(ann, "connection lost")
	testkit.Eventually(t, 20*time.Second, func() bool { return r.node.waitsAlone("s1") })
	third := bob
	third.UserSessionID = "us-bob-3" // which is nobody else
	r.node.ParticipantJoined(third)
	testkit.Eventually(t, 20*time.Second, func() bool {
		return len(told[event.ParticipantJoined](t, r, event.CallParticipantJoined)) == 4
	})
	if !r.node.waitsAlone("s1") {
		t.Error("bob's other window counts as somebody else")
	}
	ann.UserSessionID = "us-ann-2"
	r.node.ParticipantJoined(ann)
	testkit.Eventually(t, 20*time.Second, func() bool { return !r.node.waitsAlone("s1") })
	// A check that was on its way when ann came finds two.
	if err := r.node.endAlone(t.Context(), "default:a", "s1"); err != nil {
		t.Fatal(err)
	}
	if r.calls.saw("end default:a") || len(told[event.CallEnding](t, r, event.CallEnded)) > 0 {
		t.Error("the call has ended with two in it")
	}
}

func TestWhoIsAloneFromTheBeginningMayWait(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after time.Duration
		user  string // who leaves bob
	}{"it is off": {0, "ann"}, "it was bob's other window": {time.Nanosecond, "bob"}} {
		r := newRig(t, "available")
		r.alone = c.after
		other := joined(c.user, "user", time.Now())
		other.UserSessionID = "us-other"
		r.node.SessionStarted(session())
		r.node.ParticipantJoined(joined("bob", "user", time.Now()))
		r.node.ParticipantJoined(other)
		other.LeftAt = time.Now()
		r.node.ParticipantLeft(other, "left")
		done := make(chan struct{})
		r.node.enqueue(func(context.Context) error { close(done); return nil }) // after all that was put before
		<-done
		if r.calls.saw("end default:a") || r.node.waitsAlone("s1") {
			t.Errorf("%s, and the call ends", name)
		}
	}
}

// refuseOnce fails the first query that ends a call.
type refuseOnce struct{ refused atomic.Bool }

func (h *refuseOnce) BeforeQuery(ctx context.Context, ev *bun.QueryEvent) context.Context {
	if strings.HasPrefix(ev.Query, "UPDATE") && strings.Contains(ev.Query, "ended_at") && strings.Contains(ev.Query, "calls") && h.refused.CompareAndSwap(false, true) {
		gone, cancel := context.WithCancel(ctx)
		cancel()
		return gone
	}
	return ctx
}

func (h *refuseOnce) AfterQuery(context.Context, *bun.QueryEvent) {}

// A database that refuses once does not let the last one stay for ever.
func TestTheLastIsHungUpThoughTheDatabaseRefusesOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, "available")
	if err := r.node.Close(); err != nil {
		t.Fatal(err)
	}
	h := &refuseOnce{}
	r.db.DB = r.db.WithQueryHook(h)
	r.node = r.newNode(t)
	leave, ann, _ := twoOf(t, r, time.Millisecond)
	leave(ann, "left")
	testkit.Eventually(t, 20*time.Second, func() bool { return r.calls.saw("end default:a") })
	if !h.refused.Load() || r.call(t).EndedAt.IsZero() || r.node.waitsAlone("s1") {
		t.Errorf("refused %t, call %+v", h.refused.Load(), r.call(t))
	}
}
