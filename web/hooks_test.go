package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stillwatch/actions/delivery"
	"stillwatch/actions/webhook"
	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/netguard"
	"stillwatch/internal/testkit"
)

// noBus brings nothing: the tests hand events over themselves.
type noBus struct{}

func (noBus) Consume(ctx context.Context, _ bus.Subscription) error { <-ctx.Done(); return nil }

// deliveryBench is a server with the real delivery behind it and a hook "h"
// to a receiver that answers with status.
type deliveryBench struct {
	*bench
	sender *delivery.Sender
	status atomic.Int32
	got    atomic.Int32
}

func newDeliveryBench(t *testing.T) *deliveryBench {
	t.Helper()
	d := &deliveryBench{}
	d.status.Store(200)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		d.got.Add(1)
		w.WriteHeader(int(d.status.Load()))
		_, _ = w.Write([]byte("heard"))
	}))
	t.Cleanup(srv.Close)
	client := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(func() { _ = client.Close() })
	d.bench = newBench(t, func(c *Config) {
		d.sender = delivery.New(delivery.Config{
			DB: c.DB, Bus: noBus{}, Seal: testSeal(t), Poll: 5 * time.Millisecond, Now: c.Now,
			Transports: map[string]delivery.Transport{webhook.HookType: webhook.New(webhook.Config{Client: client, Plain: client, APISecret: "s", Now: c.Now})},
		})
		c.Hooks = d.sender
	})
	d.bench.server(http.StatusOK, "PATCH", "/api/v2/app", `{"event_hooks":[{"id":"h","hook_type":"webhook","webhook_url":"`+srv.URL+`/in?token=hidden"}]}`)
	if err := d.sender.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.sender.Close() })
	return d
}

func (d *deliveryBench) happen(ids ...string) {
	d.t.Helper()
	for _, id := range ids {
		ev := event.New(event.UserBanned, "default:abc/bob", d.now.Now(), map[string]string{"type": event.UserBanned, "n": id})
		ev.ID = id
		if err := d.sender.Handle(d.t.Context(), ev); err != nil {
			d.t.Fatal(err)
		}
	}
}

func TestHooksThroughTheAPI(t *testing.T) {
	t.Parallel()
	d := newDeliveryBench(t)
	hook := func() map[string]any {
		a := d.bench.server(http.StatusOK, "GET", ownPrefix+"hooks", nil)
		if strings.Contains(string(a.raw), "hidden") {
			t.Errorf("a secret is shown: %s", a.raw)
		}
		return a.body["hooks"].([]any)[0].(map[string]any)
	}
	d.happen("e1", "e2")
	testkit.Eventually(t, 10*time.Second, func() bool { return hook()["delivered"] == 2.0 })
	if h := hook(); h["id"] != "h" || h["enabled"] != true || h["pending"] != 0.0 || h["secrets"] != 1.0 || !strings.HasSuffix(h["target"].(string), "/in") {
		t.Errorf("hook %v", h)
	}
	d.status.Store(500)
	d.happen("e3")
	testkit.Eventually(t, 10*time.Second, func() bool { return hook()["last_status"] == 500.0 })
	if h := hook(); h["pending"] != 1.0 || h["failing_since"] != "2026-01-05T10:00:00Z" || h["last_error"] != "answered 500" {
		t.Errorf("hook %v", h)
	}
	list := d.bench.server(http.StatusOK, "GET", ownPrefix+"hooks/h/deliveries?state=pending&event_type=user.banned", nil).body["deliveries"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["event_id"] != "e3" {
		t.Fatalf("pending %v", list)
	}
	one := d.bench.server(http.StatusOK, "GET", ownPrefix+"deliveries/"+list[0].(map[string]any)["id"].(string), nil).body
	attempts := one["attempts"].([]any)
	if len(attempts) != 1 || attempts[0].(map[string]any)["response"] != "heard" || one["body"].(map[string]any)["n"] != "e3" {
		t.Errorf("delivery %v", one)
	}
	page := d.bench.server(http.StatusOK, "GET", ownPrefix+"hooks/h/deliveries?limit=2", nil).body
	if len(page["deliveries"].([]any)) != 2 || page["next"] == "" {
		t.Errorf("page %v", page)
	}
	rest := d.bench.server(http.StatusOK, "GET", ownPrefix+"hooks/h/deliveries?limit=2&next="+page["next"].(string), nil).body
	if len(rest["deliveries"].([]any)) != 1 || rest["next"] != nil {
		t.Errorf("last page %v", rest)
	}
}

func TestHookOperations(t *testing.T) {
	t.Parallel()
	d := newDeliveryBench(t)
	trial := d.bench.server(http.StatusOK, "POST", ownPrefix+"hooks/h/test", nil).body
	if trial["ok"] != true || trial["status"] != 200.0 || trial["response"] != "heard" || trial["event_id"] == "" {
		t.Errorf("test %v", trial)
	}
	secret := d.bench.server(http.StatusOK, "POST", ownPrefix+"hooks/h/secret", nil).body
	if !strings.HasPrefix(secret["secret"].(string), "whsec_") || secret["previous_valid_until"] != "2026-01-06T10:00:00Z" {
		t.Errorf("secret %v", secret)
	}
	d.happen("e1", "e2")
	testkit.Eventually(t, 10*time.Second, func() bool { return d.got.Load() == 3 && d.sender.Stats().Delivered == 2 })
	for body, want := range map[string]float64{
		`{"event_ids":["e1","e9"]}`: 1, `{"since":"2026-01-05T09:00:00Z","only_missing":true}`: 0,
		`{"since":"2026-01-05T09:00:00Z","until":"2026-01-05T09:30:00Z"}`: 0, `{"since":"2026-01-05T09:00:00Z","event_types":["user.banned"]}`: 2,
	} {
		if got := d.bench.server(http.StatusOK, "POST", ownPrefix+"hooks/h/replay", body).body; got["replayed"] != want {
			t.Errorf("%s: %v", body, got)
		}
	}
	for body, field := range map[string]string{
		`{}`: "since", `{"event_ids":["e1"],"since":"2026-01-05T09:00:00Z"}`: "since", `{"event_ids":["e1"],"until":"2026-01-05T09:00:00Z"}`: "until",
		`{"since":"2026-01-05T09:00:00Z","until":"2026-01-05T09:00:00Z"}`: "until", `{"since":"yesterday"}`: "since",
	} {
		a := d.bench.server(http.StatusBadRequest, "POST", ownPrefix+"hooks/h/replay", body)
		if _, ok := a.body["exception_fields"].(map[string]any)[field]; !ok {
			t.Errorf("%s: %s", body, a.raw)
		}
	}
	for _, path := range []string{"POST hooks/x/test", "POST hooks/x/secret", "GET hooks/x/deliveries", "GET deliveries/x"} {
		method, rest, _ := strings.Cut(path, " ")
		d.bench.server(http.StatusNotFound, method, ownPrefix+rest, nil)
	}
	d.bench.server(http.StatusNotFound, "POST", ownPrefix+"hooks/x/replay", `{"event_ids":["e1"]}`)
	var verbs []string
	err := d.db.NewSelect().Model((*db.AuditRow)(nil)).Column("verb").Where("object = 'hook:h'").Order("verb").Scan(t.Context(), &verbs)
	if err != nil || len(verbs) != 6 || verbs[0] != "hook.replayed" || verbs[4] != "hook.secret_rotated" || verbs[5] != "hook.tested" {
		t.Errorf("audit %v, %v", verbs, err)
	}
}
