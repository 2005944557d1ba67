package web

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestETag(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 5, 10, 0, 0, 1, time.UTC)
	tag := etag(at, map[string]any{"a": 1})
	if tag != etag(at, map[string]any{"a": 1}) {
		t.Error("the same state has two tags")
	}
	if !strings.HasPrefix(tag, `"`) || !strings.HasSuffix(tag, `"`) || strings.ContainsAny(tag[1:len(tag)-1], `" ,\`) {
		t.Errorf("%s is no strong tag", tag)
	}
	for name, other := range map[string]string{
		"later":     etag(at.Add(1), map[string]any{"a": 1}),
		"different": etag(at, map[string]any{"a": 2}),
	} {
		if other == tag {
			t.Errorf("%s: the tag is the same", name)
		}
	}
}

func TestIfMatch(t *testing.T) {
	t.Parallel()
	const current = `"now"`
	for _, good := range []string{"", "*", current, `"old", "now"`, ` "now" `} {
		if err := ifMatch(good, current); err != nil {
			t.Errorf("If-Match: %s: %v", good, err)
		}
	}
	for _, bad := range []string{`"old"`, `W/"now"`, "now", `"old", "older"`} {
		var e *apiError
		if !errors.As(ifMatch(bad, current), &e) || e.StatusCode != http.StatusPreconditionFailed || e.Code != CodeConflict {
			t.Errorf("If-Match: %s is not refused with 412", bad)
		}
	}
}
