package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
)

func TestErrorShape(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	server := b.auth.ServerToken()
	big := strings.Repeat("x", MaxBody+1)
	for name, tc := range map[string]struct {
		method, target string
		body           any
		status, code   int
	}{
		"no such path":   {"GET", "/api/v2/nope", nil, 404, CodeNotFound},
		"no such method": {"DELETE", "/api/v2/app", nil, 405, CodeMethod},
		"too large":      {"POST", "/api/v2/users", big, 413, CodeTooLarge},
		"not JSON":       {"POST", "/api/v2/users", "{", 400, CodeInput},
		"null byte":      {"POST", "/api/v2/users", "\x00", 400, CodeInput},
		"null in path":   {"GET", moderationPrefix + "/queues/%00", nil, 400, CodeInput},
		"null in query":  {"GET", ownPrefix + "hooks/h/deliveries?event_type=%00", nil, 400, CodeInput},
		"not UTF-8":      {"GET", moderationPrefix + "/queues/%ff", nil, 400, CodeInput},
	} {
		a := b.do(server, tc.method, tc.target, tc.body)
		if a.status != tc.status || a.body["code"] != float64(tc.code) {
			t.Errorf("%s: %d %.200s", name, a.status, a.raw)
			continue
		}
		for _, field := range []string{"message", "StatusCode", "status_code", "duration", "more_info", "exception_fields", "details", "unrecoverable"} {
			if _, ok := a.body[field]; !ok {
				t.Errorf("%s: no %q in %s", name, field, a.raw)
			}
		}
	}
}

// A body without a length is cut off while it is read.
func TestOversizeStream(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := httptest.NewRequest("POST", "/api/v2/users?api_key=key", strings.NewReader(strings.Repeat(" ", MaxBody+1)))
	r.ContentLength = -1
	r.Header.Set("Authorization", b.auth.ServerToken())
	if a := b.send(r); a.status != http.StatusRequestEntityTooLarge || a.body["code"] != float64(CodeTooLarge) {
		t.Errorf("%d %s", a.status, a.raw)
	}
}

func TestInternalErrorsStayInside(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.actions.err = fmt.Errorf("secret detail")
	a := b.server(http.StatusInternalServerError, "POST", "/api/v2/moderation/ban", `{"target_user_id":"bob"}`)
	if strings.Contains(string(a.raw), "secret") || a.body["code"] != float64(CodeInternal) {
		t.Errorf("%s", a.raw)
	}
	b.echo.GET("/panic", func(echo.Context) error { panic("secret detail") })
	p := b.do("", "GET", "/panic", nil)
	if p.status != http.StatusInternalServerError || strings.Contains(string(p.raw), "secret") {
		t.Errorf("panic: %d %s", p.status, p.raw)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := httptest.NewRequest("GET", "/api/v2/app?api_key=key", nil)
	r.Header.Set("Authorization", b.auth.ServerToken())
	r.Header.Set("X-Request-Id", "mine-1")
	a := b.want(http.StatusOK, b.send(r))
	for name, want := range map[string]string{
		"X-Request-Id": "mine-1", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Cache-Control": "no-store", "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("CSP %q", csp)
	}
	r.Header.Set("X-Request-Id", "bad\nid")
	if id := b.send(r).header.Get("X-Request-Id"); len(id) != 36 {
		t.Errorf("a bad request id became %q", id)
	}
	pre := httptest.NewRequest("OPTIONS", "/api/v2/app", nil)
	if a := b.send(pre); a.status != http.StatusNoContent || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	broken := false
	b := newBench(t, func(c *Config) {
		c.Checks = map[string]func(context.Context) error{"bus": func(context.Context) error {
			if broken {
				return fmt.Errorf("secret detail")
			}
			return nil
		}}
	})
	b.want(http.StatusOK, b.do("", "GET", "/healthz", nil))
	if a := b.want(http.StatusOK, b.do("", "GET", "/readyz", nil)); a.body["bus"] != "ok" || a.body["database"] != "ok" {
		t.Errorf("%s", a.raw)
	}
	broken = true
	if a := b.want(http.StatusServiceUnavailable, b.do("", "GET", "/readyz", nil)); a.body["bus"] != "failed" || strings.Contains(string(a.raw), "secret") {
		t.Errorf("%s", a.raw)
	}
	if m := b.do("", "GET", "/metrics", nil); m.status != http.StatusOK || !strings.Contains(string(m.raw), `stillwatch_http_request_seconds_count{method="GET",route="/readyz",status="503"} 1`) {
		t.Errorf("metrics: %d %.400s", m.status, m.raw)
	}
}

// Every code stands on the page that more_info names, and in the document.
func TestCodesAreDocumented(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	page := string(b.do("", "GET", errorsPath, nil).raw)
	doc, err := os.ReadFile("../docs/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range codeTable {
		if !strings.Contains(page, fmt.Sprintf(`id="%d"`, row.code)) {
			t.Errorf("code %d is not on the page", row.code)
		}
		if !strings.Contains(string(doc), fmt.Sprintf("| %d | %d |", row.code, row.status)) {
			t.Errorf("code %d is not in docs/PROTOCOL.md", row.code)
		}
	}
}

// TestInternalErrorsAreLogged: what the caller is not told stands in the log.
func TestInternalErrorsAreLogged(t *testing.T) {
	t.Parallel()
	log := &lastError{}
	b := newBench(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError}))
	})
	b.actions.err = fmt.Errorf("secret detail")
	a := b.server(http.StatusInternalServerError, "POST", "/api/v2/moderation/ban", `{"target_user_id":"bob"}`)
	if id := a.header.Get("X-Request-Id"); !strings.Contains(log.text, "secret detail") || !strings.Contains(log.text, id) {
		t.Errorf("logged %q for request %s", log.text, id)
	}
}

// TestEscapedPath: clients may escape more than they must.
func TestEscapedPath(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.server(http.StatusCreated, "POST", "/api/v2/video/call/default/%61%21%7Eb", `{"data":{"created_by_id":"alice"}}`)
	if call := a.body["call"].(map[string]any); call["id"] != "a!~b" {
		t.Errorf("made %v", call["id"])
	}
	b.server(http.StatusOK, "GET", "/api/v2/video/call/default/a!~b", nil)
}

// TestMissingBodyIsAnEmptyObject: what is required of the one is required of
// the other, and where nothing is required both will do.
func TestMissingBodyIsAnEmptyObject(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, body := range []any{nil, "", " \n", "{}"} {
		a := b.server(http.StatusBadRequest, "POST", moderationPrefix+"/custom_check", body)
		if fields := a.body["exception_fields"].(map[string]any); fields["entity_id"] != "is missing" || fields["flags"] != "is missing" {
			t.Errorf("body %q: %s", body, a.raw)
		}
		b.server(http.StatusOK, "POST", "/api/v2/video/calls", body)
	}
}
