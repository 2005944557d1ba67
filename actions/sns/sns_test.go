package sns

import (
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

func hookTo(s *testkit.Fauxqs, arn string) delivery.Hook {
	return delivery.Hook{ID: "hook", Type: HookType, Timeout: delivery.DefaultTimeout, Settings: delivery.Settings{
		HookSettings: db.HookSettings{SNSTopicARN: arn, SNSEndpointURL: s.Endpoint, SNSKey: "AKIATEST"}, SNSSecret: "key",
	}}
}

func TestDemands(t *testing.T) {
	t.Parallel()
	server := testkit.SQS(t)
	create := func() string { server.CreateQueue("inbox"); return server.CreateTopic("events", "inbox") }
	peertest.Run(t, peertest.Subject{
		New:      transport,
		Hook:     hookTo(server, create()),
		Received: func(t *testing.T) []peertest.Got { return awstest.Received(t, server, "inbox") },
		Stop:     server.Stop,
		Start:    func() { server.Start(); create() },
		At: func(h delivery.Hook, addr string) delivery.Hook {
			h.Settings.SNSEndpointURL = "http://" + addr
			return h
		},
	})
}

func TestOrderedTopicsGetOneGroupForEachCall(t *testing.T) {
	t.Parallel()
	server := testkit.SQS(t)
	server.CreateQueue("inbox.fifo")
	h := hookTo(server, server.CreateTopic("events.fifo", "inbox.fifo"))
	tr := transport(peertest.Guard(t))
	defer tr.Close()
	for range 2 { // the second time is a duplicate, which is dropped
		peertest.MustSend(t, tr, h, peertest.Message(1))
	}
	got := server.Messages("inbox.fifo")
	if len(got) != 1 || got[0].Group != "default:abc" || got[0].Dedup != "event-1" {
		t.Errorf("the queue holds %+v", got)
	}
}

func TestATopicThatIsNotThereIsGone(t *testing.T) {
	t.Parallel()
	server := testkit.SQS(t)
	tr := transport(peertest.Guard(t))
	defer tr.Close()
	h := hookTo(server, "arn:aws:sns:us-east-1:000000000000:nobody")
	if res := peertest.Send(t, tr, h, peertest.Message(1)); !res.Gone || res.OK() {
		t.Errorf("%+v, want it gone", res)
	}
}

func TestRegions(t *testing.T) {
	t.Parallel()
	for arn, want := range map[string]string{
		"arn:aws:sns:eu-west-1:123456789012:events": "eu-west-1", "arn:aws-cn:sns:cn-north-1:1:events.fifo": "cn-north-1",
		"": "", "events": "", "arn:aws:sqs:eu-west-1:1:events": "", "arn:aws:sns::1:events": "", "arn:aws:sns:eu-west-1:1:": "",
		"arn:aws:sns:eu-west-1:1:events:subscription": "",
	} {
		if got, err := RegionOf(arn); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is in %q, %v", arn, got, err)
		}
	}
	if got, err := (Topic{ARN: "arn:aws:sns:eu-west-1:1:e", Region: "x"}).region(); got != "x" || err != nil {
		t.Errorf("the setting counts for nothing: %q, %v", got, err)
	}
}
