package delivery_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"stillwatch/actions/awsqueue"
	"stillwatch/actions/delivery"
	"stillwatch/actions/peer"
	"stillwatch/actions/redisstream"
	"stillwatch/actions/sqs"
	"stillwatch/actions/webhook"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// queueHook keeps a hook to a queue, with one sealed secret.
func (w *world) queueHook(kind string, d db.HookSettings, name, secret string) {
	w.Helper()
	sealed, err := w.box.Seal(db.HookSecretPurpose(name), kind, secret)
	if err != nil {
		w.Fatal(err)
	}
	d.Sealed = map[string]string{name: sealed}
	raw, err := json.Marshal(d)
	if err != nil {
		w.Fatal(err)
	}
	row := db.HookRow{ID: kind, HookType: kind, Enabled: true, TimeoutMS: 2000, Settings: db.JSON[json.RawMessage]{V: raw}}
	if _, err := w.db.NewInsert().Model(&row).Exec(w.Context()); err != nil {
		w.Fatal(err)
	}
}

// queues are the transports besides webhooks.
func (w *world) queues(cfg *delivery.Config) {
	out := peer.Out{TLS: w.client, Plain: w.client}
	cfg.Transports[sqs.HookType] = sqs.New(awsqueue.Client{HTTP: out})
	cfg.Transports[redisstream.HookType] = redisstream.New(redisstream.Config{Out: out})
}

// unpack reads a body as receivers do.
func unpack(t *testing.T, body []byte) string {
	t.Helper()
	if raw, err := base64.StdEncoding.Strict().DecodeString(string(body)); err == nil {
		body = raw
	}
	if !bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
		return string(body)
	}
	zip, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestQueuesGetWhatWebhooksGet ends the queues' servers before the event comes
// and starts them again before the second attempt.
func TestQueuesGetWhatWebhooksGet(t *testing.T) {
	t.Parallel()
	for _, compress := range []bool{false, true} {
		t.Run(fmt.Sprintf("compression %v", compress), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			aws, rds := testkit.SQS(t), testkit.RedisTCP(t)
			queue := aws.CreateQueue("events")
			r := newReceiver(t, nil)
			w.hook("webhook", r.URL)
			w.queueHook(sqs.HookType, db.HookSettings{SQSQueueURL: queue, SQSKey: "AKIATEST"}, db.SecretSQS, "hunter2")
			w.queueHook(redisstream.HookType, db.HookSettings{RedisStream: "events"}, db.SecretRedisURL, rds.URL)
			if _, err := w.db.NewInsert().Model(&db.AppSettingsRow{ID: 1, HookCompression: db.Bool(compress)}).Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
			aws.Stop()
			rds.Stop()
			s := w.start(w.sender(w.queues))
			w.handle(s, banned("e1"))
			testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 1 && s.Stats().Failed == 2 && s.Idle() })
			for _, d := range w.deliveries() {
				if strings.Contains(d.LastError, "secret") || strings.Contains(d.LastError, "hunter2") || (d.LastError == "") != (d.State == db.DeliveryDone) {
					t.Errorf("delivery to %s: %s, %q", d.HookID, d.State, d.LastError)
				}
			}
			aws.Start()
			aws.CreateQueue("events")
			rds.Start()
			w.clock.Advance(delivery.Schedule[1])
			s.Reload()
			testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 3 })

			want := unpack(t, r.all()[0].body)
			if want != string(banned("e1").Data) {
				t.Errorf("the webhook got %s", want)
			}
			got := aws.Messages("events")
			if len(got) != 1 || unpack(t, []byte(got[0].Body)) != want || strings.HasPrefix(got[0].Body, "{") == compress ||
				got[0].Attributes[awsqueue.AttributeID].StringValue != r.all()[0].header.Get(webhook.HeaderID) ||
				got[0].Attributes[awsqueue.AttributeAttempt].StringValue != "2" {
				t.Errorf("the queue holds %+v", got)
			}
			opts, err := redis.ParseURL(rds.URL)
			if err != nil {
				t.Fatal(err)
			}
			c := redis.NewClient(opts)
			defer c.Close()
			entries, err := c.XRange(t.Context(), "events", "-", "+").Result()
			if err != nil || len(entries) != 1 || entries[0].Values["body"] != want || entries[0].Values["id"] != "e1" {
				t.Errorf("the stream holds %+v, %v", entries, err)
			}
		})
	}
}

func TestFileCallbackHooksHearOfFilesAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, native := newReceiver(t, nil), newReceiver(t, nil)
	w.hookWith("files", r.URL, `{"body_style":"file_callback"}`)
	w.hook("native", native.URL)
	s := w.start(w.sender(func(c *delivery.Config) {
		c.Encoders = map[string]delivery.Encoder{delivery.StyleFileCallback: delivery.EncodeFileCallback}
	}))
	at := time.Unix(1456800010, 0)
	started := event.New(event.CallRecordingStarted, "default:abc", at, event.RecordingState{Type: event.CallRecordingStarted})
	ready := event.New(event.CallRecordingReady, "default:abc", at, event.RecordingReady{
		Type: event.CallRecordingReady, EgressID: "task", CallRecording: event.CallRecording{
			Format: event.RecordingMP4, StartTime: at, EndTime: at, Items: []event.RecordingItem{{Key: "a.mp4"}},
		},
	})
	w.handle(s, banned("e1"), started, ready, ready)
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 4 })
	got := r.all()
	if len(got) != 1 || len(native.all()) != 3 {
		t.Fatalf("%d callbacks, %d events", len(got), len(native.all()))
	}
	if !bytes.HasPrefix(got[0].body, []byte(`{"taskid":"task","status":3,"type":"avtrans","details":{"errnum":0,`)) ||
		!webhook.Verify("secret", got[0].body, got[0].header.Get("X-SIGNATURE")) {
		t.Errorf("got %v %s", got[0].header, got[0].body)
	}
}
