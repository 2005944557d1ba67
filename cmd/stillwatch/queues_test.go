package main

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"stillwatch/actions/amqp"
	"stillwatch/actions/awsqueue"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// TestABanReachesEveryKindOfHook sets a hook of each kind by the API, bans
// somebody, and finds the same body in each queue as the webhook got.
func TestABanReachesEveryKindOfHook(t *testing.T) {
	aws, rabbit := testkit.SQS(t), testkit.RabbitMQ(t)
	r := startRig(t)
	aws.CreateQueue("inbox")
	only := []string{event.UserBanned}
	hooks, err := json.Marshal(map[string]any{"event_hooks": []any{
		map[string]any{"hook_type": "sqs", "event_types": only, "sqs_queue_url": aws.CreateQueue("events"), "sqs_key": "AKIATEST", "sqs_secret": "s"},
		map[string]any{
			"hook_type": "sns", "event_types": only, "sns_topic_arn": aws.CreateTopic("events", "inbox"), "sns_key": "AKIATEST", "sns_secret": "s",
			"sns_endpoint_url": aws.Endpoint,
		},
		map[string]any{"hook_type": "amqp", "event_types": only, "amqp_url": rabbit.URL, "amqp_processed_queue": "done"},
		map[string]any{"hook_type": "redis", "event_types": only, "redis_stream": "events"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if code := r.api("PATCH", "/api/v2/app", string(hooks), nil); code != http.StatusOK {
		t.Fatalf("set hooks: %d", code)
	}
	if code := r.api("POST", "/api/v2/moderation/ban", `{"target_user_id":"zoe","banned_by_id":"mo","reason":"test"}`, nil); code/100 != 2 {
		t.Fatalf("ban: %d", code)
	}
	testkit.Eventually(t, 30*time.Second, func() bool {
		n, err := r.db.NewSelect().Model((*db.DeliveryRow)(nil)).Where("event_type = ?", event.UserBanned).Where("state = ?", db.DeliveryDone).Count(t.Context())
		return err == nil && n == 5
	}, "five deliveries")
	want := r.hook.of(event.UserBanned)
	if len(want) != 1 {
		t.Fatalf("%d webhooks", len(want))
	}
	got := map[string][2]string{}
	for _, queue := range []string{"events", "inbox"} {
		for _, m := range aws.Messages(queue) {
			got[queue] = [2]string{m.Attributes[awsqueue.AttributeID].StringValue, m.Body}
		}
	}
	d, ok, err := rabbit.Channel().Get(amqp.EventsQueue, true)
	if err != nil || !ok {
		t.Fatalf("RabbitMQ's queue is empty: %v", err)
	}
	got["rabbit"] = [2]string{d.MessageId, string(d.Body)}
	opts, err := redis.ParseURL(r.redisURL())
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(opts)
	defer c.Close()
	entries, err := c.XRange(t.Context(), "events", "-", "+").Result()
	if err != nil || len(entries) != 1 {
		t.Fatalf("the stream holds %v, %v", entries, err)
	}
	got["redis"] = [2]string{entries[0].Values["id"].(string), entries[0].Values["body"].(string)}
	for _, where := range []string{"events", "inbox", "rabbit", "redis"} {
		if got[where] != [2]string{want[0].id, string(want[0].body)} {
			t.Errorf("%s holds %q\nwant %s %s", where, got[where], want[0].id, want[0].body)
		}
	}
}
