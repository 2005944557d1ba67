package web

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"stillwatch/actions/awsqueue"
	"stillwatch/actions/delivery"
	"stillwatch/actions/peer"
	"stillwatch/actions/sns"
	"stillwatch/actions/sqs"
	"stillwatch/internal/netguard"
	"stillwatch/internal/testkit"
)

const checkSQSURL, checkSNSURL = "/api/v2/check_sqs", "/api/v2/check_sns"

// newQueueBench is a server that can reach SQS and SNS on this machine.
func newQueueBench(t *testing.T) (*bench, *testkit.Fauxqs) {
	t.Helper()
	guard := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	t.Cleanup(func() { _ = guard.Close() })
	queues := awsqueue.Client{HTTP: peer.Out{TLS: guard, Plain: guard}}
	return newBench(t, func(c *Config) {
		c.Queues = delivery.New(delivery.Config{DB: c.DB, Bus: noBus{}, Transports: map[string]delivery.Transport{
			sqs.HookType: sqs.New(queues), sns.HookType: sns.New(queues),
		}})
	}), testkit.SQS(t)
}

func TestCheckSQS(t *testing.T) {
	t.Parallel()
	b, server := newQueueBench(t)
	queue := server.CreateQueue("events")
	a := b.server(http.StatusOK, "POST", checkSQSURL, map[string]any{"sqs_url": queue, "sqs_key": "AKIATEST", "sqs_secret": "hunter2"})
	if a.body["status"] != "ok" || a.body["error"] != nil || a.body["duration"] == "" {
		t.Errorf("answer %s", a.raw)
	}
	got := server.Messages("events")
	if len(got) != 1 || !strings.Contains(got[0].Body, `"type":"custom"`) || got[0].Attributes[awsqueue.AttributeID].StringValue != a.body["data"].(map[string]any)["event_id"] {
		t.Fatalf("the queue holds %+v", got)
	}
	for _, tc := range []struct{ url, says string }{
		{queue + "-of-nobody", "does not exist"}, {"http://10.1.2.3/1/q", "refused to reach"}, {"nonsense", "no http or https URL"},
	} {
		a := b.server(http.StatusOK, "POST", checkSQSURL, map[string]any{"sqs_url": tc.url, "sqs_key": "AKIATEST", "sqs_secret": "hunter2"})
		if says, _ := a.body["error"].(string); a.body["status"] != "error" || !strings.Contains(says, tc.says) || strings.Contains(string(a.raw), "hunter2") {
			t.Errorf("%s: answer %s", tc.url, a.raw)
		}
	}
	b.server(http.StatusBadRequest, "POST", checkSQSURL, `{}`)
	b.server(http.StatusBadRequest, "POST", checkSQSURL, map[string]any{"sqs_url": queue, "sqs_key": "AKIATEST"})
	n, err := b.db.NewSelect().Table("audit").Where("verb = 'queue.checked'").Where("detail NOT LIKE '%hunter2%'").Count(t.Context())
	if err != nil || n != 4 {
		t.Errorf("%d checks stand in the audit, %v", n, err)
	}
}

func TestCheckSNS(t *testing.T) {
	t.Parallel()
	b, server := newQueueBench(t)
	server.CreateQueue("inbox")
	in := map[string]any{"sns_topic_arn": server.CreateTopic("events", "inbox"), "sns_key": "AKIATEST", "sns_secret": "hunter2", "sns_endpoint_url": server.Endpoint}
	if a := b.server(http.StatusOK, "POST", checkSNSURL, in); a.body["status"] != "ok" {
		t.Errorf("answer %s", a.raw)
	}
	if got := server.Messages("inbox"); len(got) != 1 {
		t.Errorf("the queue behind the topic holds %+v", got)
	}
	in["sns_topic_arn"] = "arn:aws:sns:us-east-1:000000000000:nobody"
	if a := b.server(http.StatusOK, "POST", checkSNSURL, in); a.body["status"] != "error" || strings.Contains(string(a.raw), "hunter2") {
		t.Errorf("answer %s", a.raw)
	}
	b.server(http.StatusBadRequest, "POST", checkSNSURL, nil)
}

// TestChecksTakeTheHooksQueue sends with the secret that the hook keeps.
func TestChecksTakeTheHooksQueue(t *testing.T) {
	t.Parallel()
	b, server := newQueueBench(t)
	server.CreateQueue("inbox")
	b.server(http.StatusOK, "PATCH", appURL, map[string]any{"event_hooks": []any{
		map[string]any{"hook_type": "sqs", "sqs_queue_url": server.CreateQueue("events"), "sqs_key": "AKIATEST", "sqs_secret": "hunter2"},
		map[string]any{
			"hook_type": "sns", "sns_topic_arn": server.CreateTopic("events", "inbox"), "sns_key": "AKIATEST", "sns_secret": "hunter2",
			"sns_endpoint_url": server.Endpoint,
		},
	}})
	for queue, target := range map[string]string{"events": checkSQSURL, "inbox": checkSNSURL} {
		if a := b.server(http.StatusOK, "POST", target, nil); a.body["status"] != "ok" || len(server.Messages(queue)) != 1 {
			t.Errorf("%s: answer %s", target, a.raw)
		}
	}
}
