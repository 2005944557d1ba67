package blob

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var testKey = []byte("0123456789abcdef0123456789abcdef")

// suite is what must hold on every kind of store.
var suite = map[string]func(t *testing.T, s *Store){
	"put, get, exists, delete":      testPutGet,
	"putting again replaces":        testReplace,
	"many at a time":                testConcurrent,
	"a stream that breaks":          testBrokenStream,
	"a stream":                      testStream,
	"reading as a stream":           testOpen,
	"keys that name something else": testBadKeys,
	"keys with odd characters":      testOddKeys,
	"listing":                       testList,
	"serving":                       testServe,
	"serving a part":                testServeRange,
	"serving what is gone":          testServeGone,
	"the store is reachable":        func(t *testing.T, s *Store) { noErr(t, s.Ready(t.Context())) },
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		runSuite(t, Config{URL: "file://" + t.TempDir()})
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		runSuite(t, Config{URL: "mem://"})
	})
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		s3 := testkit.MinIO(t)
		runSuite(t, Config{URL: s3.URL(), AccessKey: s3.AccessKey, SecretKey: s3.SecretKey})
	})
	t.Run("s3 with a prefix", func(t *testing.T) {
		t.Parallel()
		s3 := testkit.MinIO(t)
		url := strings.Replace(s3.URL(), s3.Bucket, s3.Bucket+"/some/prefix", 1)
		runSuite(t, Config{URL: url, AccessKey: s3.AccessKey, SecretKey: s3.SecretKey})
	})
}

func testOpen(t *testing.T, s *Store) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	sum := md5.Sum(body)
	noErr(t, s.Put(t.Context(), "open/large.bin", body, ""))
	o, err := s.Stat(t.Context(), "open/large.bin")
	noErr(t, err)
	if o.Size != int64(len(body)) || o.ModifiedAt.IsZero() || len(o.MD5) > 0 && !bytes.Equal(o.MD5, sum[:]) {
		t.Errorf("%+v", o)
	}
	r, err := s.Open(t.Context(), "open/large.bin")
	noErr(t, err)
	got, err := io.ReadAll(r)
	noErr(t, err)
	noErr(t, r.Close())
	if !bytes.Equal(got, body) {
		t.Errorf("%d bytes of %d", len(got), len(body))
	}
	_, statErr := s.Stat(t.Context(), "open/none")
	_, openErr := s.Open(t.Context(), "open/none")
	if !errors.Is(statErr, ErrNotFound) || !errors.Is(openErr, ErrNotFound) || Permanent(statErr) {
		t.Errorf("of what is not there: %v, %v", statErr, openErr)
	}
}

func runSuite(t *testing.T, cfg Config) {
	cfg.Key = testKey
	for name, test := range suite {
		t.Run(name, func(t *testing.T) { test(t, openStore(t, cfg)) })
	}
}

func openStore(t *testing.T, cfg Config) *Store {
	t.Helper()
	if cfg.Key == nil {
		cfg.Key = testKey
	}
	s, err := Open(t.Context(), cfg)
	noErr(t, err)
	t.Cleanup(func() { noErr(t, s.Close()) })
	return s
}

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unique keeps the tests of one bucket apart.
func unique(t *testing.T, parts ...string) string {
	return Key(append([]string{t.Name()}, parts...)...)
}

