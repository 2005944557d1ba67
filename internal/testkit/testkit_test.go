package testkit

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestServersStartAndLeaveNothing(t *testing.T) {
	t.Parallel()
	var sock, pg string
	t.Run("run", func(t *testing.T) {
		sock = strings.TrimPrefix(Redis(t), "unix://")
		if c, err := net.Dial("unix", sock); err != nil {
			t.Fatalf("Redis does not listen: %v", err)
		} else {
			c.Close()
		}
		pg = Postgres(t)
		if !strings.HasPrefix(pg, "postgres://") {
			t.Fatalf("address %q", pg)
		}
	})
	if _, err := os.Stat(filepath.Dir(sock)); !os.IsNotExist(err) {
		t.Errorf("Redis left its folder behind: %v", err)
	}
}

func TestMinIOListens(t *testing.T) {
	t.Parallel()
	s := MinIO(t)
	c, err := net.Dial("tcp", strings.TrimPrefix(s.Endpoint, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestRabbitMQKeepsWhatIsPersistentOverARestart(t *testing.T) {
	t.Parallel()
	r := RabbitMQ(t)
	ch := r.Channel()
	if _, err := ch.QueueDeclare("kept", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	r.Stop()
	if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port)); err == nil {
		c.Close()
		t.Error("it listens after Stop")
	}
	r.Start()
	if _, err := r.Channel().QueueDeclarePassive("kept", true, false, false, false, nil); err != nil {
		t.Error(err)
	}
}

func TestSQSQueuesAndTopics(t *testing.T) {
	t.Parallel()
	f := SQS(t)
	at := f.CreateQueue("in")
	arn := f.CreateTopic("news", "in")
	f.sqs("SendMessage", map[string]any{"QueueUrl": at, "MessageBody": "one"}, nil)
	f.sns(url.Values{"Action": {"Publish"}, "TopicArn": {arn}, "Message": {"two"}})
	got := f.Messages("in")
	if len(got) != 2 || got[0].Body != "one" || got[1].Body != "two" {
		t.Errorf("the queue holds %+v", got)
	}
	f.DeleteQueue(at)
	f.Stop()
	f.Start()
	f.CreateQueue("in")
	if got := f.Messages("in"); len(got) != 0 {
		t.Errorf("a fresh queue holds %+v", got)
	}
}

func TestClockMovesOnlyWhenTold(t *testing.T) {
	t.Parallel()
	c := NewClock()
	at := c.Now()
	if !c.Now().Equal(at) {
		t.Error("it moved by itself")
	}
	c.Advance(time.Hour)
	if got := c.Now().Sub(at); got != time.Hour {
		t.Errorf("it moved by %s", got)
	}
}
