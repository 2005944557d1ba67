package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/uptrace/bun"
	"go.uber.org/goleak"

	"stillwatch/actions"
	"stillwatch/actions/delivery"
	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a server over a real database, with fakes for the other parts.
type bench struct {
	*Server
	t       *testing.T
	db      *db.DB
	auth    *auth.Auth
	actions *fakeActions
	live    *fakeLive
	now     *testkit.Clock
	rec     *rowRecorder
}

func newBench(t *testing.T, changes ...func(*Config)) *bench {
	t.Helper()
	return newBenchOn(t, "sqlite://"+filepath.Join(t.TempDir(), "test.db"), changes...)
}

func newBenchOn(t *testing.T, url string, changes ...func(*Config)) *bench {
	t.Helper()
	d, err := db.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{t: t, db: d, live: newFakeLive(), now: testkit.NewClock()}
	t.Cleanup(b.checkEvents)
	b.auth = auth.New("key", "0123456789abcdef0123456789abcdef", auth.WithNow(b.now.Now))
	b.actions = &fakeActions{Desk: actions.NewDesk(actions.DeskConfig{DB: d, Now: b.now.Now}), db: d, now: b.now.Now}
	registry := prometheus.NewRegistry()
	cfg := Config{
		Listen: "127.0.0.1:0", DB: d, Auth: b.auth, Actions: b.actions, Live: b.live, Signer: fakeSigner{}, Seal: testSeal(t),
		Hooks:    delivery.New(delivery.Config{DB: d, Bus: noBus{}, Seal: testSeal(t), Now: b.now.Now}), // sends nothing: it has no transport
		Gatherer: registry, Registerer: registry, Now: b.now.Now,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	b.rec = &rowRecorder{db: d, now: b.now.Now}
	cfg.Recorder = b.rec
	for _, change := range changes {
		change(&cfg)
	}
	b.Server = New(cfg)
	if err := Seed(t.Context(), d, b.cfg.DefaultMode); err != nil {
		t.Fatal(err)
	}
	return b
}

// answer is a response with its JSON object.
type answer struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

// do sends a request with the given token; body is marshalled unless it is a
// string, and nil is no body.
func (b *bench) do(token, method, target string, body any) answer {
	b.t.Helper()
	if !strings.Contains(target, "api_key=") {
		sep := "?"
		if strings.Contains(target, "?") {
			sep = "&"
		}
		target += sep + "api_key=key"
	}
	r := httptest.NewRequest(method, target, reader(b.t, body))
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	return b.send(r)
}

func reader(t *testing.T, body any) io.Reader {
	switch v := body.(type) {
	case nil:
		return http.NoBody
	case string:
		return strings.NewReader(v)
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.NewReader(raw)
	}
}

func (b *bench) send(r *http.Request) answer {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header(), raw: w.Body.Bytes()}
	_ = json.Unmarshal(a.raw, &a.body)
	return a
}

// server sends with a server token and wants the status.
func (b *bench) server(want int, method, target string, body any) answer {
	b.t.Helper()
	return b.want(want, b.do(b.auth.ServerToken(), method, target, body))
}

func (b *bench) want(status int, a answer) answer {
	b.t.Helper()
	if a.status != status {
		b.t.Fatalf("status %d, want %d: %s", a.status, status, a.raw)
	}
	return a
}

func (b *bench) user(id, role string, cids ...string) string {
	return b.auth.UserToken(auth.UserClaims{UserID: id, Role: role, CallCIDs: cids})
}

