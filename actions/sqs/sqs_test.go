package sqs

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"stillwatch/actions/awsqueue"
	"stillwatch/actions/awsqueue/awstest"
	"stillwatch/actions/delivery"
	"stillwatch/actions/peer"
	"stillwatch/actions/peer/peertest"
	"stillwatch/internal/db"
	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func transport(out peer.Out) delivery.Transport { return New(awsqueue.Client{HTTP: out}) }

func hookTo(queueURL string) delivery.Hook {
	return delivery.Hook{Type: HookType, Settings: delivery.Settings{
		HookSettings: db.HookSettings{SQSQueueURL: queueURL, SQSKey: "AKIATEST"}, SQSSecret: "key",
	}}
}

func TestDemands(t *testing.T) {
	t.Parallel()
	server := testkit.SQS(t)
	peertest.Run(t, peertest.Subject{
		New:      transport,
		Hook:     hookTo(server.CreateQueue("events")),
		Received: func(t *testing.T) []peertest.Got { return awstest.Received(t, server, "events") },
		Stop:     server.Stop,
		Start:    func() { server.Start(); server.CreateQueue("events") },
		At: func(h delivery.Hook, addr string) delivery.Hook {
			h.Settings.SQSQueueURL = "http://" + addr + "/000000000000/events"
			return h
		},
	})
}

func TestOrderedQueuesGetOneGroupForEachCall(t *testing.T) {
	t.Parallel()
	server := testkit.SQS(t)
	h := hookTo(server.CreateQueue("events.fifo"))
	h.ID, h.Timeout = "hook", delivery.DefaultTimeout
	tr := transport(peertest.Guard(t))
	defer tr.Close()
	for range 2 { // the second time is a duplicate, which the queue drops
		peertest.MustSend(t, tr, h, peertest.Message(1))
	}
	m := peertest.Message(2)
	m.Key = "default:other call/eve"
	peertest.MustSend(t, tr, h, m)
	got := server.Messages("events.fifo")
	if len(got) != 2 {
		t.Fatalf("the queue holds %d messages", len(got))
	}
	if got[0].Group != "default:abc" || got[0].Dedup != "event-1" || got[1].Group != "default:other_call" {
		t.Errorf("groups %q and %q, id %q", got[0].Group, got[1].Group, got[0].Dedup)
	}
}

func TestADeletedQueueIsGone(t *testing.T) {
	t.Parallel()
	server := testkit.SQS(t)
	url := server.CreateQueue("events")
	h := hookTo(url)
	h.ID, h.Timeout = "hook", delivery.DefaultTimeout
	tr := transport(peertest.Guard(t))
	defer tr.Close()
	peertest.MustSend(t, tr, h, peertest.Message(1))
	server.DeleteQueue(url)
	if res := peertest.Send(t, tr, h, peertest.Message(2)); !res.Gone || res.OK() {
		t.Errorf("%+v, want it gone", res)
	}
}

// TestWhatTheServiceRefuses replays the answers of the real service, which the
// test server does not give.
func TestWhatTheServiceRefuses(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]delivery.Result{
		"com.amazonaws.sqs#RequestThrottled":       {Throttled: true},
		"com.amazonaws.sqs#QueueDoesNotExist":      {Gone: true},
		"com.amazon.coral.service#AccessDenied":    {},
		"InvalidClientTokenId":                     {},
		"com.amazonaws.sqs#InvalidMessageContents": {},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/x-amz-json-1.0")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"__type":"` + code + `","message":"no, not with ` + peertest.Secret + ` of ` + r.Header.Get("Authorization") + `"}`))
			}))
			defer s.Close()
			h := hookTo(s.URL + "/1/events")
			h.Settings.SQSSecret, h.ID, h.Timeout = peertest.Secret, "hook", delivery.DefaultTimeout
			tr := transport(peertest.Guard(t))
			defer tr.Close()
			res := peertest.Send(t, tr, h, peertest.Message(1))
			if res.OK() || res.Gone != want.Gone || res.Throttled != want.Throttled || res.Status != http.StatusBadRequest {
				t.Errorf("%+v", res)
			}
			if said := res.Err.Error(); strings.Contains(said, peertest.Secret) || strings.Contains(said, "AKIATEST") || !strings.Contains(said, "no, not with") {
				t.Errorf("it says %q", said)
			}
		})
	}
}

func TestRegionsAndEndpoints(t *testing.T) {
	t.Parallel()
	for url, want := range map[string][2]string{
		"https://sqs.eu-west-1.amazonaws.com/1/q":     {"https://sqs.eu-west-1.amazonaws.com", "eu-west-1"},
		"https://eu-west-3.queue.amazonaws.com/1/q":   {"https://eu-west-3.queue.amazonaws.com", "eu-west-3"},
		"https://sqs.cn-north-1.amazonaws.com.cn/1/q": {"https://sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"},
		"http://127.0.0.1:4566/000000000000/q":        {"http://127.0.0.1:4566", DefaultRegion},
		"https://queue.example.com/q":                 {"https://queue.example.com", DefaultRegion},
	} {
		at, err := endpoint(url)
		if err != nil || at != want[0] || (Queue{URL: url}).region() != want[1] {
			t.Errorf("%s: %q, %q, %v", url, at, Queue{URL: url}.region(), err)
		}
	}
	if got := (Queue{URL: "https://sqs.eu-west-1.amazonaws.com/1/q", Region: "x"}).region(); got != "x" {
		t.Errorf("the setting counts for nothing: %q", got)
	}
	for _, bad := range []string{"", "queue", "ftp://h/q", "http://", "https:///q", "http://%zz"} {
		if at, err := endpoint(bad); err == nil {
			t.Errorf("%q leads to %q", bad, at)
		}
	}
}
