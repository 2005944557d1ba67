package bus

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

func frame(user, track string, n int) event.Envelope {
	return event.New(event.TypeFrameReady, "default:a/"+user, time.Now(),
		event.FrameReady{FrameID: fmt.Sprintf("%s-%s-%d", user, track, n), UserID: user, TrackID: track})
}

type skips struct {
	mu sync.Mutex
	by map[SkipReason]int
}

func (s *skips) on(_ event.Envelope, why SkipReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[SkipReason]int{}
	}
	s.by[why]++
}

func (s *skips) count(why SkipReason) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[why]
}

// TestBacklogTakesTheNewest holds the only worker while frames of two users
// pile up: of each track only the newest is handled, and every other one is
// reported; gaps are never replaced.
func TestBacklogTakesTheNewest(t *testing.T) {
	t.Parallel()
	cfg := quick(testkit.Redis(t))
	cfg.MaxAge = time.Minute
	b := openBus(t, cfg)
	var seen log
	var skipped skips
	entered, release := make(chan struct{}, 100), make(chan struct{})
	consume(t, b, Subscription{
		Topic: event.TopicFrames, Group: "classify", Consumer: "c", OnSkip: skipped.on,
		Handler: func(_ context.Context, ev event.Envelope) error {
			seen.add(ev)
			entered <- struct{}{}
			<-release
			return nil
		},
	})
	put := func(evs ...event.Envelope) {
		if err := b.Publish(t.Context(), event.TopicFrames, evs...); err != nil {
			t.Fatal(err)
		}
	}
	put(frame("blocker", "cam", 0))
	<-entered
	want := map[string]bool{}
	put(event.New(event.TypeFrameGap, "default:a/u0", time.Now(), event.FrameGap{TrackID: "cam"}))
	for n := range 20 {
		for u := range 2 {
			user := fmt.Sprintf("u%d", u)
			for _, track := range []string{"cam", "screen"} {
				ev := frame(user, track, n)
				put(ev)
				if n == 19 {
					want[ev.ID] = true
				}
			}
		}
	}
	// Of four tracks all frames but the last are replaced.
	testkit.Eventually(t, within, func() bool { return skipped.count(SkipSuperseded) == 76 }, "replaced")
	close(release)
	testkit.Eventually(t, within, func() bool { return pending(t, b, event.TopicFrames, "classify") == 0 })
	handled := map[string]bool{}
	for _, id := range seen.ids("") {
		handled[id] = true
	}
	for id := range want {
		if !handled[id] {
			t.Errorf("a newest frame was not handled")
		}
	}
	if total := seen.len() + skipped.count(SkipSuperseded); total != 82 {
		t.Errorf("%d handled and %d skipped, want 82 together", seen.len(), skipped.count(SkipSuperseded))
	}
	if seen.len() != 6 { // the blocker, the gap and four newest
		t.Errorf("%d handled, want 6", seen.len())
	}
}

func TestOldFramesAreSkippedAndCounted(t *testing.T) {
	t.Parallel()
	cfg := quick(testkit.Redis(t))
	cfg.MaxAge = 50 * time.Millisecond
	b := openBus(t, cfg)
	for n := range 10 {
		if err := b.Publish(t.Context(), event.TopicFrames, frame(fmt.Sprint(n), "cam", n)); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(2 * cfg.MaxAge)
	testkit.Eventually(t, within, func() bool { return time.Now().After(old) })
	var seen log
	var skipped skips
	consume(t, b, Subscription{Topic: event.TopicFrames, Group: "g", Consumer: "c", Handler: seen.handle, OnSkip: skipped.on})
	testkit.Eventually(t, within, func() bool { return skipped.count(SkipTooOld) == 10 })
	fresh := frame("x", "cam", 1)
	if err := b.Publish(t.Context(), event.TopicFrames, fresh); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, within, func() bool { return seen.len() == 1 })
	if st, err := b.Stats(t.Context()); err != nil || st.Skipped != 10 {
		t.Errorf("%d skipped, %v", st.Skipped, err)
	}
}

func TestLossyTopicIsBounded(t *testing.T) {
	t.Parallel()
	cfg := quick(testkit.Redis(t))
	cfg.MaxLen = 100
	b := openBus(t, cfg)
	for _, topic := range []event.Topic{event.TopicFrames, event.TopicActions} {
		for range 10 {
			keys := make([]string, 100)
			publish(t, b, topic, keys...)
		}
	}
	frames := b.rdb.XLen(t.Context(), b.stream(event.TopicFrames)).Val()
	actions := b.rdb.XLen(t.Context(), b.stream(event.TopicActions)).Val()
	if frames > 300 { // "~" trims whole nodes of 100 entries
		t.Errorf("%d frames are kept", frames)
	}
	if actions != 1000 {
		t.Errorf("%d actions are kept, want all 1000", actions)
	}
}
