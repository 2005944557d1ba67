package blob

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/testkit"
)

func signed(t *testing.T, clock *testkit.Clock) (s *Store, key, target string) {
	t.Helper()
	s = openStore(t, Config{URL: "mem://", Now: clock.Now, PublicURL: "https://host/"})
	key = Key("frames", "default:abc", "bob", "1.jpg")
	noErr(t, s.Put(t.Context(), key, []byte("picture"), ""))
	full := s.SignGet(key, clock.Now().Add(time.Hour))
	target, ok := strings.CutPrefix(full, "https://host")
	if !ok || !strings.HasPrefix(target, "/s/frames/default:abc/bob/1.jpg?exp=") {
		t.Fatalf("the address is %s", full)
	}
	return s, key, target
}

// get serves a request whose target is just these bytes, as they would come
// over the wire; 403 stands for targets that HTTP itself refuses.
func get(s *Store, target string) int {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return http.StatusForbidden
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}})
	return w.Code
}

func TestEveryFlippedByteIsRefused(t *testing.T) {
	t.Parallel()
	s, _, target := signed(t, testkit.NewClock())
	if code := get(s, target); code != http.StatusOK {
		t.Fatalf("the address itself: %d", code)
	}
	for i := range target {
		for bit := range 8 {
			changed := []byte(target)
			changed[i] ^= 1 << bit
			// What stands behind "#" never reaches a server; the part
			// before it was cut off, so it is refused all the same.
			if code := get(s, string(changed)); code != http.StatusForbidden {
				t.Errorf("%q: %d", changed, code)
			}
		}
		if code := get(s, target[:i]+target[i+1:]); code != http.StatusForbidden {
			t.Errorf("without byte %d: %d", i, code)
		}
	}
}

func TestSignatureEndsOnTime(t *testing.T) {
	t.Parallel()
	clock := testkit.NewClock()
	s, _, target := signed(t, clock)
	clock.Advance(time.Hour - time.Second)
	if code := get(s, target); code != http.StatusOK {
		t.Errorf("a second before its end: %d", code)
	}
	clock.Advance(time.Second)
	if code := get(s, target); code != http.StatusForbidden {
		t.Errorf("at its end: %d", code)
	}
}

func TestSignatureOpensItsOwnObjectAlone(t *testing.T) {
	t.Parallel()
	clock := testkit.NewClock()
	s, key, target := signed(t, clock)
	other := Key("frames", "default:abc", "eve", "1.jpg")
	noErr(t, s.Put(t.Context(), other, []byte("other"), ""))
	if code := get(s, strings.Replace(target, key, other, 1)); code != http.StatusForbidden {
		t.Errorf("another object: %d", code)
	}
	_, query, _ := strings.Cut(target, "?")
	for _, path := range []string{
		"/s/" + other, "/s/x/../" + key, "/s/frames/default:abc/bob/../bob/1.jpg", "/s//" + key, "/s/./" + key,
		"/s/frames/default:abc/bob/%31.jpg", "/s/frames/default:abc/%62ob/1.jpg", "/s/frames%2Fdefault:abc/bob/1.jpg",
		"/s/frames/default%3Aabc/bob/1.jpg", "/s/%2e%2e/%2e%2e/etc/passwd", "/s/%252e%252e/etc/passwd",
		"/s/..%2f..%2fetc/passwd", "/s/..\\..\\etc", "/s/", "/s", "/", "/S/" + key, "/s/" + key + "/", "/s/" + key + "%00",
		"/x/s/" + key, "/s/" + strings.Repeat("a/", 3000) + key,
	} {
		if code := get(s, path+"?"+query); code != http.StatusForbidden {
			t.Errorf("%.80s: %d", path, code)
		}
	}
	for _, q := range []string{
		"", query + "&x=1", "x=1&" + query, query + "&exp=9999999999", "exp=9999999999&" + query,
		strings.Replace(query, "exp=", "exp=0", 1), strings.Replace(query, "exp=", "exp=%2b", 1),
		strings.Replace(query, "sig=", "sig=&sig=", 1), strings.Replace(query, "&", ";", 1), query + "=", query + "&",
		strings.Replace(query, "kid=", "kid=00000000&kid=", 1),
	} {
		if code := get(s, "/s/"+key+"?"+q); code != http.StatusForbidden {
			t.Errorf("query %s: %d", q, code)
		}
	}
}

