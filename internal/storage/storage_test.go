package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stillwatch/internal/blob"
	"stillwatch/internal/db"
	"stillwatch/internal/netguard"
	"stillwatch/internal/seal"
	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// world is Stores over a database and a folder, with this machine allowed.
type world struct {
	*Stores
	t     *testing.T
	db    *db.DB
	box   *seal.Box
	clock *testkit.Clock
	said  *buffer
}

// buffer is a log that tests read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	d, err := db.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "test.db"))
	noErr(t, err)
	t.Cleanup(func() { _ = d.Close() })
	own, err := blob.Open(t.Context(), blob.Config{URL: "file://" + t.TempDir(), Key: make([]byte, 32), PublicURL: "https://watch.example"})
	noErr(t, err)
	t.Cleanup(func() { _ = own.Close() })
	box, err := seal.New(make([]byte, seal.KeyBytes))
	noErr(t, err)
	guard := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(func() { _ = guard.Close() })
	w := &world{t: t, db: d, box: box, clock: testkit.NewClock(), said: &buffer{}}
	w.clock.Set(time.Now()) // what links are signed with
	w.Stores = New(Config{
		DB: d, Seal: box, Own: own, Client: func(bool) *http.Client { return guard.HTTPClient() },
		Log: slog.New(slog.NewTextHandler(w.said, nil)), Now: w.clock.Now,
	})
	t.Cleanup(func() { noErr(t, w.Close()) })
	return w
}

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes a storage's row, anew or over the old one.
func (w *world) put(name, endpoint, key, secret string) {
	w.t.Helper()
	sealed, err := w.box.Seal(Purpose(SecretS3), name, secret)
	noErr(w.t, err)
	row := &db.ExternalStorageRow{
		Name: name, StorageType: blob.KindS3, Bucket: "stillwatch-test", Path: "shots/",
		CreatedAt: db.At(w.clock.Now()), UpdatedAt: db.At(w.clock.Now()),
	}
	row.Settings.V = db.StorageSettings{S3APIKey: key, S3EndpointURL: endpoint}
	row.Sealed.V = map[string]string{SecretS3: sealed}
	_, err = w.db.NewInsert().Model(row).On("CONFLICT (name) DO UPDATE").
		Set("settings = EXCLUDED.settings").Set("sealed = EXCLUDED.sealed").Set("updated_at = EXCLUDED.updated_at").Exec(w.t.Context())
	noErr(w.t, err)
}

func (w *world) minio(name string) testkit.S3 {
	s := testkit.MinIO(w.t)
	w.put(name, s.Endpoint, s.AccessKey, s.SecretKey)
	return s
}

func get(t *testing.T, link string) (int, string) {
	t.Helper()
	res, err := http.Get(link)
	noErr(t, err)
	defer res.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	body, err := io.ReadAll(res.Body)
	noErr(t, err)
	return res.StatusCode, string(body)
}

const frameKey = "frames/2026-01-05/0123456789abcdef/s/f.jpg"

func TestFramesGoToTheStorageAndComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s3 := w.minio("my-s3")
	ref, err := w.Place(t.Context(), "my-s3", frameKey, []byte("picture"), "image/jpeg")
	if err != nil || ref != "@my-s3/"+frameKey {
		t.Fatalf("reference %q, %v", ref, err)
	}
	if ok, err := w.Store.Exists(t.Context(), frameKey); ok || err != nil {
		t.Errorf("it is in our own store: %t, %v", ok, err)
	}
	if body, err := w.Get(t.Context(), ref); string(body) != "picture" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
	link := w.SignGet(ref, w.clock.Now().Add(time.Hour))
	if !strings.HasPrefix(link, s3.Endpoint+"/stillwatch-test/shots/frames/") {
		t.Errorf("link %s", link)
	}
	if status, body := get(t, link); status != http.StatusOK || body != "picture" {
		t.Errorf("link gives %d %s", status, body)
	}
	// By a link of ours it is served through this program.
	for target, want := range map[string]int{
		w.Store.SignGet(ref, time.Now().Add(time.Hour)):                                    http.StatusOK,
		w.Store.SignGet(ref, time.Now().Add(time.Hour)) + "x":                              http.StatusForbidden,
		w.Store.SignGet(Ref("my-s3", "gone"), time.Now().Add(time.Hour)):                   http.StatusNotFound,
		w.Store.SignGet(Ref("nobody", "gone"), time.Now().Add(time.Hour)):                  http.StatusBadGateway,
		w.Store.SignGet(frameKey, time.Now().Add(time.Hour)):                               http.StatusNotFound,
		w.Store.SignGet("@my-s3/../frames/x", time.Now().Add(time.Hour)):                   http.StatusForbidden,
		strings.Replace(w.Store.SignGet(ref, time.Now().Add(time.Hour)), "@my-s3/", "", 1): http.StatusForbidden,
	} {
		rec := httptest.NewRecorder()
		w.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, target, nil))
		if rec.Code != want || want == http.StatusOK && rec.Body.String() != "picture" {
			t.Errorf("%s: %d %s", target, rec.Code, rec.Body)
		}
	}
	noErr(t, w.Delete(t.Context(), ref))
	if ok, err := w.Exists(t.Context(), ref); ok || err != nil {
		t.Errorf("after deleting: %t, %v", ok, err)
	}
	if got := w.Stats(); got != (Stats{Placed: 1}) {
		t.Errorf("%+v", got)
	}
}

func TestFramesFallBackWhenTheStorageIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dead := fmt.Sprintf("http://127.0.0.1:%d", testkit.FreePort(t))
	w.put("my-s3", dead, "key", "hunter2")
	for i := range 5 {
		key := fmt.Sprint(frameKey, i)
		ref, err := w.Place(t.Context(), "my-s3", key, []byte("picture"), "image/jpeg")
		if err != nil || ref != key {
			t.Fatalf("reference %q, %v", ref, err)
		}
		if body, err := w.Get(t.Context(), ref); string(body) != "picture" || err != nil {
			t.Errorf("got %q, %v", body, err)
		}
	}
	if got := w.Stats(); got != (Stats{FellBack: 5}) {
		t.Errorf("%+v", got)
	}
	said := w.said.String()
	if n := strings.Count(said, "takes no frames"); n != 1 || strings.Contains(said, "hunter2") {
		t.Errorf("said %d times: %s", n, said)
	}
	// It comes back under new settings, which are found within the recheck.
	s3 := testkit.MinIO(t)
	w.clock.Advance(DefaultRecheck)
	w.put("my-s3", s3.Endpoint, s3.AccessKey, s3.SecretKey)
	if ref, err := w.Place(t.Context(), "my-s3", frameKey, []byte("picture"), "image/jpeg"); err != nil || ref != Ref("my-s3", frameKey) {
		t.Errorf("reference %q, %v", ref, err)
	}
}

func TestAStorageThatFailedIsLeftAloneForAWhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hits := make(chan struct{}, 100)
	bad := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		hits <- struct{}{}
		rw.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(bad.Close)
	w.put("my-s3", bad.URL, "key", "secret")
	place := func() {
		if ref, err := w.Place(t.Context(), "my-s3", frameKey, []byte("picture"), "image/jpeg"); err != nil || ref != frameKey {
			t.Errorf("reference %q, %v", ref, err)
		}
	}
	for range 3 {
		place()
	}
	if len(hits) != tries {
		t.Errorf("asked %d times, want %d", len(hits), tries)
	}
	w.clock.Advance(DefaultRest)
	place()
	if len(hits) != 2*tries {
		t.Errorf("asked %d times after the rest, want %d", len(hits), 2*tries)
	}
}

func TestASlowStorageDoesNotHoldUpOtherFrames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(slow.Close)
	w.put("my-s3", slow.URL, "key", "secret")
	w.cfg.Try = time.Minute // none gives up by itself
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(release)
	for range DefaultInFlight {
		wg.Go(func() { _, _ = w.Place(t.Context(), "my-s3", frameKey, []byte("picture"), "image/jpeg") })
	}
	for range DefaultInFlight {
		<-arrived
	}
	if ref, err := w.Place(t.Context(), "my-s3", frameKey, []byte("picture"), "image/jpeg"); err != nil || ref != frameKey {
		t.Errorf("reference %q, %v", ref, err)
	}
	if got := w.Stats(); got.FellBack != 1 || len(arrived) != 0 {
		t.Errorf("%+v, %d more requests", got, len(arrived))
	}
}