func testPutGet(t *testing.T, s *Store) {
	ctx, key := t.Context(), unique(t, "default:abc", "a.jpg")
	if _, err := s.Get(ctx, key); !errors.Is(err, ErrNotFound) {
		t.Errorf("getting what is not there: %v", err)
	}
	noErr(t, s.Delete(ctx, key))
	if ok, err := s.Exists(ctx, key); ok || err != nil {
		t.Errorf("exists %t, %v", ok, err)
	}
	for _, size := range []int{0, 1, 100_000, 6 << 20} {
		body := bytes.Repeat([]byte{0xff, 0xd8, 7}, size/3+1)[:size]
		noErr(t, s.Put(ctx, key, body, "image/jpeg"))
		got, err := s.Get(ctx, key)
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
	if ok, err := s.Exists(ctx, key); !ok || err != nil {
		t.Errorf("exists %t, %v", ok, err)
	}
	noErr(t, s.Delete(ctx, key))
	if ok, err := s.Exists(ctx, key); ok || err != nil {
		t.Errorf("after deleting: exists %t, %v", ok, err)
	}
}

func testReplace(t *testing.T, s *Store) {
	ctx, key := t.Context(), unique(t, "a.jpg")
	noErr(t, s.Put(ctx, key, []byte("a longer first version"), ""))
	noErr(t, s.Put(ctx, key, []byte("second"), ""))
	if got, err := s.Get(ctx, key); string(got) != "second" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func testConcurrent(t *testing.T, s *Store) {
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			key, body := unique(t, fmt.Sprint(i%10), fmt.Sprint(i)), []byte(fmt.Sprint("body", i))
			if err := s.Put(context.Background(), key, body, ""); err != nil {
				t.Error(err)
			}
			if got, err := s.Get(context.Background(), key); !bytes.Equal(got, body) || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	wg.Wait()
}

func testStream(t *testing.T, s *Store) {
	key, body := unique(t, "a.bin"), bytes.Repeat([]byte("0123456789"), 1_200_000)
	noErr(t, s.PutFrom(t.Context(), key, bytes.NewReader(body), ""))
	if got, err := s.Get(t.Context(), key); !bytes.Equal(got, body) || err != nil {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func testBrokenStream(t *testing.T, s *Store) {
	key := unique(t, "a.bin")
	broken := io.MultiReader(strings.NewReader("the first part"), iotest.ErrReader(errors.New("on purpose")))
	if err := s.PutFrom(t.Context(), key, broken, ""); err == nil {
		t.Error("the failure was swallowed")
	}
	if ok, err := s.Exists(t.Context(), key); ok || err != nil {
		t.Errorf("half an object is there: %t, %v", ok, err)
	}
}

var badKeys = []string{
	"", "/", "/etc/passwd", "..", ".", "../x", "a/../b", "a/..", "a//b", "a/", "./a", "a\\b", "a\x00b", "a\nb",
	"\xff", strings.Repeat("a", 513),
}

func testBadKeys(t *testing.T, s *Store) {
	ctx := t.Context()
	for _, key := range badKeys {
		_, getErr := s.Get(ctx, key)
		_, existsErr := s.Exists(ctx, key)
		for what, err := range map[string]error{
			"put": s.Put(ctx, key, nil, ""), "get": getErr, "delete": s.Delete(ctx, key), "exists": existsErr,
			"put from": s.PutFrom(ctx, key, strings.NewReader(""), ""),
		} {
			if !errors.Is(err, ErrBadKey) {
				t.Errorf("%s %q: %v", what, key, err)
			}
		}
	}
}

func testOddKeys(t *testing.T, s *Store) {
	ctx := t.Context()
	parts := []string{"..", ".", "", "a/b", "ä ö", "%2e%2e", "a=2F", "?x=y#z", "con:x", ".hidden", "\x00\xff", "a+b&c"}
	seen := map[string]string{}
	for _, p := range parts {
		key := unique(t, "user", p, "f.jpg")
		if other, dup := seen[key]; dup {
			t.Errorf("%q and %q have one key", p, other)
		}
		seen[key] = p
		noErr(t, s.Put(ctx, key, []byte(p), ""))
	}
	for key, p := range seen {
		if got, err := s.Get(ctx, key); string(got) != p || err != nil {
			t.Errorf("%q: got %q, %v", p, got, err)
		}
		w := serve(s, http.MethodGet, s.SignGet(key, time.Now().Add(time.Hour)), nil)
		if w.Code != http.StatusOK || w.Body.String() != p {
			t.Errorf("%q served: %d", p, w.Code)
		}
	}
}

func serve(s *Store, method, target string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func testServe(t *testing.T, s *Store) {
	for name, typ := range map[string]string{
		"a.jpg": "image/jpeg", "a.json": "application/json", "a.html": "application/octet-stream",
		"a.svg": "application/octet-stream", "a": "application/octet-stream", "a.mp4": "video/mp4",
	} {
		key := unique(t, name)
		noErr(t, s.Put(t.Context(), key, []byte("<script>alert(1)</script>"), ""))
		url := s.SignGet(key, time.Now().Add(time.Hour))
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			w := serve(s, method, url, nil)
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != typ || w.Header().Get("Content-Length") != "25" {
				t.Errorf("%s %s: %d %v", method, name, w.Code, w.Header())
			}
			if want := map[string]int{http.MethodGet: 25, http.MethodHead: 0}[method]; w.Body.Len() != want {
				t.Errorf("%s %s: %d bytes, want %d", method, name, w.Body.Len(), want)
			}
			for k, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store", "Referrer-Policy": "no-referrer",
				"Content-Security-Policy": "default-src 'none'; sandbox",
			} {
				if got := w.Header().Get(k); got != want {
					t.Errorf("%s is %q, want %q", k, got, want)
				}
			}
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
			if w := serve(s, method, url, nil); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s: %d", method, w.Code)
			}
		}
	}
}

func testServeRange(t *testing.T, s *Store) {
	key := unique(t, "a.mp4")
	noErr(t, s.Put(t.Context(), key, []byte("0123456789"), ""))
	url := s.SignGet(key, time.Now().Add(time.Hour))
	for asked, want := range map[string]string{"bytes=2-4": "234", "bytes=-3": "789", "bytes=8-": "89"} {
		w := serve(s, http.MethodGet, url, http.Header{"Range": {asked}})
		if w.Code != http.StatusPartialContent || w.Body.String() != want {
			t.Errorf("%s: %d %q, want %q", asked, w.Code, w.Body, want)
		}
	}
	if w := serve(s, http.MethodGet, url, http.Header{"Range": {"bytes=10-"}}); w.Code != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("beyond the end: %d", w.Code)
	}
}

func testServeGone(t *testing.T, s *Store) {
	if w := serve(s, http.MethodGet, s.SignGet(unique(t, "gone.jpg"), time.Now().Add(time.Hour)), nil); w.Code != http.StatusNotFound {
		t.Errorf("%d", w.Code)
	}
}

func TestFolderHoldsTheObjectsAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openStore(t, Config{URL: "file://" + dir})
	for i := range 5 {
		noErr(t, s.Put(t.Context(), Key("frames", fmt.Sprint(i), "x.jpg"), []byte("x"), "image/jpeg"))
	}
	var files []string
	noErr(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !e.IsDir() {
			files = append(files, path)
		} else if info, _ := e.Info(); path != dir && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %s", path, info.Mode())
		}
		return nil
	}))
	if len(files) != 5 {
		t.Errorf("5 objects are %d files: %v", len(files), files)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{
		{URL: "file:///tmp/x", Key: []byte("short")},
		{URL: "file:///tmp/x"},
		{URL: "file://", Key: testKey},
		{URL: "ftp://x", Key: testKey},
		{URL: "s3://", Key: testKey},
		{URL: "::", Key: testKey},
		{URL: "mem://", Key: testKey, PreviousKey: []byte("short")},
	} {
		if s, err := Open(t.Context(), cfg); err == nil {
			s.Close()
			t.Errorf("Open(%+v) passed", cfg)
		}
	}
}

