package delivery_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"stillwatch/actions/delivery"
	"stillwatch/actions/webhook"
	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/netguard"
	"stillwatch/internal/seal"
	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const wait = 30 * time.Second

// silence is a bus on which nothing comes.
type silence struct{}

func (silence) Consume(ctx context.Context, _ bus.Subscription) error {
	<-ctx.Done()
	return nil
}

type world struct {
	testing.TB
	db     *db.DB
	clock  *testkit.Clock
	client *netguard.Client
	box    *seal.Box
}

func newWorld(t testing.TB) *world { return newWorldOn(t, "sqlite://"+t.TempDir()+"/t.db") }

func newWorldOn(t testing.TB, url string) *world {
	d, err := db.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	box, err := seal.New(make([]byte, seal.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, db: d, box: box, clock: testkit.NewClock(), client: netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})}
	t.Cleanup(func() { _ = w.client.Close(); _ = d.Close() })
	return w
}

// sender is one whose pauses are exact, over HTTP.
func (w *world) sender(change ...func(*delivery.Config)) *delivery.Sender {
	cfg := delivery.Config{
		DB: w.db, Bus: silence{}, Seal: w.box, Poll: 5 * time.Millisecond, Now: w.clock.Now, Jitter: func() float64 { return 1 },
		Transports: map[string]delivery.Transport{webhook.HookType: webhook.New(webhook.Config{
			Client: w.client, Plain: w.client, APIKey: "key", APISecret: "secret", Now: w.clock.Now,
		})},
	}
	for _, c := range change {
		c(&cfg)
	}
	return delivery.New(cfg)
}

func (w *world) start(s *delivery.Sender) *delivery.Sender {
	w.Helper()
	if err := s.Start(context.Background()); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = s.Close() })
	return s
}

func (w *world) hook(id, url string, types ...string) {
	w.Helper()
	w.hookWith(id, url, "{}", types...)
}

func (w *world) hookWith(id, url, settings string, types ...string) {
	w.Helper()
	row := db.HookRow{
		ID: id, HookType: webhook.HookType, Enabled: true, EventTypes: db.JSON[[]string]{V: types}, WebhookURL: url, TimeoutMS: 2000,
		Settings: db.JSON[json.RawMessage]{V: json.RawMessage(settings)},
	}
	if _, err := w.db.NewInsert().Model(&row).Exec(context.Background()); err != nil {
		w.Fatal(err)
	}
}

func (w *world) deliveries() (rows []db.DeliveryRow) {
	w.Helper()
	if err := w.db.NewSelect().Model(&rows).Order("created_at", "id").Scan(context.Background()); err != nil {
		w.Fatal(err)
	}
	return rows
}

// settled waits until the only delivery has had n attempts and none is under
// way.
func (w *world) settled(n int) db.DeliveryRow {
	w.Helper()
	var d db.DeliveryRow
	testkit.Eventually(w.TB, wait, func() bool {
		d = w.deliveries()[0]
		return d.Attempts == n && (d.LastStatus != 0 || d.LastError != "") && !d.NextAt.Equal(w.clock.Now().Add(2*time.Second+delivery.ClaimSlack))
	}, "attempt", n)
	return d
}

// receiver is a backend that keeps what it got.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []received
	answer func(n int, w http.ResponseWriter)
}

type received struct {
	header http.Header
	body   []byte
}

func newReceiver(t testing.TB, answer func(n int, w http.ResponseWriter)) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		r.got = append(r.got, received{req.Header.Clone(), body})
		n := len(r.got)
		r.mu.Unlock()
		if r.answer != nil {
			r.answer(n, w)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received(nil), r.got...)
}

func status(code int) func(int, http.ResponseWriter) {
	return func(_ int, w http.ResponseWriter) { w.WriteHeader(code) }
}

func banned(id string) event.Envelope {
	ev := event.New(event.UserBanned, "default:abc/bob", time.Now(), map[string]string{"type": event.UserBanned, "n": id})
	ev.ID = id
	return ev
}

func frame(n int) event.Envelope {
	ev := event.New(event.CallFrameRecordingReady, "default:abc/bob", time.Now(), map[string]int{"n": n})
	ev.ID = "frame-" + strconv.Itoa(n)
	return ev
}

func (w *world) handle(s *delivery.Sender, evs ...event.Envelope) {
	w.Helper()
	for _, ev := range evs {
		if err := s.Handle(context.Background(), ev); err != nil {
			w.Fatal(err)
		}
	}
}
