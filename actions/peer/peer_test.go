package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"stillwatch/internal/netguard"
)

// fake counts how often it was closed.
type fake struct{ closed int }

func (f *fake) Close() error { f.closed++; return nil }

func newPool(opened *int) *Pool[string, *fake] {
	return &Pool[string, *fake]{Open: func(settings string) (*fake, error) {
		if settings == "bad" {
			return nil, errors.New("bad")
		}
		*opened++
		return &fake{}, nil
	}}
}

func get(t *testing.T, p *Pool[string, *fake], hook, settings string) (*fake, func()) {
	t.Helper()
	f, release, err := p.Get(hook, settings)
	if err != nil {
		t.Fatal(err)
	}
	return f, release
}

func TestAHookHasOnePeerUntilItChanges(t *testing.T) {
	t.Parallel()
	opened := 0
	p := newPool(&opened)
	a, doneA := get(t, p, "h", "one")
	b, doneB := get(t, p, "h", "one")
	if a != b || opened != 1 {
		t.Fatalf("two peers for one hook; %d opened", opened)
	}
	doneA()
	c, doneC := get(t, p, "h", "two")
	if c == a || a.closed != 0 {
		t.Fatalf("the old settings serve on, or their user was cut off (closed %d)", a.closed)
	}
	doneB()
	if a.closed != 1 {
		t.Errorf("replaced peer closed %d times", a.closed)
	}
	doneC()
	d, doneD := get(t, p, "h", "three") // nobody used the second one
	if c.closed != 1 {
		t.Errorf("idle peer closed %d times when replaced", c.closed)
	}
	doneD()
	p.Forget("h")
	p.Forget("h")
	if d.closed != 1 {
		t.Errorf("forgotten peer closed %d times", d.closed)
	}
	if _, _, err := p.Get("h", "bad"); err == nil {
		t.Error("a peer that cannot be made is given out")
	}
}

func TestCloseClosesAllOnce(t *testing.T) {
	t.Parallel()
	opened := 0
	p := newPool(&opened)
	a, _ := get(t, p, "a", "")
	b, done := get(t, p, "b", "")
	done()
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if a.closed != 1 || b.closed != 1 {
		t.Errorf("closed %d and %d times", a.closed, b.closed)
	}
	if _, _, err := p.Get("a", ""); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestFailuresTellNoSecret(t *testing.T) {
	t.Parallel()
	const secret = "p@ss/word%"
	refused := &netguard.RefusedError{Target: "10.0.0.1:5672", Why: "address is private"}
	_, lookup := netip.ParseAddr("nonsense")
	for name, tc := range map[string]struct {
		err  error
		want string
		held bool
	}{
		"refused":  {fmt.Errorf("dial: %w", refused), refused.Error(), true},
		"timeout":  {fmt.Errorf("x %s: %w", secret, context.DeadlineExceeded), "timed out", false},
		"canceled": {context.Canceled, "broken off", false},
		"network":  {fmt.Errorf("%s: %w", secret, &net.OpError{Op: "dial", Net: "tcp", Err: lookup}), "dial tcp: " + lookup.Error(), false},
		"url":      {&url.Error{Op: "Post", URL: "http://u:" + secret + "@h", Err: errors.New("EOF")}, "EOF", false},
		"plain":    {errors.New("no " + secret + " here, nor " + url.QueryEscape(secret)), "no [redacted] here, nor [redacted]", false},
		"userinfo": {errors.New(url.UserPassword("me", secret).String()), "me:[redacted]", false},
		"long":     {errors.New(strings.Repeat("ä", maxReason)), strings.Repeat("ä", maxReason/2), false},
	} {
		res := Failure(tc.err, secret)
		if res.OK() || res.Held != tc.held || res.Err == nil || res.Err.Error() != tc.want {
			t.Errorf("%s: %+v, want %q", name, res, tc.want)
		}
	}
}