func TestBucketThatIsNotThere(t *testing.T) {
	t.Parallel()
	s3 := testkit.MinIO(t)
	s := openStore(t, Config{
		URL: strings.Replace(s3.URL(), s3.Bucket, "no-such-bucket", 1), AccessKey: s3.AccessKey, SecretKey: s3.SecretKey,
	})
	if err := s.Ready(t.Context()); err == nil {
		t.Error("it is ready")
	}
	if err := s.Put(t.Context(), "a.jpg", []byte("x"), ""); err == nil {
		t.Error("it took an object")
	}
}

func BenchmarkPutFolder(b *testing.B) {
	s, err := Open(b.Context(), Config{URL: "file://" + b.TempDir(), Key: testKey})
	noErr(b, err)
	defer s.Close()
	body := make([]byte, 100_000)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		noErr(b, s.Put(b.Context(), Key("frames", "default:a", fmt.Sprint(n)+".jpg"), body, "image/jpeg"))
	}
}

func BenchmarkSignGet(b *testing.B) {
	s, err := Open(b.Context(), Config{URL: "mem://", Key: testKey})
	noErr(b, err)
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		_ = s.SignGet("frames/default:a/u/1.jpg", time.Unix(1_767_607_322, 0))
	}
}

func BenchmarkPutBare(b *testing.B) {
	dir, body, n := b.TempDir(), make([]byte, 100_000), 0
	for b.Loop() {
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		noErr(b, os.WriteFile(path+".tmp", body, 0o600))
		noErr(b, os.Rename(path+".tmp", path))
	}
}

func testList(t *testing.T, s *Store) {
	ctx, top := t.Context(), unique(t)+"/"
	if got, err := s.Folders(ctx, top); len(got) != 0 || err != nil {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	noErr(t, s.Tidy(top))
	want := []string{top + "2026-01-05/a/b/1.jpg", top + "2026-01-05/a/b/2.jpg", top + "2026-01-06/c/3.jpg"}
	for _, key := range want {
		noErr(t, s.Put(ctx, key, []byte("x"), ""))
	}
	if got, err := s.Folders(ctx, top); !slices.Equal(got, []string{top + "2026-01-05/", top + "2026-01-06/"}) || err != nil {
		t.Errorf("folders %v, %v", got, err)
	}
	list := func() (got []string) {
		t.Helper()
		noErr(t, s.List(ctx, top, func(key string) error { got = append(got, key); return nil }))
		return got
	}
	if got := list(); !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	stop := errors.New("enough")
	if err := s.List(ctx, top, func(string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	noErr(t, s.Delete(ctx, want[0]))
	noErr(t, s.Delete(ctx, want[1]))
	noErr(t, s.Tidy(top+"2026-01-05/"))
	noErr(t, s.Tidy(top+"2026-01-06/"))
	if got := list(); !slices.Equal(got, want[2:]) {
		t.Errorf("after tidying %v, want %v", got, want[2:])
	}
	if got, err := s.Folders(ctx, top); !slices.Equal(got, []string{top + "2026-01-06/"}) || err != nil {
		t.Errorf("folders after tidying %v, %v", got, err)
	}
	if err := s.Tidy("../x"); !errors.Is(err, ErrBadKey) {
		t.Errorf("tidying outside: %v", err)
	}
}
