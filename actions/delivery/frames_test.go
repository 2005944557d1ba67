package delivery

import (
	"fmt"
	"testing"

	"stillwatch/internal/event"
)

func frameOf(call string, n int) event.Envelope {
	return event.Envelope{ID: fmt.Sprint(call, n), Key: "default:" + call + "/bob"}
}

func TestOrderedQueueHasOneFrameOfACallUnderWay(t *testing.T) {
	t.Parallel()
	q := newQueue(10)
	q.keepOrder(true)
	for n := range 2 {
		q.push(frameOf("a", n))
		q.push(frameOf("b", n))
	}
	take := func(want string) event.Envelope {
		t.Helper()
		ev, ok := q.pop()
		if got := ev.ID; got != want || ok != (want != "") {
			t.Errorf("took %q, want %q", got, want)
		}
		return ev
	}
	a0, b0 := take("a0"), take("b0")
	take("")
	q.done(b0)
	b1 := take("b1")
	take("")
	q.done(a0)
	q.done(b1)
	take("a1")
	q.keepOrder(false)
	q.push(frameOf("a", 2))
	take("a2")
	take("")
}

func TestQueueKeepsTheNewest(t *testing.T) {
	t.Parallel()
	q, dropped := newQueue(3), 0
	for n := range 10 {
		if q.push(frameOf("a", n)) {
			dropped++
		}
	}
	for n := 7; n < 10; n++ {
		if ev, ok := q.pop(); !ok || ev.ID != fmt.Sprint("a", n) {
			t.Errorf("took %q, want a%d", ev.ID, n)
		}
	}
	if _, ok := q.pop(); ok || dropped != 7 {
		t.Errorf("%d dropped", dropped)
	}
}

func TestProductsAndCustomEvents(t *testing.T) {
	t.Parallel()
	no := false
	for _, c := range []struct {
		product string
		types   []string
		custom  *bool
		typ     string
		want    bool
	}{
		{"", nil, nil, event.UserBanned, true},
		{"all", nil, nil, event.CallSessionStarted, true},
		{"video", nil, nil, event.CallSessionStarted, true},
		{"video", nil, nil, event.UserBanned, false},
		{"moderation", nil, nil, event.UserBanned, true},
		{"moderation", nil, nil, event.CallSessionStarted, false},
		{"moderation", nil, nil, "call.moderation_blur", true},
		{"video", []string{event.UserBanned}, nil, event.UserBanned, true},
		{"", []string{event.UserBanned}, nil, event.UserFlagged, false},
		{"", nil, nil, TypeCustom, true},
		{"", nil, &no, TypeCustom, false},
		{"video", []string{event.UserBanned}, nil, event.HookDisabled, true},
	} {
		h := Hook{EventTypes: c.types}
		h.Settings.Product, h.Settings.ShouldSendCustomEvents = c.product, c.custom
		if got := wantsType(h, c.typ); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
