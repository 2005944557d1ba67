// Package amqp puts public events into RabbitMQ, or any broker that speaks
// AMQP 0-9-1 with publisher confirms.
package amqp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	broker "github.com/rabbitmq/amqp091-go"

	"stillwatch/actions/delivery"
	"stillwatch/actions/peer"
	"stillwatch/internal/event"
)

// HookType is the hook_type of the hooks that this package serves.
const HookType = "amqp"

// Queues that are used where the settings name none. What is neither a
// recording's end nor sent to an exchange goes to EventsQueue.
const (
	ProcessedQueue = "processedQueue"
	FailureQueue   = "failure_queue"
	EventsQueue    = "stillwatch.events"
)

// Transport implements delivery.Transport. It has one connection to each
// hook's broker.
type Transport struct {
	links peer.Pool[target, *link]
}

// New makes a transport that connects by out.
func New(out peer.Out) *Transport {
	t := &Transport{}
	t.links.Open = func(to target) (*link, error) { return newLink(to, out) }
	return t
}

// target is where a hook's events go.
type target struct{ url, exchange, processed, failure string }

func targetOf(s delivery.Settings) target {
	to := target{s.AMQPURL, s.AMQPExchange, s.AMQPProcessedQueue, s.AMQPFailureQueue}
	if to.processed == "" {
		to.processed = ProcessedQueue
	}
	if to.failure == "" {
		to.failure = FailureQueue
	}
	return to
}

// ParseURL reads amqp://USER:PASSWORD@HOST:PORT/VHOST or amqps://. Settings
// behind a "?" are refused: some of them name files of this machine. Errors
// hold nothing of the URL.
func ParseURL(text string) (broker.URI, error) {
	if strings.ContainsAny(text, "?#") {
		return broker.URI{}, errors.New("the broker's URL has settings behind its path, which are not allowed")
	}
	uri, err := broker.ParseURI(text)
	if u, bad := url.Parse(text); err != nil || bad != nil || u.Hostname() == "" { // the library would take localhost
		return broker.URI{}, errors.New("the broker's URL is not amqp://USER:PASSWORD@HOST:PORT/VHOST or amqps://…")
	}
	return uri, nil
}

// route is an exchange and a routing key. Where the exchange is the default
// one, "", the key is the name of a queue.
type route struct{ exchange, key string }

// route tells where events of the type go: finished and failed recordings
// into queues of their own, all others to the exchange, by their type.
func (to target) route(typ string) route {
	switch {
	case typ == event.CallRecordingReady:
		return route{"", to.processed}
	case typ == event.CallRecordingFailed:
		return route{"", to.failure}
	case to.exchange != "":
		return route{to.exchange, typ}
	}
	return route{"", EventsQueue}
}

// Send implements delivery.Transport. It succeeds when the broker has
// confirmed that the message lies in a queue.
func (t *Transport) Send(ctx context.Context, h delivery.Hook, m delivery.Message) delivery.Result {
	to := targetOf(h.Settings)
	l, release, err := t.links.Get(h.ID, to)
	if err != nil {
		return peer.Failure(err)
	}
	defer release()
	msg := broker.Publishing{
		MessageId: m.EventID, Type: m.Type, AppId: "stillwatch", ContentType: "application/json", DeliveryMode: broker.Persistent,
		Headers: broker.Table{"key": m.Key, "attempt": int32(min(m.Attempt, 1<<30))}, Body: m.Body,
	}
	if h.Compress {
		if msg.Body, err = pack(m.Body); err != nil {
			return delivery.Result{Err: err}
		}
		msg.ContentEncoding = "gzip"
	}
	return l.outcome(ctx, l.send(ctx, to.route(m.Type), msg))
}

func pack(body []byte) ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if _, err := zip.Write(body); err != nil {
		return nil, fmt.Errorf("compress body: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("compress body: %w", err)
	}
	return out.Bytes(), nil
}

// Forget implements delivery.Forgetter.
func (t *Transport) Forget(hookID string) { t.links.Forget(hookID) }

// Close implements delivery.Transport.
func (t *Transport) Close() error { return t.links.Close() }
