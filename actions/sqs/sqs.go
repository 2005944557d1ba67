// Package sqs puts public events into SQS queues.
package sqs

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"stillwatch/actions/awsqueue"
	"stillwatch/actions/delivery"
	"stillwatch/actions/peer"
)

// HookType is the hook_type of the hooks that this package serves.
const HookType = "sqs"

// Queue is a queue and who writes into it.
type Queue struct {
	URL string
	// Region is read from the URL where it is empty and the URL has one.
	Region string
	Auth   awsqueue.Auth
}

// Transport implements delivery.Transport.
type Transport struct {
	aws    awsqueue.Client
	queues peer.Pool[Queue, *client]
}

// New makes a transport whose requests go through the client.
func New(c awsqueue.Client) *Transport {
	t := &Transport{aws: c}
	t.queues.Open = t.open
	return t
}

// client writes into one queue. It holds nothing open.
type client struct{ api *sqs.Client }

// Close implements io.Closer.
func (*client) Close() error { return nil }

func (t *Transport) open(q Queue) (*client, error) {
	endpoint, err := endpoint(q.URL)
	if err != nil {
		return nil, err
	}
	cfg, err := t.aws.Config(context.Background(), q.Auth, q.region())
	if err != nil {
		return nil, err
	}
	return &client{sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.BaseEndpoint = aws.String(endpoint) })}, nil
}

// endpoint is where requests about the queue go: to the queue's own host,
// which need not be Amazon's.
func endpoint(queueURL string) (string, error) {
	u, err := url.Parse(queueURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", errors.New("the queue's URL is no http or https URL")
	}
	return u.Scheme + "://" + u.Host, nil
}

var hostRegion = regexp.MustCompile(`^(?:sqs\.([a-z0-9-]+)\.|([a-z0-9-]+)\.queue\.)`)

// DefaultRegion signs where neither the setting nor the queue's URL has one;
// servers that are not Amazon's take any.
const DefaultRegion = "us-east-1"

func (q Queue) region() string {
	if q.Region != "" {
		return q.Region
	}
	u, err := url.Parse(q.URL)
	if err != nil {
		return DefaultRegion
	}
	if m := hostRegion.FindStringSubmatch(u.Hostname()); m != nil {
		return m[1] + m[2]
	}
	return DefaultRegion
}

// queueOf is the hook's queue.
func queueOf(s delivery.Settings) Queue {
	return Queue{URL: s.SQSQueueURL, Region: s.SQSRegion, Auth: awsqueue.Auth{
		Type: s.SQSAuthType, Key: s.SQSKey, Secret: s.SQSSecret, RoleARN: s.SQSRoleARN,
	}}
}

// Send implements delivery.Transport.
func (t *Transport) Send(ctx context.Context, h delivery.Hook, m delivery.Message) delivery.Result {
	q := queueOf(h.Settings)
	c, release, err := t.queues.Get(h.ID, q)
	if err != nil {
		return peer.Failure(err, q.Auth.Secret)
	}
	defer release()
	text, err := awsqueue.Text(m.Body, h.Compress)
	if err != nil {
		return delivery.Result{Err: err}
	}
	in := &sqs.SendMessageInput{
		QueueUrl: aws.String(q.URL), MessageBody: aws.String(text),
		MessageAttributes: map[string]types.MessageAttributeValue{
			awsqueue.AttributeID:      attribute("String", m.EventID),
			awsqueue.AttributeType:    attribute("String", m.Type),
			awsqueue.AttributeAttempt: attribute("Number", strconv.Itoa(m.Attempt)),
		},
	}
	if awsqueue.FIFO(strings.TrimSuffix(q.URL, "/")) {
		in.MessageDeduplicationId, in.MessageGroupId = aws.String(m.EventID), aws.String(awsqueue.Group(m.Key))
	}
	_, err = c.api.SendMessage(ctx, in)
	return awsqueue.Outcome(err, q.Auth)
}

func attribute(kind, value string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String(kind), StringValue: aws.String(value)}
}

// Forget implements delivery.Forgetter.
func (t *Transport) Forget(hookID string) { t.queues.Forget(hookID) }

// Close implements delivery.Transport.
func (t *Transport) Close() error { return t.queues.Close() }
