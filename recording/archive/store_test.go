package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"stillwatch/internal/blob"
	"stillwatch/internal/netguard"
	"stillwatch/internal/storage"
	"stillwatch/internal/testkit"
)

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stores are object stores by name, with faults to order.
type stores struct {
	byName map[string]*blob.Store
	// fault may fail an operation: "upload", "stat", "open". Cut breaks an
	// upload after so many bytes; flip changes the bytes that arrive.
	fault   func(op, ref string) error
	cut     func() int64
	flip    bool
	uploads atomic.Int64
}

func newStores(t *testing.T, names ...string) *stores {
	t.Helper()
	s := &stores{byName: map[string]*blob.Store{}}
	for _, name := range append(names, "") {
		b, err := blob.Open(t.Context(), blob.Config{URL: "file://" + t.TempDir(), Key: make([]byte, 32)})
		noErr(t, err)
		t.Cleanup(func() { _ = b.Close() })
		s.byName[name] = b
	}
	return s
}

func (s *stores) at(op, ref string) (*blob.Store, string, error) {
	if s.fault != nil {
		if err := s.fault(op, ref); err != nil {
			return nil, "", err
		}
	}
	name, key, _ := storage.Split(ref)
	b, ok := s.byName[name]
	if !ok {
		return nil, "", storage.ErrUnknown
	}
	return b, key, nil
}

func (s *stores) Upload(ctx context.Context, ref string, r io.Reader, contentType string) error {
	s.uploads.Add(1)
	b, key, err := s.at("upload", ref)
	if err != nil {
		return err
	}
	if s.cut != nil {
		if n := s.cut(); n >= 0 {
			r = io.MultiReader(io.LimitReader(r, n), iotest.ErrReader(errors.New("connection reset")))
		}
	}
	if s.flip {
		body, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		body[len(body)/2] ^= 1
		r = strings.NewReader(string(body))
	}
	return b.PutFrom(ctx, key, r, contentType)
}

func (s *stores) Open(ctx context.Context, ref string) (io.ReadCloser, error) {
	b, key, err := s.at("open", ref)
	if err != nil {
		return nil, err
	}
	return b.Open(ctx, key)
}

func (s *stores) Stat(ctx context.Context, ref string) (blob.Object, error) {
	b, key, err := s.at("stat", ref)
	if err != nil {
		return blob.Object{}, err
	}
	return b.Stat(ctx, key)
}

func (s *stores) Delete(ctx context.Context, ref string) error {
	b, key, err := s.at("delete", ref)
	if err != nil {
		return err
	}
	return b.Delete(ctx, key)
}

func (s *stores) keys(t *testing.T, name string) (keys []string) {
	t.Helper()
	noErr(t, s.byName[name].List(t.Context(), "", func(key string) error {
		keys = append(keys, key)
		return nil
	}))
	return keys
}

