package db

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// fakeBroker remembers what was published, and can fail and forget.
type fakeBroker struct {
	mu      sync.Mutex
	got     []event.Envelope
	topics  []event.Topic
	fail    error
	marked  bool
	settled []string
	came    chan struct{}
}

func newFakeBroker() *fakeBroker { return &fakeBroker{came: make(chan struct{}, 10_000)} }

func (f *fakeBroker) Publish(_ context.Context, topic event.Topic, evs ...event.Envelope) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	for _, ev := range evs {
		f.got, f.topics = append(f.got, ev), append(f.topics, topic)
		f.came <- struct{}{}
	}
	return nil
}

func (f *fakeBroker) Remembers(context.Context) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.marked, nil
}

func (f *fakeBroker) Remember(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.marked = true
	return nil
}

func (f *fakeBroker) Settle(_ context.Context, topic event.Topic, done func([]string) error) error {
	f.mu.Lock()
	ids := f.settled
	f.mu.Unlock()
	if topic != event.TopicActions {
		return nil
	}
	return done(ids)
}

func (f *fakeBroker) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeBroker) ids() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, ev := range f.got {
		out = append(out, ev.ID)
	}
	return out
}

func emit(t *testing.T, d *DB, topics ...event.Topic) (ids []string) {
	t.Helper()
	for _, topic := range topics {
		ev := event.New("x", "k", time.Now(), 1)
		if err := d.Emit(context.Background(), topic, ev); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, ev.ID)
	}
	return ids
}

func unsentIDs(t *testing.T, d *DB) (ids []string) {
	t.Helper()
	rows, err := unsent(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		ids = append(ids, r.EventID)
	}
	return ids
}

func testRelayOrder(t *testing.T, d *DB) {
	topics := []event.Topic{event.TopicActions, event.TopicActions, event.TopicControl, event.TopicActions, event.TopicPublic}
	want := emit(t, d, topics...)
	f := newFakeBroker()
	if err := NewRelay(d, f, RelayConfig{}).Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.ids(); !slices.Equal(got, want) || !slices.Equal(f.topics, topics) {
		t.Errorf("got %v on %v, want %v on %v", got, f.topics, want, topics)
	}
	if left := unsentIDs(t, d); len(left) != 0 {
		t.Errorf("unsent: %v", left)
	}
}

func testRelayWoken(t *testing.T, d *DB) {
	f := newFakeBroker()
	r := NewRelay(d, f, RelayConfig{Poll: time.Hour, Tend: time.Hour})
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for range 50 {
		began := time.Now()
		emit(t, d, event.TopicActions)
		select {
		case <-f.came:
		case <-time.After(10 * time.Second):
			t.Fatal("a commit did not wake the relay")
		}
		took = append(took, time.Since(began))
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	slices.Sort(took)
	t.Logf("enqueue to publish: median %s, worst %s", took[25], took[49])
	if took[25] > 50*time.Millisecond {
		t.Errorf("median %s: this looks like polling", took[25])
	}
}

func testRelayRetries(t *testing.T, d *DB) {
	want := emit(t, d, event.TopicActions, event.TopicControl)
	f := newFakeBroker()
	f.fail = errTest
	r := NewRelay(d, f, RelayConfig{Poll: 10 * time.Millisecond})
	if err := r.Flush(t.Context()); err == nil {
		t.Error("the failure was swallowed")
	}
	if got := unsentIDs(t, d); !slices.Equal(got, want) {
		t.Errorf("unsent %v, want %v", got, want)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.set(func() { f.fail = nil })
	testkit.Eventually(t, 10*time.Second, func() bool { return slices.Equal(f.ids(), want) }, "published after the broker came back")
	testkit.Eventually(t, 10*time.Second, func() bool { return len(unsentIDs(t, d)) == 0 }, "marked as sent")
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func testRelayRefills(t *testing.T, d *DB) {
	clock := testkit.NewClock()
	d.now = clock.Now
	f := newFakeBroker()
	r := NewRelay(d, f, RelayConfig{Now: clock.Now, RetainSent: time.Hour})
	old := emit(t, d, event.TopicActions)
	if err := r.Tend(t.Context()); err != nil { // first: publishes and marks
		t.Fatal(err)
	}
	clock.Advance(2 * time.Hour)
	ids := emit(t, d, event.TopicActions, event.TopicActions, event.TopicActions)
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.set(func() { f.settled, f.got = ids[:1], nil })
	if err := r.Tend(t.Context()); err != nil { // ids[0] is done
		t.Fatal(err)
	}
	if got := f.ids(); len(got) != 0 {
		t.Errorf("published again without need: %v", got)
	}
	f.set(func() { f.marked, f.settled = false, nil })
	if err := r.Tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.ids(); !slices.Equal(got, ids[1:]) {
		t.Errorf("after the loss %v was published again, want %v (not %v: too old, not %v: done)", got, ids[1:], old, ids[0])
	}
	if !f.marked {
		t.Error("the broker was not marked again")
	}
}

func testRelayPrunes(t *testing.T, d *DB) {
	clock := testkit.NewClock()
	d.now = clock.Now
	f := newFakeBroker()
	r := NewRelay(d, f, RelayConfig{Now: clock.Now, RetainSent: time.Hour, RetainHandled: 3 * time.Hour})
	ids := emit(t, d, event.TopicActions, event.TopicActions)
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.settled = ids[:1]
	if err := r.Tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Once(t.Context(), d, "g", "1"); err != nil {
		t.Fatal(err)
	}
	f.fail = errTest
	for _, step := range []struct {
		after           time.Duration
		outbox, handled int
	}{{59 * time.Minute, 2, 1}, {2 * time.Minute, 1, 1}, {2 * time.Hour, 0, 0}} {
		clock.Advance(step.after)
		if err := r.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		if o, h := count(t, d, "outbox"), count(t, d, "handled"); o != step.outbox || h != step.handled {
			t.Errorf("after %s: %d outbox and %d handled rows, want %d and %d", step.after, o, h, step.outbox, step.handled)
		}
	}
	emit(t, d, event.TopicActions)
	clock.Advance(1000 * time.Hour)
	if err := r.Prune(t.Context()); err != nil || count(t, d, "outbox") != 1 {
		t.Errorf("an unsent event was pruned: %v", err)
	}
}

func testTwoRelays(t *testing.T, d *DB) {
	if d.turn != nil {
		return // a SQLite file has one process, and that one relay
	}
	f := newFakeBroker()
	// Else a relay that starts late takes the broker for a wiped one, and
	// publishes again what the other has sent.
	if err := f.Remember(t.Context()); err != nil {
		t.Fatal(err)
	}
	var relays []*Relay
	for range 2 {
		r := NewRelay(d, f, RelayConfig{Poll: 5 * time.Millisecond, Tend: time.Hour})
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		relays = append(relays, r)
	}
	var want []string
	for range 60 {
		want = append(want, emit(t, d, event.TopicActions)...)
	}
	testkit.Eventually(t, 20*time.Second, func() bool { return len(f.ids()) >= len(want) })
	for _, r := range relays {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	// A pass that closing breaks off is made again by the other relay.
	var got []string
	for _, id := range f.ids() {
		if !slices.Contains(got, id) {
			got = append(got, id)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("two relays published %d events, or in another order, want %d", len(got), len(want))
	}
}

func TestRelayClosesBeforeStart(t *testing.T) {
	t.Parallel()
	if err := NewRelay(nil, nil, RelayConfig{}).Close(); err != nil {
		t.Error(err)
	}
}
