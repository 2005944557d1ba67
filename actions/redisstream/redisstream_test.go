package redisstream

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"stillwatch/actions/delivery"
	"stillwatch/actions/peer"
	"stillwatch/actions/peer/peertest"
	"stillwatch/internal/db"
	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func hookTo(url, stream string) delivery.Hook {
	return delivery.Hook{ID: "hook", Type: HookType, Timeout: delivery.DefaultTimeout, Settings: delivery.Settings{
		HookSettings: db.HookSettings{RedisURL: url, RedisStream: stream},
	}}
}

// ask is a client of the test's own.
func ask(t *testing.T, url string) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(opts)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func received(t *testing.T, c *redis.Client, stream string) (all []peertest.Got) {
	t.Helper()
	entries, err := c.XRange(t.Context(), stream, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text := func(field string) string { s, _ := e.Values[field].(string); return s }
		if len(e.Values) != 4 || text("cid") != "default:abc" {
			t.Errorf("an entry holds %v", e.Values)
		}
		all = append(all, peertest.Got{ID: text("id"), Type: text("type"), Body: []byte(text("body"))})
	}
	return all
}

func TestDemandsOfAnotherRedis(t *testing.T) {
	t.Parallel()
	server := testkit.RedisTCP(t)
	peertest.Run(t, peertest.Subject{
		New:        func(out peer.Out) delivery.Transport { return New(Config{Out: out}) },
		Hook:       hookTo(server.URL, "events"),
		NeverPacks: true,
		Received:   func(t *testing.T) []peertest.Got { return received(t, ask(t, server.URL), "events") },
		Stop:       server.Stop,
		Start:      server.Start,
		At: func(h delivery.Hook, addr string) delivery.Hook {
			h.Settings.RedisURL = "redis://" + addr
			return h
		},
		Wrong: func(h delivery.Hook) delivery.Hook {
			u, _ := url.Parse(server.URL)
			u.User = url.UserPassword("", peertest.Secret)
			h.Settings.RedisURL = u.String()
			return h
		},
	})
}

func TestOurOwnRedis(t *testing.T) {
	t.Parallel()
	own := testkit.Redis(t)
	tr := New(Config{Own: own})
	defer tr.Close()
	h := hookTo("", "events")
	h.Settings.RedisMaxLen = 100
	for n := range 350 {
		peertest.MustSend(t, tr, h, peertest.Message(n))
	}
	// "About": Redis trims whole nodes of 100 entries.
	got := received(t, ask(t, own), "events")
	if len(got) < 100 || len(got) > 250 || got[len(got)-1].ID != "event-349" {
		t.Errorf("the stream holds %d entries", len(got))
	}
	for _, stream := range []string{"stillwatch:actions", ""} {
		if res := peertest.Send(t, tr, hookTo("", stream), peertest.Message(1)); res.OK() {
			t.Errorf("a hook writes to %q", stream)
		}
	}
}

func TestAnotherKindOfKeyIsAFailure(t *testing.T) {
	t.Parallel()
	own := testkit.Redis(t)
	if err := ask(t, own).Set(t.Context(), "events", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	tr := New(Config{Own: own})
	defer tr.Close()
	res := peertest.Send(t, tr, hookTo("", "events"), peertest.Message(1))
	if res.OK() || res.Gone || !strings.HasPrefix(fmt.Sprint(res.Err), "WRONGTYPE") {
		t.Errorf("%+v", res)
	}
}

func TestAFullRedisIsThrottled(t *testing.T) {
	t.Parallel()
	own := testkit.Redis(t)
	if err := ask(t, own).ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	tr := New(Config{Own: own})
	defer tr.Close()
	if res := peertest.Send(t, tr, hookTo("", "events"), peertest.Message(1)); res.OK() || !res.Throttled {
		t.Errorf("%+v, want it throttled", res)
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"redis://h", "rediss://u:p@h:6380/2", "redis://[::1]:6379/"} {
		if _, err := ParseURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "h:6379", "unix:///run/redis.sock", "redis://", "redis://:secret@h/x", "rediss://:secret@h?skip_verify=true", "redis://:secret@h/1/2",
	} {
		if _, err := ParseURL(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
