package web

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"stillwatch/internal/auth"
	"stillwatch/web/console"
)

func TestPages(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.ImageOrigins = []string{"https://img.example"} })
	for path, want := range map[string]struct {
		status           int
		contentType, has string
	}{
		"/":                           {302, "", ""},
		"/console":                    {301, "", ""},
		"/console/":                   {200, "text/html", "Live wall"},
		"/call/default/abc":           {200, "text/html", "Still pictures are taken"},
		"/assets/console/main.js":     {200, "text/javascript", "EventSource"},
		"/assets/console/console.css": {200, "text/css", "grayscale"},
		"/assets/call/main.js":        {200, "text/javascript", "/whip/"},
		"/assets/call/nope.js":        {404, "", ""},
		"/assets/call/../web.go":      {404, "", ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path = path
		a := b.send(r)
		if a.status != want.status || !strings.Contains(a.header.Get("Content-Type"), want.contentType) || !strings.Contains(string(a.raw), want.has) {
			t.Errorf("%s: %d %s", path, a.status, a.header.Get("Content-Type"))
		}
		if want.status != 200 {
			continue
		}
		csp := a.header.Get("Content-Security-Policy")
		if strings.Contains(csp, "unsafe") || !strings.Contains(csp, "script-src 'self'") || !strings.Contains(csp, "img-src 'self' https://img.example") {
			t.Errorf("%s: CSP %q", path, csp)
		}
		capture := strings.Contains(a.header.Get("Permissions-Policy"), "camera=(self)")
		if call := strings.Contains(path, "/call/"); capture != call {
			t.Errorf("%s: Permissions-Policy %q", path, a.header.Get("Permissions-Policy"))
		}
		again := httptest.NewRequest("GET", path, nil)
		again.Header.Set("If-None-Match", a.header.Get("ETag"))
		if a := b.send(again); a.status != http.StatusNotModified {
			t.Errorf("%s again: %d", path, a.status)
		}
	}
}

// What the content policy would refuse must not stand in a page, and scripts
// must not make markup out of strings.
func TestPagesKeepTheirPolicy(t *testing.T) {
	t.Parallel()
	inline := regexp.MustCompile(`(?i)<script(?:>|[^>]*[^/]>\s*[^<\s])|<style|\sstyle=|\son[a-z]+=|javascript:`)
	markup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(`)
	files := 0
	err := fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "/static/") {
			return err
		}
		files++
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		re := markup
		if strings.HasSuffix(path, ".html") {
			re = inline
		}
		if found := re.Find(body); found != nil {
			t.Errorf("%s has %q", path, found)
		}
		return nil
	})
	if err != nil || files < 8 {
		t.Fatalf("%d files, %v", files, err)
	}
}

func (b *bench) login(token string) (answer, *http.Cookie) {
	b.t.Helper()
	r := httptest.NewRequest("POST", "/console/login", reader(b.t, map[string]string{"token": token}))
	r.Header.Set("Content-Type", "application/json")
	a := b.send(r)
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == console.CookieName {
			return a, c
		}
	}
	return a, nil
}

func TestConsoleSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, cookie := b.login(b.user("mo", auth.RoleModerator))
	if a.status != http.StatusOK || cookie == nil || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Secure || cookie.Path != "/" {
		t.Fatalf("%d %s %+v", a.status, a.raw, cookie)
	}
	csrf := a.body["csrf"].(string)
	try := func(method, target, header string, withCookie bool) int {
		r := httptest.NewRequest(method, target, strings.NewReader(`{"target_user_id":"bob"}`))
		if withCookie {
			r.AddCookie(cookie)
		}
		r.Header.Set(console.CSRFHeader, header)
		return b.send(r).status
	}
	const frames, ban = ownPrefix + "frames?cid=default:abc", "/api/v2/moderation/ban"
	for _, tc := range []struct {
		method, target, header string
		cookie                 bool
		want                   int
	}{
		{"GET", "/console/session", "", true, 200},
		{"GET", "/console/session", "", false, 401},
		{"GET", frames, "", true, 200},
		{"GET", frames, csrf, false, 401},
		{"POST", ban, "", true, 403},
		{"POST", ban, csrf + "x", true, 403},
		{"POST", ban, csrf, true, 200},
		{"POST", ban, csrf, false, 401},
		{"GET", "/api/v2/app", "", true, 403}, // a moderator is no admin
		{"POST", "/console/logout", "", true, 403},
		{"POST", "/console/logout", csrf, true, 204},
		{"POST", "/console/logout", "", false, 204},
	} {
		if got := try(tc.method, tc.target, tc.header, tc.cookie); got != tc.want {
			t.Errorf("%s %s, CSRF %.4q, cookie %v: %d, want %d", tc.method, tc.target, tc.header, tc.cookie, got, tc.want)
		}
	}
	if got := b.actions.last(t); got.by != "mo" {
		t.Errorf("banned by %q", got.by)
	}
	b.now.Advance(auth.SessionLife)
	if got := try("GET", frames, "", true); got != 401 {
		t.Errorf("after twelve hours: %d", got)
	}
}

func TestConsoleLoginRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, tc := range map[string]struct {
		token string
		want  int
	}{
		"plain user": {b.user("bob", ""), 403},
		"server":     {b.auth.ServerToken(), 403},
		"one call":   {b.user("mo", auth.RoleModerator, "default:abc"), 403},
		"garbage":    {"zzz", 401},
		"empty":      {"", 401},
	} {
		if a, cookie := b.login(tc.token); a.status != tc.want || cookie != nil {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	token := b.user("mo", auth.RoleModerator)
	form := httptest.NewRequest("POST", "/console/login", strings.NewReader("token="+token))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.want(http.StatusForbidden, b.send(form))
	cross := httptest.NewRequest("POST", "/console/login", reader(t, map[string]string{"token": token}))
	cross.Header.Set("Content-Type", "application/json")
	cross.Header.Set("Origin", "https://evil.example")
	b.want(http.StatusForbidden, b.send(cross))
}

func TestSecureCookieBehindTLS(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.PublicURL = "https://watch.example" })
	a, cookie := b.login(b.user("mo", auth.RoleModerator))
	if cookie == nil || !cookie.Secure || a.header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%+v %v", cookie, a.header)
	}
}

func TestMounts(t *testing.T) {
	t.Parallel()
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Method + " " + r.URL.Path)) })
	b := newBench(t, func(c *Config) { c.WHIP, c.Blobs = echo, echo })
	if a := b.do("", "PATCH", "/whip/default/abc/1", nil); string(a.raw) != "PATCH /whip/default/abc/1" {
		t.Errorf("whip: %s", a.raw)
	}
	if a := b.do("", "GET", "/s/a/b.jpg", nil); string(a.raw) != "GET /s/a/b.jpg" {
		t.Errorf("blobs: %s", a.raw)
	}
	b.want(http.StatusNotFound, b.do("", "POST", "/whep/default/abc/bob", nil))
}