func TestAnotherStoresSignatureIsRefused(t *testing.T) {
	t.Parallel()
	clock := testkit.NewClock()
	_, key, _ := signed(t, clock)
	theirs := openStore(t, Config{URL: "mem://", Key: []byte("another key, another key"), Now: clock.Now})
	s, _, _ := signed(t, clock)
	if code := get(s, theirs.SignGet(key, clock.Now().Add(time.Hour))); code != http.StatusForbidden {
		t.Errorf("%d", code)
	}
}

func TestRotatedKeyStillOpensOldAddresses(t *testing.T) {
	t.Parallel()
	clock := testkit.NewClock()
	oldKey, newKey := []byte("the old key, the old key"), []byte("the new key, the new key")
	dir := "file://" + t.TempDir()
	before := openStore(t, Config{URL: dir, Key: oldKey, Now: clock.Now})
	noErr(t, before.Put(t.Context(), "a.jpg", []byte("x"), ""))
	old := before.SignGet("a.jpg", clock.Now().Add(time.Hour))
	during := openStore(t, Config{URL: dir, Key: newKey, PreviousKey: oldKey, Now: clock.Now})
	after := openStore(t, Config{URL: dir, Key: newKey, Now: clock.Now})
	fresh := during.SignGet("a.jpg", clock.Now().Add(time.Hour))
	for _, c := range []struct {
		name   string
		s      *Store
		target string
		want   int
	}{
		{"old address, both keys", during, old, 200},
		{"new address, both keys", during, fresh, 200},
		{"new address, new key", after, fresh, 200},
		{"old address, new key", after, old, 403},
		{"new address, old key", before, fresh, 403},
	} {
		if code := get(c.s, c.target); code != c.want {
			t.Errorf("%s: %d, want %d", c.name, code, c.want)
		}
	}
}

func TestKeyEscapes(t *testing.T) {
	t.Parallel()
	if got, want := Key("frames", "default:a-b_c", "a@b.c"), "frames/default:a-b_c/a@b.c"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := Key("..", "a/b", "", ".x"); got != "=2E./a=2Fb/=/=2Ex" || CheckKey(got) != nil {
		t.Errorf("got %s", got)
	}
}

// FuzzVerify feeds targets from outside: only the one that was signed opens.
func FuzzVerify(f *testing.F) {
	s := signer{}
	var err error
	if s, err = newSigner(Config{Key: testKey}); err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1_767_607_322, 0)
	good := s.keys[0].target("frames/a/1.jpg", now.Unix()+60)
	path, query, _ := strings.Cut(good, "?")
	f.Add(path, query)
	f.Add("/s/..%2f", "exp=1&kid=&sig=")
	f.Add("/s/%zz", "exp=99999999999999999999")
	f.Fuzz(func(t *testing.T, p, q string) {
		if key, ok := s.verify(p, q, now); ok && (p != path || q != query) {
			t.Errorf("%q?%q opened %q", p, q, key)
		}
	})
}

// FuzzKey: whatever the parts are, the key is a clean one of as many parts.
func FuzzKey(f *testing.F) {
	f.Add("..", "a/b")
	f.Add("\x00", "ä")
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a)+len(b) > 150 {
			t.Skip("longer than a key may be")
		}
		key := Key(a, b)
		if err := CheckKey(key); err != nil || strings.Count(key, "/") != 1 {
			t.Errorf("Key(%q, %q) = %q: %v", a, b, key, err)
		}
		if a != b && Key(a) == Key(b) {
			t.Errorf("%q and %q have one key", a, b)
		}
	})
}