func file(t *testing.T, dir, name string, size int) string {
	t.Helper()
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	full := filepath.Join(dir, name)
	noErr(t, os.WriteFile(full, body, 0o600))
	return full
}

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	cfg.Backoff = time.Microsecond
	s, err := Open(cfg)
	noErr(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestFilesAreStoredOnce(t *testing.T) {
	t.Parallel()
	dir, objects := t.TempDir(), newStores(t)
	journal := filepath.Join(dir, "journal")
	a := File{Path: file(t, dir, "a.mp4", 300_000), Key: "rec/a.mp4"}
	b := File{Path: file(t, dir, "b.json", 0), Key: "rec/b.json"}
	s := open(t, Config{Objects: objects, Journal: journal})
	first, err := s.PutAll(t.Context(), []File{a, b})
	noErr(t, err)
	want, err := fileSums(a.Path)
	noErr(t, err)
	if got := first[0]; got.Key != "rec/a.mp4" || got.Ref != "rec/a.mp4" || got.Size != 300_000 || got.SHA256 != want.sha() || got.MD5 != want.md() || got.PlainSHA256 != want.sha() || got.Existing {
		t.Errorf("%+v", got)
	}
	if item := first[0].Item(); item.Key != "rec/a.mp4" || item.Checksum.SHA256 != want.sha() || item.Checksum.ETag != want.md() {
		t.Errorf("%+v", item)
	}
	noErr(t, s.Close())
	for _, path := range []string{journal, "", filepath.Join(dir, "other")} { // with and without the journal
		again, err := open(t, Config{Objects: objects, Journal: path}).PutAll(t.Context(), []File{a, b})
		if err != nil || !again[0].Existing || !again[1].Existing || again[0].SHA256 != want.sha() || again[0].Key != "rec/a.mp4" {
			t.Errorf("%q: %+v, %v", path, again, err)
		}
	}
	if objects.uploads.Load() != 2 || len(objects.keys(t, "")) != 2 {
		t.Errorf("%d uploads, %v", objects.uploads.Load(), objects.keys(t, ""))
	}
	// What is gone from the store is sent again.
	noErr(t, objects.byName[""].Delete(t.Context(), "rec/a.mp4"))
	if _, err := open(t, Config{Objects: objects, Journal: journal}).Put(t.Context(), a); err != nil || objects.uploads.Load() != 3 {
		t.Error(err)
	}
}

func TestTakenNamesAreNumberedAndReplacedOnlyOnDemand(t *testing.T) {
	t.Parallel()
	dir, objects := t.TempDir(), newStores(t)
	noErr(t, objects.byName[""].Put(t.Context(), "rec/a.mp4", []byte("of another call"), ""))
	f := File{Path: file(t, dir, "a.mp4", 1000), Key: "rec/a.mp4"}
	s := open(t, Config{Objects: objects})
	got, err := s.Put(t.Context(), f)
	if err != nil || got.Key != "rec/a-2.mp4" {
		t.Fatalf("%+v, %v", got, err)
	}
	f.Replace = true
	if got, err = open(t, Config{Objects: objects}).Put(t.Context(), f); err != nil || got.Key != "rec/a.mp4" || len(objects.keys(t, "")) != 2 {
		t.Errorf("%+v, %v, %v", got, err, objects.keys(t, ""))
	}
}

func TestAStoreThatIsDown(t *testing.T) {
	t.Parallel()
	dir, objects := t.TempDir(), newStores(t, "first")
	f := File{Path: file(t, dir, "a.mp4", 1000), Key: "a.mp4"}
	down := errors.New("connection refused")
	objects.fault = func(_, ref string) error {
		if strings.HasPrefix(ref, "@first/") {
			return down
		}
		return nil
	}
	s := open(t, Config{Objects: objects, Storages: []string{"first", ""}, Tries: 3, Journal: filepath.Join(dir, "j")})
	if _, err := s.Put(t.Context(), f); !errors.Is(err, ErrStoreDown) || !errors.Is(err, down) || len(objects.keys(t, "")) != 0 {
		t.Errorf("%v, %v", err, objects.keys(t, ""))
	}
	if _, err := os.Stat(f.Path); err != nil {
		t.Error(err)
	}
	noErr(t, s.Close())
	last := open(t, Config{Objects: objects, Storages: []string{"first", ""}, Tries: 1, DownIsRefusal: true})
	if got, err := last.Put(t.Context(), f); err != nil || got.Storage != "" || len(objects.keys(t, "")) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	objects.fault = func(string, string) error { return down }
	all := open(t, Config{Objects: objects, Storages: []string{"first", ""}, Tries: 1, DownIsRefusal: true})
	if _, err := all.Put(t.Context(), f); !errors.Is(err, ErrStoreDown) {
		t.Error(err)
	}
	objects.fault = nil // up again: the same call continues
	s = open(t, Config{Objects: objects, Storages: []string{"first", ""}, Journal: filepath.Join(dir, "j")})
	if got, err := s.Put(t.Context(), f); err != nil || got.Ref != "@first/a.mp4" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWhatBelongsTogetherLiesInOneStorage(t *testing.T) {
	t.Parallel()
	dir, objects := t.TempDir(), newStores(t, "first")
	var files []File
	for _, name := range []string{"index.m3u8", "a.ts", "b.ts"} {
		files = append(files, File{Path: file(t, dir, name, 1000), Key: "hls/" + name})
	}
	objects.fault = func(op, ref string) error {
		if op == "upload" && ref == "@first/hls/b.ts" {
			return fs.ErrPermission // its quota is used up
		}
		return nil
	}
	s := open(t, Config{Objects: objects, Storages: []string{"first", ""}, Journal: filepath.Join(dir, "j")})
	for range 2 {
		got, err := s.PutTogether(t.Context(), files)
		if err != nil || len(got) != 3 {
			t.Fatal(err)
		}
		for _, g := range got {
			if g.Storage != "" {
				t.Errorf("%+v", g)
			}
		}
	}
	if first, own := objects.keys(t, "first"), objects.keys(t, ""); len(first) != 0 || len(own) != 3 {
		t.Errorf("%v in the first, %v in our own", first, own)
	}
}

// What another recording had put in a storage stays there when this one goes
// elsewhere, also when it is found by a process and left by the next.
func TestWhatIsAnothersStaysWhenOursGoesElsewhere(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{false, true} {
		dir, objects := t.TempDir(), newStores(t, "first")
		files := []File{{Path: file(t, dir, "a.mp4", 1000), Key: "rec/a.mp4"}, {Path: file(t, dir, "b.mp4", 2000), Key: "rec/b.mp4"}, {Path: file(t, dir, "c.mp4", 3000), Key: "rec/c.mp4"}}
		other := open(t, Config{Objects: objects, Storages: []string{"first"}})
		if _, err := other.Put(t.Context(), files[0]); err != nil {
			t.Fatal(err)
		}
		cfg := Config{Objects: objects, Storages: []string{"first", ""}, Journal: filepath.Join(dir, "j"), Tries: 1}
		objects.fault = func(op, ref string) error {
			switch {
			case op != "upload" || ref != "@first/rec/c.mp4":
				return nil
			case again:
				return errors.New("away")
			}
			return fs.ErrPermission
		}
		s := open(t, cfg)
		if again { // the first process finds it, the second leaves
			if _, err := s.PutTogether(t.Context(), files); !errors.Is(err, ErrStoreDown) {
				t.Fatal(err)
			}
			noErr(t, s.Close())
			again = false
			s = open(t, cfg)
		}
		got, err := s.PutTogether(t.Context(), files)
		if err != nil || len(got) != 3 || got[0].Storage != "" {
			t.Fatalf("%+v, %v", got, err)
		}
		if first := objects.keys(t, "first"); len(first) != 1 || first[0] != "rec/a.mp4" {
			t.Errorf("%v in the first", first)
		}
	}
}

// s3 is an S3 server that answers everything with one status.
func s3(t *testing.T, status *atomic.Int64, code string) *blob.Store {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(int(status.Load()))
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
		}
	}))
	t.Cleanup(srv.Close)
	guard := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(func() { _ = guard.Close() })
	b, err := blob.OpenExternal(t.Context(), blob.External{
		Kind: blob.KindS3, Bucket: "recordings", AccessKey: "k", SecretKey: "hunter2", Endpoint: srv.URL, HTTP: guard.HTTPClient(),
	})
	noErr(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestWhatAServerAnswersIsTakenForWhatItIs(t *testing.T) {
	t.Parallel()
	dir, objects := t.TempDir(), newStores(t)
	f := File{Path: file(t, dir, "a.mp4", 1000), Key: "a.mp4"}
	var busy, forbids atomic.Int64
	busy.Store(http.StatusServiceUnavailable)
	forbids.Store(http.StatusForbidden)
	objects.byName["busy"] = s3(t, &busy, "SlowDown")
	objects.byName["forbids"] = s3(t, &forbids, "AccessDenied")

	if _, err := open(t, Config{Objects: objects, Storages: []string{"busy", ""}, Tries: 2}).Put(t.Context(), f); !errors.Is(err, ErrStoreDown) {
		t.Errorf("503: %v", err)
	}
	got, err := open(t, Config{Objects: objects, Storages: []string{"forbids", ""}}).Put(t.Context(), f)
	if err != nil || got.Storage != "" {
		t.Errorf("403, with a second: %+v, %v", got, err)
	}
	for _, name := range []string{"forbids", "unknown"} {
		var refused *Error
		_, err := open(t, Config{Objects: objects, Storages: []string{name}}).Put(t.Context(), f)
		if !errors.As(err, &refused) || refused.Class != Destinations || errors.Is(err, ErrStoreDown) || strings.Contains(refused.Reason, "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDamageOnTheWayIsFound(t *testing.T) {
	t.Parallel()
	dir, objects := t.TempDir(), newStores(t)
	objects.flip = true
	f := File{Path: file(t, dir, "a.mp4", 1000), Key: "a.mp4"}
	s := open(t, Config{Objects: objects, Tries: 2})
	if _, err := s.Put(t.Context(), f); !errors.Is(err, ErrStoreDown) || !strings.Contains(err.Error(), "other bytes") {
		t.Errorf("damage: %v", err)
	}
	objects.flip = false
	if got, err := s.Put(t.Context(), f); err != nil || got.Key != "a.mp4" || len(objects.keys(t, "")) != 1 {
		t.Errorf("the damaged object stays beside: %+v, %v", got, err)
	}
}

func TestOurOwnFailures(t *testing.T) {
	t.Parallel()
	objects := newStores(t)
	var e *Error
	s := open(t, Config{Objects: objects})
	if _, err := s.Put(t.Context(), File{Path: "/no/such/file", Key: "a"}); !errors.As(err, &e) || e.Class != Ours {
		t.Error(err)
	}
	if _, err := s.Put(t.Context(), File{Path: "/dev/null", Key: "../a"}); !errors.As(err, &e) || e.Class != Ours {
		t.Error(err)
	}
	if _, err := s.Put(t.Context(), File{Path: t.TempDir(), Key: "a"}); !errors.As(err, &e) || e.Class != Ours {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, File{Path: file(t, t.TempDir(), "a", 10), Key: "a"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if len(objects.keys(t, "")) != 0 {
		t.Errorf("%v", objects.keys(t, ""))
	}
}

// Whatever moment the program is killed at, in the end each file is there
// once, whole.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	for round := range 50 { // as many as the promise names
		dir, objects := t.TempDir(), newStores(t)
		journal := filepath.Join(dir, "journal")
		files := make([]File, 4)
		for i := range files {
			files[i] = File{Path: file(t, dir, fmt.Sprint(i), 20_000), Key: "rec/a.mp4"} // all of one name
		}
		for life := 0; ; life++ {
			ctx, kill := context.WithCancel(t.Context())
			left := rand.IntN(6)
			objects.fault = func(string, string) error {
				if left--; left < 0 {
					kill()
					return context.Canceled
				}
				return nil
			}
			objects.cut = func() int64 { return rand.Int64N(40_000) - 20_000 }
			if life > 20 {
				objects.fault, objects.cut = nil, nil
			}
			s, err := Open(Config{Objects: objects, Journal: journal, Tries: 1})
			noErr(t, err)
			_, err = s.PutAll(ctx, files)
			kill()
			noErr(t, s.Close())
			if err == nil {
				break
			}
			f, err := os.OpenFile(journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			noErr(t, err)
			_, _ = f.WriteString(`{"done":"torn`)
			_ = f.Close()
		}
		objects.fault, objects.cut = nil, nil
		found := map[string]int{}
		for _, key := range objects.keys(t, "") {
			body, err := objects.byName[""].Get(t.Context(), key)
			noErr(t, err)
			found[string(body)]++
		}
		for _, f := range files {
			body, _ := os.ReadFile(f.Path)
			if found[string(body)] != 1 || len(found) != len(files) {
				t.Fatalf("round %d: %s is there %d times; %v", round, f.Path, found[string(body)], objects.keys(t, ""))
			}
		}
	}
}

func TestABrokenJournalIsTold(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "journal")
	noErr(t, os.WriteFile(name, []byte("nonsense\n"), 0o600))
	if _, err := Open(Config{Journal: name}); err == nil {
		t.Error("it was read")
	}
}

// partedStores are stores whose S3 takes parts, as *storage.Stores are.
type partedStores struct{ *stores }

func (s partedStores) Parts(_ context.Context, ref string) (*blob.Parts, error) {
	b, key, err := s.at("parts", ref)
	if err != nil {
		return nil, err
	}
	return b.Parts(key)
}

// middle is a way to S3 that breaks after so many requests with a body that
// is a part.
func middle(t *testing.T, to string, breakAfter *atomic.Int64, parts *atomic.Int64) string {
	t.Helper()
	target, err := url.Parse(to)
	noErr(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target) // the signature is of the host that was asked
		r.Out.Host = r.In.Host
	}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.URL.Query().Has("partNumber") {
			if breakAfter.Add(-1) < 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			parts.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestLargeFilesGoOnWhereTheyWereCutOff(t *testing.T) {
	t.Parallel()
	m := testkit.MinIO(t)
	var breakAfter, parts atomic.Int64
	at := middle(t, m.Endpoint, &breakAfter, &parts)
	b, err := blob.OpenExternal(t.Context(), blob.External{
		Kind: blob.KindS3, Bucket: m.Bucket, Path: "deep/er", AccessKey: m.AccessKey, SecretKey: m.SecretKey, Endpoint: at, HTTP: guard(t, here),
	})
	noErr(t, err)
	t.Cleanup(func() { _ = b.Close() })
	objects := partedStores{&stores{byName: map[string]*blob.Store{"": b}}}
	dir := t.TempDir()
	cfg := Config{Objects: objects, Journal: filepath.Join(dir, "journal"), PartSize: blob.MinPart, Tries: 1}
	f := File{Path: file(t, dir, "l.mp4", 4*blob.MinPart+12345), Key: "rec/l.mp4"}
	for life, allowed := range []int64{2, 1} {
		breakAfter.Store(allowed)
		s := open(t, cfg)
		if _, err := s.Put(t.Context(), f); !errors.Is(err, ErrStoreDown) {
			t.Fatalf("life %d: %v", life, err)
		}
		noErr(t, s.Close())
		if ok, err := b.Exists(t.Context(), f.Key); ok || err != nil {
			t.Fatalf("a part of it is there: %v", err)
		}
	}
	breakAfter.Store(100)
	s := open(t, cfg)
	got, err := s.Put(t.Context(), f)
	if err != nil || got.Key != f.Key || parts.Load() != 5 {
		t.Fatalf("%+v, %v, after %d parts of 5", got, err, parts.Load())
	}
	want, err := fileSums(f.Path)
	noErr(t, err)
	stored, err := s.read(t.Context(), f.Key)
	if err != nil || stored.sha() != want.sha() || got.SHA256 != want.sha() || got.MD5 != want.md() {
		t.Errorf("%v", err)
	}
	noErr(t, s.Close())

	// Killed after the store had it whole and before we knew.
	text, err := os.ReadFile(cfg.Journal)
	noErr(t, err)
	lines := strings.SplitAfter(strings.TrimSpace(string(text)), "\n")
	noErr(t, os.WriteFile(cfg.Journal, []byte(strings.Join(lines[:len(lines)-1], "")), 0o600))
	got, err = open(t, cfg).Put(t.Context(), f)
	if err != nil || !got.Existing || got.Key != f.Key || parts.Load() != 5 {
		t.Errorf("%+v, %v, after %d parts", got, err, parts.Load())
	}
}

func TestIntoS3(t *testing.T) {
	t.Parallel()
	m := testkit.MinIO(t)
	b, err := blob.Open(t.Context(), blob.Config{URL: m.URL(), AccessKey: m.AccessKey, SecretKey: m.SecretKey, Key: make([]byte, 32)})
	noErr(t, err)
	t.Cleanup(func() { _ = b.Close() })
	objects := &stores{byName: map[string]*blob.Store{"": b}}
	dir := t.TempDir()
	small, large := file(t, dir, "s", 1000), file(t, dir, "l", 11<<20) // in parts
	s := open(t, Config{Objects: objects})
	got, err := s.PutAll(t.Context(), []File{{Path: small, Key: "s.mp4"}, {Path: large, Key: "l.mp4"}})
	if err != nil || got[1].Size != 11<<20 {
		t.Fatalf("%+v, %v", got, err)
	}
	again, err := open(t, Config{Objects: objects}).PutAll(t.Context(), []File{{Path: small, Key: "s.mp4"}, {Path: large, Key: "l.mp4"}})
	if err != nil || !again[0].Existing || !again[1].Existing {
		t.Errorf("%+v, %v", again, err)
	}
}
