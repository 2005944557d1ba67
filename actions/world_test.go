package actions

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/service"
	"stillwatch/internal/testkit"
)

const wait = 15 * time.Second

// world is a database, and on demand a Redis and a relay, of a test's own.
type world struct {
	testing.TB
	db    *db.DB
	dir   string
	redis string
	bus   *bus.Bus
	relay *db.Relay
}

func newWorld(t testing.TB) *world {
	w := &world{TB: t, dir: t.TempDir()}
	w.openDB()
	t.Cleanup(func() { _ = w.db.Close() })
	return w
}

func (w *world) openDB() {
	w.Helper()
	d, err := db.Open(context.Background(), "sqlite://"+w.dir+"/t.db")
	w.ok(err)
	w.db = d
}

// wire adds Redis and the relay.
func (w *world) wire() *world {
	w.Helper()
	w.redis = testkit.Redis(w.TB)
	w.openBus()
	w.Cleanup(w.unwire)
	return w
}

func (w *world) openBus() {
	w.Helper()
	b, err := bus.Open(context.Background(), bus.Config{URL: w.redis, ClaimIdle: time.Second, RetryDelay: 5 * time.Millisecond})
	w.ok(err)
	w.bus = b
	w.relay = db.NewRelay(w.db, b, db.RelayConfig{Tend: 50 * time.Millisecond})
	w.ok(w.relay.Start(context.Background()))
}

func (w *world) unwire() {
	_ = w.relay.Close()
	_ = w.bus.Close()
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) start(s service.Service) {
	w.Helper()
	w.ok(s.Start(context.Background()))
	w.Cleanup(func() { w.ok(s.Close()) })
}

func (w *world) action(id string) db.ActionRow {
	w.Helper()
	var row db.ActionRow
	w.ok(w.db.NewSelect().Model(&row).Where("id = ?", id).Scan(context.Background()))
	return row
}

// outbox returns the events of a type in the outbox, in order.
func (w *world) outbox(typ string) (out []event.Envelope) {
	w.Helper()
	var rows []db.OutboxRow
	w.ok(w.db.NewSelect().Model(&rows).Order("seq").Scan(context.Background()))
	for _, r := range rows {
		if r.Envelope.V.Type == typ {
			out = append(out, r.Envelope.V)
		}
	}
	return out
}

func (w *world) audits(verb string) int {
	w.Helper()
	n, err := w.db.NewSelect().Model((*db.AuditRow)(nil)).Where("verb = ?", verb).Count(context.Background())
	w.ok(err)
	return int(n)
}

func (w *world) rows(model any) int {
	w.Helper()
	n, err := w.db.NewSelect().Model(model).Count(context.Background())
	w.ok(err)
	return int(n)
}

func (w *world) call(cid string) {
	w.Helper()
	row := db.CallRow{CID: cid, Type: "default", ID: "abc", Settings: db.JSON[json.RawMessage]{V: json.RawMessage("{}")}}
	_, err := w.db.NewInsert().Model(&row).Exec(context.Background())
	w.ok(err)
}

// request puts an action's row into the database, as a decision does.
func (w *world) request(req event.ActionRequested) event.ActionRequested {
	w.Helper()
	row, err := Row(req, time.Now())
	w.ok(err)
	_, err = w.db.NewInsert().Model(&row).Exec(context.Background())
	w.ok(err)
	return req
}

func decoded[T any](t testing.TB, ev event.Envelope) (out T) {
	t.Helper()
	if err := ev.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// signer makes addresses that a test can read.
type signer struct{}

func (signer) SignGet(key string, expires time.Time) string {
	return "https://stills.test/s/" + key + "?exp=" + expires.UTC().Format(time.RFC3339)
}

// node is a capture node: it hears orders and answers them, unless deaf.
type node struct {
	mu     sync.Mutex
	deaf   bool
	orders []event.Control
	tasks  service.Tasks
}

func (n *node) listen(b *bus.Bus) {
	n.tasks.Go(func(ctx context.Context) {
		_ = b.Consume(ctx, bus.Subscription{
			Topic: event.TopicControl, Group: "node-1", Consumer: "c",
			Handler: func(ctx context.Context, ev event.Envelope) error {
				var c event.Control
				if err := ev.Decode(&c); err != nil {
					return err
				}
				n.mu.Lock()
				n.orders = append(n.orders, c)
				deaf := n.deaf
				n.mu.Unlock()
				if deaf {
					return nil
				}
				done := event.ControlDone{ControlID: c.ControlID, ActionID: c.ActionID, Node: "1", Affected: 1, At: time.Now().UTC()}
				return b.Publish(ctx, event.TopicConfirmed, event.New(event.TypeControlDone, ev.Key, done.At, done))
			},
		})
	})
}

func (n *node) heard() []event.Control {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]event.Control(nil), n.orders...)
}

func banOf(user string) event.ActionRequested {
	return event.ActionRequested{
		ActionID: event.NewID(), DecisionID: event.NewID(), Kind: event.ActionBan, CID: "default:abc", SessionID: "s1",
		UserID: user, ByUserID: "system", Reason: "explicit-ban", Labels: []string{"Porn"}, Score: 0.97,
		FrameID: "f1", ObjectKey: "frames/f1.jpg", CapturedAt: time.Now().UTC().Add(-100 * time.Millisecond),
	}
}

func flagOf(user string) event.ActionRequested {
	f := banOf(user)
	f.Kind, f.Reason = event.ActionFlag, "explicit-flag"
	return f
}
