package amqp

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	broker "github.com/rabbitmq/amqp091-go"

	"stillwatch/actions/delivery"
	"stillwatch/actions/peer"
	"stillwatch/actions/peer/peertest"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func transport(out peer.Out) delivery.Transport { return New(out) }

func hookTo(url string) delivery.Hook {
	return delivery.Hook{ID: "hook", Type: HookType, Timeout: delivery.DefaultTimeout, Settings: delivery.Settings{
		HookSettings: db.HookSettings{AMQPURL: url},
	}}
}

// at is a broker's URL with another host and port, or password.
func at(t *testing.T, text, host, password string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		u.Host = host
	}
	if password != "" {
		u.User = url.UserPassword(u.User.Username(), password)
	}
	return u.String()
}

// received reads a queue and leaves everything in it.
func received(t *testing.T, r *testkit.Rabbit, queue string) (all []peertest.Got) {
	t.Helper()
	ch := r.Channel()
	defer ch.Close() // what is not acknowledged goes back
	for {
		d, ok, err := ch.Get(queue, false)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return all
		}
		if d.DeliveryMode != broker.Persistent || d.ContentType != "application/json" {
			t.Errorf("mode %d, type %q", d.DeliveryMode, d.ContentType)
		}
		body := d.Body
		if d.ContentEncoding == "gzip" {
			zip, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(zip); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, peertest.Got{ID: d.MessageId, Type: d.Type, Body: body, Packed: d.ContentEncoding == "gzip"})
	}
}

// TestRabbitMQ has one server for all, for it takes seconds to start.
func TestRabbitMQ(t *testing.T) {
	t.Parallel()
	server := testkit.RabbitMQ(t)
	t.Run("recordings have queues of their own", func(t *testing.T) { recordings(t, server) })
	t.Run("exchange", func(t *testing.T) { exchange(t, server) })
	t.Run("a queue that is there is taken as it is", func(t *testing.T) { present(t, server) })
	t.Run("a deleted queue is made again", func(t *testing.T) { deleted(t, server) })
	t.Run("a broker that takes nothing", func(t *testing.T) { blocked(t, server) })
	t.Run("demands", func(t *testing.T) {
		peertest.Run(t, peertest.Subject{
			New:      transport,
			Hook:     hookTo(server.URL),
			Received: func(t *testing.T) []peertest.Got { return received(t, server, EventsQueue) },
			Stop:     server.Stop,
			Start:    server.Start,
			At: func(h delivery.Hook, addr string) delivery.Hook {
				h.Settings.AMQPURL = at(t, server.URL, addr, "")
				return h
			},
			Wrong: func(h delivery.Hook) delivery.Hook {
				h.Settings.AMQPURL = at(t, server.URL, "", peertest.Secret)
				return h
			},
		})
	})
	t.Run("a restart in the middle loses nothing", func(t *testing.T) { restart(t, server) })
}

func recordings(t *testing.T, server *testkit.Rabbit) {
	tr := transport(peertest.Guard(t))
	defer tr.Close()
	own := hookTo(server.URL)
	own.Settings.AMQPProcessedQueue, own.Settings.AMQPFailureQueue = "done", "broken"
	for _, h := range []delivery.Hook{hookTo(server.URL), own} {
		for _, typ := range []string{event.CallRecordingReady, event.CallRecordingFailed} {
			m := peertest.Message(1)
			m.Type = typ
			peertest.MustSend(t, tr, h, m)
		}
	}
	for queue, typ := range map[string]string{
		"processedQueue": event.CallRecordingReady, "failure_queue": event.CallRecordingFailed,
		"done": event.CallRecordingReady, "broken": event.CallRecordingFailed,
	} {
		if got := received(t, server, queue); len(got) != 1 || got[0].Type != typ {
			t.Errorf("queue %s holds %+v", queue, got)
		}
	}
}

