package delivery_test

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"stillwatch/actions/delivery"
	"stillwatch/actions/webhook"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// stopwatch is a receiver that notes how long events took.
type stopwatch struct {
	*receiver
	mu   sync.Mutex
	sent map[string]time.Time
	took []time.Duration
}

func newStopwatch(t *testing.T) *stopwatch {
	s := &stopwatch{sent: map[string]time.Time{}}
	s.receiver = newReceiver(t, nil)
	s.Config.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		now := time.Now()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.took = append(s.took, now.Sub(s.sent[r.Header.Get(webhook.HeaderID)]))
	})
	return s
}

func (s *stopwatch) start(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[id] = time.Now()
}

func (s *stopwatch) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.took)
}

func (s *stopwatch) p95() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.took)
	return s.took[len(s.took)*95/100]
}

// TestAHangingReceiverSlowsNoOther sends the same to a hook that is alone and
// to one beside a hook whose receiver hangs, in turns, and compares.
func TestAHangingReceiverSlowsNoOther(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	hanging := newReceiver(t, func(int, http.ResponseWriter) { <-release })
	t.Cleanup(func() { close(release) })
	alone, beside := newStopwatch(t), newStopwatch(t)
	quiet, troubled := newWorld(t), newWorld(t)
	quiet.hook("h", alone.URL)
	troubled.hook("a-hanging", hanging.URL)
	troubled.hook("h", beside.URL)
	senders := map[*stopwatch]*delivery.Sender{alone: quiet.start(quiet.sender()), beside: troubled.start(troubled.sender())}
	const events = 200
	for n := range events {
		for watch, s := range senders {
			ev := frame(n)
			if n%2 == 0 {
				ev = banned("action-" + strconv.Itoa(n))
			}
			watch.start(ev.ID)
			if event.LossyType(ev.Type) {
				s.Offer(ev)
			} else if err := s.Handle(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, wait, func() bool { return watch.count() == n+1 })
		}
	}
	a, b := alone.p95(), beside.p95()
	ratio := float64(b) / float64(max(a, time.Millisecond))
	t.Logf("p95 alone %s, beside a hanging receiver %s: ratio %.2f; %d requests hang", a, b, ratio, len(hanging.all()))
	// A hanging attempt lasts two seconds, a hundred times as long.
	if ratio > 10 {
		t.Errorf("p95 alone %s, beside a hanging receiver %s", a, b)
	}
	if n := len(hanging.all()); n == 0 {
		t.Error("nothing hangs")
	}
}
