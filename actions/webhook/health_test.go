package webhook

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/netguard"
)

func TestHealthSpeaksWhenItChanges(t *testing.T) {
	t.Parallel()
	var h health
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, step := range []struct {
		ok   bool
		at   time.Duration
		want bool
	}{
		{true, 0, false},
		{false, time.Second, true},
		{false, 2 * time.Second, false},
		{true, 3 * time.Second, true},
		{true, 4 * time.Second, false},
		{false, 5 * time.Second, false}, // within the pause: a flapping receiver fills no log
		{true, 6 * time.Second, false},
		{false, 2 * time.Minute, true},
	} {
		if got := h.note(step.ok, start.Add(step.at)); got != step.want {
			t.Errorf("step %d: says something: %t, want %t", i, got, step.want)
		}
	}
}

func TestBriefNamesTheSettingAndNoURL(t *testing.T) {
	t.Parallel()
	refused := result{err: &url.Error{Op: "Post", URL: "http://10.0.0.1/hook?key=hidden", Err: &netguard.RefusedError{Target: "10.0.0.1:80", Why: "address is private"}}}
	broken := result{err: &url.Error{Op: "Post", URL: "http://example.org/hook?key=hidden", Err: errors.New("connection reset")}}
	if got := refused.brief(); !strings.Contains(got, "netguard.allow") || strings.Contains(got, "hidden") {
		t.Errorf("brief is %q", got)
	}
	if got := broken.brief(); got != "connection reset" {
		t.Errorf("brief is %q", got)
	}
}
