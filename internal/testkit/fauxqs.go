package testkit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// fauxqsProgram serves on loopback alone, which the package's own command
// does not. Without a host of its own, the store puts the address that it is
// asked at into queues' URLs.
const fauxqsProgram = `
import { buildApp } from "fauxqs";
import { SqsStore } from "./node_modules/fauxqs/dist/sqs/sqsStore.js";
const sqsStore = new SqsStore();
sqsStore.host = "";
await buildApp({ logger: false, stores: { sqsStore } }).listen({ host: "127.0.0.1", port: Number(process.argv[1]) });
`

// Fauxqs is a server that speaks SQS and SNS and keeps everything in memory.
// It takes any credentials.
type Fauxqs struct {
	// Endpoint is its address for both services.
	Endpoint string
	t        testing.TB
	npm      string
	end      func()
}

// QueueMessage is a message that lies in a queue.
type QueueMessage struct {
	Body string `json:"body"`
	// Attributes are the message attributes by name.
	Attributes map[string]struct {
		StringValue string `json:"StringValue"`
	} `json:"messageAttributes"`
	// Group and Dedup are set in FIFO queues.
	Group string `json:"messageGroupId"`
	Dedup string `json:"messageDeduplicationId"`
}

// SQS starts a fauxqs on a free port of 127.0.0.1.
func SQS(t testing.TB) *Fauxqs {
	t.Helper()
	npm := filepath.Join(ModuleRoot(t), "internal", "testkit", "npm")
	if _, err := os.Stat(filepath.Join(npm, "node_modules", "fauxqs")); err != nil {
		t.Skip("fauxqs is not installed (make setup installs it)")
	}
	f := &Fauxqs{t: t, npm: npm, Endpoint: fmt.Sprintf("http://127.0.0.1:%d", FreePort(t))}
	f.Start()
	return f
}

// Start starts the server after Stop; its queues and topics are gone.
func (f *Fauxqs) Start() {
	f.t.Helper()
	addr := strings.TrimPrefix(f.Endpoint, "http://")
	cmd := exec.Command("node", "--input-type=module", "-e", fauxqsProgram, addr[strings.LastIndexByte(addr, ':')+1:])
	cmd.Dir = f.npm
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	f.end = run(f.t, cmd, syscall.SIGTERM)
	awaitDial(f.t, "tcp", addr)
}

// Stop ends the server.
func (f *Fauxqs) Stop() { f.end() }

// CreateQueue makes a queue and returns its URL. A name that ends with
// ".fifo" makes a FIFO queue.
func (f *Fauxqs) CreateQueue(name string) (queueURL string) {
	f.t.Helper()
	attributes := map[string]string{}
	if strings.HasSuffix(name, ".fifo") {
		attributes["FifoQueue"] = "true"
	}
	var made struct {
		QueueURL string `json:"QueueUrl"`
	}
	f.sqs("CreateQueue", map[string]any{"QueueName": name, "Attributes": attributes}, &made)
	return made.QueueURL
}

// DeleteQueue deletes a queue.
func (f *Fauxqs) DeleteQueue(queueURL string) {
	f.t.Helper()
	f.sqs("DeleteQueue", map[string]any{"QueueUrl": queueURL}, nil)
}

// CreateTopic makes a topic whose messages go, as they are, to the queue, and
// returns its ARN. A name that ends with ".fifo" makes a FIFO topic.
func (f *Fauxqs) CreateTopic(name, queue string) (arn string) {
	f.t.Helper()
	form := url.Values{"Action": {"CreateTopic"}, "Name": {name}}
	if strings.HasSuffix(name, ".fifo") {
		form.Set("Attributes.entry.1.key", "FifoTopic")
		form.Set("Attributes.entry.1.value", "true")
	}
	f.sns(form)
	arn = "arn:aws:sns:us-east-1:000000000000:" + name
	f.sns(url.Values{
		"Action": {"Subscribe"}, "TopicArn": {arn}, "Protocol": {"sqs"}, "Endpoint": {"arn:aws:sqs:us-east-1:000000000000:" + queue},
		"Attributes.entry.1.key": {"RawMessageDelivery"}, "Attributes.entry.1.value": {"true"},
	})
	return arn
}

// Messages returns what lies in a queue, oldest first, and leaves it there.
func (f *Fauxqs) Messages(queue string) []QueueMessage {
	f.t.Helper()
	var state struct {
		Messages struct {
			Ready []QueueMessage `json:"ready"`
		} `json:"messages"`
	}
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.Endpoint+"/_fauxqs/queues/"+queue, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	f.do(req, &state)
	return state.Messages.Ready
}

func (f *Fauxqs) sqs(action string, in, out any) {
	f.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		f.t.Fatal(err)
	}
	f.post("application/x-amz-json-1.0", "AmazonSQS."+action, body, out)
}

func (f *Fauxqs) sns(form url.Values) {
	f.t.Helper()
	f.post("application/x-www-form-urlencoded", "", []byte(form.Encode()), nil)
}

func (f *Fauxqs) post(contentType, target string, body []byte, out any) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.Endpoint+"/", bytes.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if target != "" {
		req.Header.Set("X-Amz-Target", target)
	}
	f.do(req, out)
}

func (f *Fauxqs) do(req *http.Request, out any) {
	f.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		f.t.Fatalf("fauxqs answered %d, %v: %s", res.StatusCode, err, text)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(text, out); err != nil {
		f.t.Fatalf("fauxqs said %s: %v", text, err)
	}
}
