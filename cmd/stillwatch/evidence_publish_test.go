package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/evidence"
	"stillwatch/internal/testkit"
)

// notary takes bulletins, where the holder of the key cannot reach them.
type notary struct {
	t   *testing.T
	url string
	dir string

	mu   sync.Mutex
	deny bool
	n    int
}

func newNotary(t *testing.T) *notary {
	t.Helper()
	n := &notary{t: t, dir: t.TempDir()}
	srv := &http.Server{Handler: n, ReadHeaderTimeout: 5 * time.Second}
	l := listen(t)
	n.url = "http://" + l.Addr().String() + "/heads?secret=s3cret"
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return n
}

func (n *notary) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	n.mu.Lock()
	defer n.mu.Unlock()
	b, bad := evidence.DecodeBulletin(text)
	if n.deny || err != nil || bad != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if err := os.WriteFile(filepath.Join(n.dir, bulletinName(b.N)), text, 0o600); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	n.n++
}

func (n *notary) got() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.n
}

func (n *notary) denies(deny bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deny = deny
}

func TestHeadsArePublishedAndARewrittenExportIsFound(t *testing.T) {
	t.Parallel()
	c, n := newCase(t), newNotary(t)
	text, err := json.Marshal(map[string]any{
		"data": map[string]string{"dir": c.data}, "log": map[string]string{"level": "error"},
		"evidence": map[string]string{"publish_url": n.url}, "netguard": map[string]any{"allow": []string{"127.0.0.0/8"}},
	})
	c.must(err)
	c.must(os.WriteFile(c.config, text, 0o600))
	sealed := c.object("recordings/manifest.json", "what was stored with the recording")
	at := db.At(time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC))
	row := &db.RecordingFileRow{ID: "m1", RecordingID: "rec-1", CID: "default:abc", SessionID: "s1", Kind: "manifest", Format: "json", ObjectKey: sealed.Key, SHA256: sealed.Checksum.SHA256, StartedAt: at, EndedAt: at, CreatedAt: at}
	c.insert(row)

	folder := func(name string) string { return filepath.Join(t.TempDir(), name) }
	first, second := folder("first"), folder("second")
	if code, _, errs := c.run("evidence", "export", "rec-1", "--to", first); code != 0 || n.got() != 1 {
		t.Fatalf("%d %s; %d bulletins", code, errs, n.got())
	}
	n.denies(true)
	code, _, errs := c.run("evidence", "export", "rec-1", "--to", second)
	if code != 1 || !strings.Contains(errs, "503") || strings.Contains(errs, "s3cret") || n.got() != 1 {
		t.Fatalf("while the place refuses: %d %s; %d bulletins", code, errs, n.got())
	}
	n.denies(false)
	if code, _, errs := c.run("evidence", "publish"); code != 0 || n.got() != 2 {
		t.Fatalf("%d %s; %d bulletins", code, errs, n.got())
	}
	verify := func(dir string) (int, string) {
		code, _, errs := command(t, "evidence", "verify", dir, "--heads", n.dir)
		return code, errs
	}
	for _, dir := range []string{first, second} {
		if code, errs := verify(dir); code != 0 {
			t.Errorf("%s: %d %s", dir, code, errs)
		}
	}
	// The holder of the key changes the past, and signs it anew. Nobody else
	// was told.
	c.must(os.WriteFile(c.config, []byte(`{"data":{"dir":"`+c.data+`"},"log":{"level":"error"}}`), 0o600))
	_, err = c.db.NewUpdate().Model((*db.ActionRow)(nil)).Set("reason = 'none'").Where("id = 'a1'").Exec(t.Context())
	c.must(err)
	forged := folder("forged")
	if code, _, errs := c.run("evidence", "export", "rec-1", "--to", forged); code != 0 {
		t.Fatal(errs)
	}
	if code, _, errs := command(t, "evidence", "verify", forged); code != 0 {
		t.Errorf("in itself it is right: %s", errs)
	}
	if code, errs := verify(forged); code != 1 || !strings.Contains(errs, "no bulletin") {
		t.Errorf("made anew: %d %s", code, errs)
	}
	c.must(os.Remove(filepath.Join(n.dir, bulletinName(0))))
	if code, errs := verify(second); code != 0 {
		t.Errorf("with the newer bulletins alone: %d %s", code, errs)
	}
}

// TestAServerPublishesByItself: at its start, and then daily, heads or none.
func TestAServerPublishesByItself(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the command line's test publishes too")
	}
	n := newNotary(t)
	r := startRig(t, "STILLWATCH_EVIDENCE_PUBLISH_URL="+n.url)
	testkit.Eventually(t, 30*time.Second, func() bool { return n.got() == 1 })
	now := time.Now()
	h := &headPublisher{cfg: r.cfg, db: r.db, stores: r.stores, log: r.log, now: func() time.Time { return now }, client: func(plain bool) *http.Client { return r.guardFor(plain).HTTPClient() }}
	var err error
	if h.key, err = evidence.LoadKey(filepath.Join(r.cfg.Data.Dir, "evidence.key")); err != nil {
		t.Fatal(err)
	}
	for _, after := range []time.Duration{23 * time.Hour, 25 * time.Hour, 25 * time.Hour} {
		now = time.Now().Add(after)
		if err := h.publish(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	if n.got() != 2 {
		t.Errorf("%d bulletins after a day, want 2", n.got())
	}
	all, err := evidence.ReadBulletins(n.dir)
	if err != nil || evidence.VerifyBulletins(all, h.key.Public()) != nil {
		t.Errorf("%v, %v", err, evidence.VerifyBulletins(all, h.key.Public()))
	}
}
