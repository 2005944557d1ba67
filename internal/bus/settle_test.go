package bus

import (
	"context"
	"slices"
	"testing"

	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

func TestSettleTrimsWhatAllAcknowledged(t *testing.T) {
	t.Parallel()
	b := openBus(t, quick(testkit.Redis(t)))
	ctx := t.Context()
	var done []string
	settle := func() []string {
		t.Helper()
		done = nil
		if err := b.Settle(ctx, event.TopicActions, func(ids []string) error { done = append(done, ids...); return nil }); err != nil {
			t.Fatal(err)
		}
		return done
	}
	if got := settle(); len(got) != 0 {
		t.Errorf("an empty topic settled %v", got)
	}
	ids := publish(t, b, event.TopicActions, "k", "k", "k")
	if got := settle(); len(got) != 0 {
		t.Errorf("without a group %v settled", got)
	}
	if err := b.Declare(ctx, event.TopicActions, "slow", "fast", "fast"); err != nil {
		t.Fatal(err)
	}
	var fast log
	consume(t, b, Subscription{Topic: event.TopicActions, Group: "fast", Consumer: "c", Handler: fast.handle})
	testkit.Eventually(t, within, func() bool { return fast.len() == 3 && pending(t, b, event.TopicActions, "fast") == 0 })
	if got := settle(); len(got) != 0 {
		t.Errorf("%v settled while a group had not seen it", got)
	}
	// The slow group takes the first, holds the second, takes the third.
	var slow log
	hold := make(chan struct{})
	stop := consume(t, b, Subscription{
		Topic: event.TopicActions, Group: "slow", Consumer: "c",
		Handler: func(ctx context.Context, ev event.Envelope) error {
			if ev.ID == ids[1] {
				select {
				case <-hold:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return slow.handle(ctx, ev)
		},
	})
	testkit.Eventually(t, within, func() bool { return slow.len() == 1 && pending(t, b, event.TopicActions, "slow") == 2 })
	if got := settle(); !slices.Equal(got, ids[:1]) {
		t.Errorf("settled %v, want %v", got, ids[:1])
	}
	// When the note fails, nothing is trimmed.
	close(hold)
	testkit.Eventually(t, within, func() bool { return pending(t, b, event.TopicActions, "slow") == 0 })
	if err := b.Settle(ctx, event.TopicActions, func([]string) error { return errTest }); err == nil {
		t.Error("the failure was swallowed")
	}
	if got := settle(); !slices.Equal(got, ids[1:]) {
		t.Errorf("settled %v, want %v", got, ids[1:])
	}
	if n := b.rdb.XLen(ctx, b.stream(event.TopicActions)).Val(); n != 0 {
		t.Errorf("%d entries are left", n)
	}
	stop()
}

func TestSettleLeavesLossyTopicsAlone(t *testing.T) {
	t.Parallel()
	b := openBus(t, quick(testkit.Redis(t)))
	err := b.Settle(t.Context(), event.TopicFrames, func([]string) error { t.Error("called"); return nil })
	if err != nil {
		t.Error(err)
	}
}

func TestDropGroupFreesTheTopic(t *testing.T) {
	t.Parallel()
	b := openBus(t, quick(testkit.Redis(t)))
	ids := publish(t, b, event.TopicControl, "k")
	if err := b.Declare(t.Context(), event.TopicControl, "node-gone", "node-here"); err != nil {
		t.Fatal(err)
	}
	var seen log
	consume(t, b, Subscription{Topic: event.TopicControl, Group: "node-here", Consumer: "c", Handler: seen.handle})
	testkit.Eventually(t, within, func() bool { return seen.len() == 1 && pending(t, b, event.TopicControl, "node-here") == 0 })
	if err := b.DropGroup(t.Context(), event.TopicControl, "node-gone"); err != nil {
		t.Fatal(err)
	}
	var done []string
	if err := b.Settle(t.Context(), event.TopicControl, func(ids []string) error { done = ids; return nil }); err != nil || !slices.Equal(done, ids) {
		t.Errorf("settled %v, %v", done, err)
	}
}

func TestIDsCompareAsNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{{"9-0", "10-0", true}, {"10-0", "9-0", false}, {"5-9", "5-10", true}, {"5-1", "5-1", false}, {"0-0", "0-1", true}} {
		if less(c.a, c.b) != c.want {
			t.Errorf("less(%s, %s) is not %t", c.a, c.b, c.want)
		}
	}
	if got := after("7-9"); got != "7-10" {
		t.Errorf("after 7-9 comes %s", got)
	}
}