func exchange(t *testing.T, server *testkit.Rabbit) {
	tr := transport(peertest.Guard(t))
	defer tr.Close()
	h := hookTo(server.URL)
	h.Settings.AMQPExchange = "moderation"
	res := peertest.Send(t, tr, h, peertest.Message(1))
	if res.OK() || res.Gone || !strings.Contains(res.Err.Error(), "no queue is bound") {
		t.Fatalf("nobody listens: %+v", res)
	}
	ch := server.Channel()
	if _, err := ch.QueueDeclare("bans", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind("bans", "user.*", "moderation", false, nil); err != nil {
		t.Fatal(err)
	}
	peertest.MustSend(t, tr, h, peertest.Message(2))
	if got := received(t, server, "bans"); len(got) != 1 || got[0].ID != "event-2" {
		t.Errorf("the queue holds %+v", got)
	}
}

func present(t *testing.T, server *testkit.Rabbit) {
	ch := server.Channel()
	if _, err := ch.QueueDeclare("short", false, false, false, false, broker.Table{"x-max-length": int32(1), "x-overflow": "reject-publish"}); err != nil {
		t.Fatal(err)
	}
	tr := transport(peertest.Guard(t))
	defer tr.Close()
	h := hookTo(server.URL)
	h.Settings.AMQPProcessedQueue = "short"
	m := peertest.Message(1)
	m.Type = event.CallRecordingReady
	peertest.MustSend(t, tr, h, m)
	// It is full now and says so.
	if res := peertest.Send(t, tr, h, m); res.OK() || !res.Throttled {
		t.Errorf("a full queue: %+v, want it throttled", res)
	}
}

func deleted(t *testing.T, server *testkit.Rabbit) {
	tr := transport(peertest.Guard(t))
	defer tr.Close()
	h := hookTo(server.URL)
	h.Settings.AMQPFailureQueue = "gone"
	m := peertest.Message(1)
	m.Type = event.CallRecordingFailed
	peertest.MustSend(t, tr, h, m)
	if _, err := server.Channel().QueueDelete("gone", false, false, false); err != nil {
		t.Fatal(err)
	}
	if res := peertest.Send(t, tr, h, m); res.OK() || res.Gone || !strings.Contains(res.Err.Error(), "came back") {
		t.Errorf("%+v, want it back", res)
	}
	peertest.MustSend(t, tr, h, m)
	if got := received(t, server, "gone"); len(got) != 1 {
		t.Errorf("the queue holds %d messages", len(got))
	}
}

// blocked makes the broker believe that it has no memory left.
func blocked(t *testing.T, server *testkit.Rabbit) {
	tr := transport(peertest.Guard(t))
	defer tr.Close()
	h := hookTo(server.URL)
	h.Settings.AMQPProcessedQueue = "patient"
	h.Timeout = 500 * time.Millisecond
	m := peertest.Message(1)
	m.Type = event.CallRecordingReady
	peertest.MustSend(t, tr, h, m)
	server.Control("set_vm_memory_high_watermark", "0")
	testkit.Eventually(t, 30*time.Second, func() bool {
		res := peertest.Send(t, tr, h, m)
		return res.Throttled && res.Err.Error() == errBlocked.Error()
	}, "it says that it is blocked")
	server.Control("set_vm_memory_high_watermark", "0.4")
	testkit.Eventually(t, 30*time.Second, func() bool { return peertest.Send(t, tr, h, m).OK() }, "it takes messages again")
}

func restart(t *testing.T, server *testkit.Rabbit) {
	const events, senders = 300, 4
	tr := transport(peertest.Guard(t))
	defer tr.Close()
	h := hookTo(server.URL)
	h.Settings.AMQPProcessedQueue = "survivors"
	next := make(chan int)
	half := make(chan struct{})
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for n := range next {
				m := peertest.Message(n)
				m.Type = event.CallRecordingReady
				for deadline := time.Now().Add(time.Minute); !peertest.Send(t, tr, h, m).OK(); m.Attempt++ {
					if time.Now().After(deadline) {
						t.Errorf("%s is not taken within a minute", m.EventID)
						break
					}
					<-time.After(20 * time.Millisecond) // the pause between attempts
				}
			}
		})
	}
	wg.Go(func() { <-half; server.Stop(); server.Start() })
	for n := range events {
		next <- n
		if n == events/2 {
			close(half)
		}
	}
	close(next)
	wg.Wait()
	ids := map[string]int{}
	for _, got := range received(t, server, "survivors") {
		ids[got.ID]++
	}
	for n := range events {
		if ids[fmt.Sprintf("event-%d", n)] == 0 {
			t.Errorf("event %d is lost", n)
		}
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"amqp://u:p@h", "amqp://u:p@h:5672/vhost", "amqps://h/", "amqp://u:p%40@[::1]:5672/%2f"} {
		if _, err := ParseURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "h:5672", "http://h", "amqp://", "amqp://u:secret@h:port/", "amqp://u:secret@h/?cacertfile=/etc/passwd", "amqps://h/?heartbeat=1", "amqp://u:secret@h/#x",
	} {
		if _, err := ParseURL(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	to := targetOf(delivery.Settings{})
	for typ, want := range map[string]route{
		event.CallRecordingReady: {"", ProcessedQueue}, event.CallRecordingFailed: {"", FailureQueue},
		event.CallRecordingStarted: {"", EventsQueue}, event.UserBanned: {"", EventsQueue},
	} {
		if got := to.route(typ); got != want {
			t.Errorf("%s goes to %+v, want %+v", typ, got, want)
		}
	}
	to.exchange = "x"
	if got := to.route(event.UserBanned); got != (route{"x", event.UserBanned}) {
		t.Errorf("with an exchange: %+v", got)
	}
	if got := to.route(event.CallRecordingReady); got != (route{"", ProcessedQueue}) {
		t.Errorf("recordings with an exchange: %+v", got)
	}
}