func TestAStorageThatIsGoneOrUnreadableFallsBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("other-key", "http://127.0.0.1:1", "key", "secret")
	_, err := w.db.NewUpdate().Model((*db.ExternalStorageRow)(nil)).Set("sealed = ?", `{"s3_secret":"AAAA"}`).Where("name = ?", "other-key").Exec(t.Context())
	noErr(t, err)
	for _, name := range []string{"nobody", "other-key"} {
		if ref, err := w.Place(t.Context(), name, frameKey, []byte("picture"), "image/jpeg"); err != nil || ref != frameKey {
			t.Errorf("%s: reference %q, %v", name, ref, err)
		}
		if link := w.SignGet(Ref(name, frameKey), w.clock.Now().Add(time.Hour)); !strings.HasPrefix(link, "https://watch.example/s/@"+name) {
			t.Errorf("%s: link %s", name, link)
		}
	}
	noErr(t, w.Delete(t.Context(), Ref("nobody", frameKey)))
	if err := w.Delete(t.Context(), Ref("other-key", frameKey)); !errors.Is(err, seal.ErrBroken) {
		t.Errorf("deleting without the secret: %v", err)
	}
	if _, err := w.Get(t.Context(), Ref("nobody", frameKey)); !errors.Is(err, ErrUnknown) {
		t.Errorf("getting: %v", err)
	}
}

func TestCheckWritesReadsAndSigns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s3 := w.minio("my-s3")
	link, err := w.Check(t.Context(), "my-s3")
	noErr(t, err)
	if !strings.HasPrefix(link, s3.Endpoint+"/stillwatch-test/shots/stillwatch-") || !strings.Contains(link, ".md?") {
		t.Errorf("link %s", link)
	}
	if status, body := get(t, link); status != http.StatusOK || !strings.HasPrefix(body, "stillwatch wrote this") {
		t.Errorf("link gives %d %s", status, body)
	}
	var check *CheckError
	w.clock.Advance(time.Second)
	w.put("my-s3", s3.Endpoint, s3.AccessKey, "hunter2-hunter2")
	if _, err = w.Check(t.Context(), "my-s3"); !errors.As(err, &check) || check.Step != "write" || !strings.Contains(check.Why, "SignatureDoesNotMatch") {
		t.Errorf("wrong secret: %v", err)
	}
	w.put("far", "http://10.0.0.1:9000", "key", "hunter2")
	if _, err = w.Check(t.Context(), "far"); !errors.As(err, &check) || !strings.Contains(check.Why, "refused to reach") {
		t.Errorf("a private address: %v", err)
	}
	if _, err = w.Check(t.Context(), "nobody"); !errors.Is(err, ErrUnknown) {
		t.Errorf("no storage: %v", err)
	}
	if strings.Contains(w.said.String(), "hunter2") {
		t.Error("a secret is in the log")
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string][2]string{
		"frames/a.jpg": {"", "frames/a.jpg"}, "@s/frames/a.jpg": {"s", "frames/a.jpg"}, Ref("", "k"): {"", "k"}, Ref("s", "k"): {"s", "k"},
	} {
		name, key, ok := Split(ref)
		if name != want[0] || key != want[1] || ok != (want[0] != "") {
			t.Errorf("%s: %q %q %t", ref, name, key, ok)
		}
	}
	for _, ref := range []string{"@", "@/k", "@s", "@s/"} {
		if _, _, ok := Split(ref); ok {
			t.Errorf("%s passed", ref)
		}
	}
}

func TestStreamsGoByReference(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.minio("my-s3")
	body := strings.Repeat("packets ", 100_000)
	for _, ref := range []string{"recordings/a.mp4", Ref("my-s3", "recordings/b.mp4")} {
		noErr(t, w.Upload(t.Context(), ref, strings.NewReader(body), ""))
		o, err := w.Stat(t.Context(), ref)
		if err != nil || o.Size != int64(len(body)) {
			t.Errorf("%s: %+v, %v", ref, o, err)
		}
		r, err := w.Open(t.Context(), ref)
		noErr(t, err)
		got, err := io.ReadAll(r)
		if err != nil || r.Close() != nil || string(got) != body {
			t.Errorf("%s: %d bytes, %v", ref, len(got), err)
		}
	}
	if ok, err := w.Store.Exists(t.Context(), "recordings/b.mp4"); ok || err != nil {
		t.Errorf("in our own store: %t, %v", ok, err)
	}
	_, statErr := w.Stat(t.Context(), "@none/a")
	_, openErr := w.Open(t.Context(), "@none/a")
	for _, err := range []error{w.Upload(t.Context(), "@none/a", strings.NewReader("x"), ""), statErr, openErr} {
		if !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
	}
}