// insert writes rows as the other parts would.
func (b *bench) insert(rows ...any) {
	b.t.Helper()
	err := b.db.InTx(b.t.Context(), func(ctx context.Context, tx bun.Tx) error {
		for _, row := range rows {
			if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// sent lists the types of the events in the outbox, in order.
func (b *bench) sent(topic event.Topic) []event.Envelope {
	b.t.Helper()
	var rows []db.OutboxRow
	if err := b.db.NewSelect().Model(&rows).Where("topic = ?", string(topic)).Order("seq").Scan(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	var out []event.Envelope
	for _, row := range rows {
		out = append(out, row.Envelope.V)
	}
	return out
}

func types(evs []event.Envelope) string {
	var out []string
	for _, e := range evs {
		out = append(out, e.Type)
	}
	return strings.Join(out, " ")
}

type fakeSigner struct{}

func (fakeSigner) SignGet(key string, expires time.Time) string {
	return fmt.Sprintf("/s/%s?exp=%d&sig=x", key, expires.Unix())
}

// order is what fakeActions was asked.
type order struct {
	kind, userID, cid, by, reason string
	timeout                       time.Duration
}

// fakeActions records orders; a ban is also written, so that it is in force.
type fakeActions struct {
	*actions.Desk // for what is not faked
	db            *db.DB
	now           func() time.Time

	mu     sync.Mutex
	orders []order
	err    error
}

func (f *fakeActions) note(o order) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders = append(f.orders, o)
	return f.err
}

func (f *fakeActions) last(t *testing.T) order {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.orders) == 0 {
		t.Fatal("no order was given")
	}
	return f.orders[len(f.orders)-1]
}

func (f *fakeActions) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.orders)
}

func (f *fakeActions) Ban(ctx context.Context, r actions.BanRequest) (string, error) {
	if err := f.note(order{"ban", r.UserID, r.CID, r.ByUserID, r.Reason, r.Timeout}); err != nil {
		return "", err
	}
	row := db.BanRow{ID: event.NewID(), UserID: r.UserID, CID: r.CID, ByUserID: r.ByUserID, Reason: r.Reason, CreatedAt: db.At(f.now())}
	if r.Timeout > 0 {
		row.ExpiresAt = db.At(f.now().Add(r.Timeout))
	}
	_, err := f.db.NewInsert().Model(&row).Exec(ctx)
	return row.ID, err
}

func (f *fakeActions) Unban(ctx context.Context, r actions.UnbanRequest) (int, error) {
	_, err := f.db.NewUpdate().Model((*db.BanRow)(nil)).Set("lifted_at = ?", db.At(f.now())).Set("lifted_by = ?", r.ByUserID).
		Where("user_id = ? AND cid = ?", r.UserID, r.CID).Exec(ctx)
	return 1, errors.Join(err, f.note(order{"unban", r.UserID, r.CID, r.ByUserID, r.Reason, 0}))
}

func (f *fakeActions) Flag(_ context.Context, r actions.FlagRequest) (string, error) {
	return "item-1", f.note(order{"flag", r.UserID, r.CID, r.ByUserID, r.Reason, 0})
}

func (f *fakeActions) Kick(_ context.Context, r actions.KickRequest) (string, error) {
	return event.NewID(), f.note(order{"kick", r.UserID, r.CID, r.ByUserID, r.Reason, 0})
}

func (f *fakeActions) Mute(_ context.Context, r actions.MuteRequest) ([]string, error) {
	return r.UserIDs, f.note(order{"mute", strings.Join(r.UserIDs, " "), r.CID, r.ByUserID, fmt.Sprint(r.Tracks), r.For})
}

func (f *fakeActions) EndCall(_ context.Context, r actions.EndCallRequest) (string, error) {
	return event.NewID(), f.note(order{"end_call", "", r.CID, r.ByUserID, r.Reason, 0})
}

// The real one fits the interface.
var _ Actions = (*actions.Desk)(nil)

// fakeLive is a bus of one process.
type fakeLive struct {
	mu    sync.Mutex
	tails map[event.Topic][]func(event.Envelope)
	ready chan struct{}
}

func newFakeLive() *fakeLive {
	return &fakeLive{tails: map[event.Topic][]func(event.Envelope){}, ready: make(chan struct{}, 64)}
}

func (f *fakeLive) Tail(ctx context.Context, topic event.Topic, fn func(event.Envelope)) error {
	f.mu.Lock()
	f.tails[topic] = append(f.tails[topic], fn)
	f.mu.Unlock()
	f.ready <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

func (f *fakeLive) publish(topic event.Topic, evs ...event.Envelope) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fn := range f.tails[topic] {
		for _, ev := range evs {
			fn(ev)
		}
	}
}
