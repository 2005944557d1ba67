// Package sns publishes public events on SNS topics.
package sns

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"stillwatch/actions/awsqueue"
	"stillwatch/actions/delivery"
	"stillwatch/actions/peer"
)

// HookType is the hook_type of the hooks that this package serves.
const HookType = "sns"

// Topic is a topic and who publishes on it.
type Topic struct {
	ARN string
	// Region is read from the ARN where it is empty.
	Region string
	// Endpoint is empty for the region's own.
	Endpoint string
	Auth     awsqueue.Auth
}

// Transport implements delivery.Transport.
type Transport struct {
	aws    awsqueue.Client
	topics peer.Pool[Topic, *client]
}

// New makes a transport whose requests go through the client.
func New(c awsqueue.Client) *Transport {
	t := &Transport{aws: c}
	t.topics.Open = t.open
	return t
}

// client publishes on one topic. It holds nothing open.
type client struct{ api *sns.Client }

// Close implements io.Closer.
func (*client) Close() error { return nil }

func (t *Transport) open(topic Topic) (*client, error) {
	region, err := topic.region()
	if err != nil {
		return nil, err
	}
	if topic.Endpoint != "" {
		u, err := url.Parse(topic.Endpoint)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return nil, errors.New("the endpoint is no http or https URL")
		}
	}
	cfg, err := t.aws.Config(context.Background(), topic.Auth, region)
	if err != nil {
		return nil, err
	}
	return &client{sns.NewFromConfig(cfg, func(o *sns.Options) {
		if topic.Endpoint != "" {
			o.BaseEndpoint = aws.String(topic.Endpoint)
		}
	})}, nil
}

// RegionOf reads the region of "arn:PARTITION:sns:REGION:ACCOUNT:NAME".
func RegionOf(arn string) (string, error) {
	f := strings.Split(arn, ":")
	if len(f) != 6 || f[0] != "arn" || f[2] != "sns" || f[3] == "" || f[5] == "" {
		return "", errors.New("the topic's ARN is not arn:PARTITION:sns:REGION:ACCOUNT:NAME")
	}
	return f[3], nil
}

func (t Topic) region() (string, error) {
	of, err := RegionOf(t.ARN)
	if err != nil || t.Region == "" {
		return of, err
	}
	return t.Region, nil
}

// topicOf is the hook's topic.
func topicOf(s delivery.Settings) Topic {
	return Topic{ARN: s.SNSTopicARN, Region: s.SNSRegion, Endpoint: s.SNSEndpointURL, Auth: awsqueue.Auth{
		Type: s.SNSAuthType, Key: s.SNSKey, Secret: s.SNSSecret, RoleARN: s.SNSRoleARN,
	}}
}

// Send implements delivery.Transport.
func (t *Transport) Send(ctx context.Context, h delivery.Hook, m delivery.Message) delivery.Result {
	topic := topicOf(h.Settings)
	c, release, err := t.topics.Get(h.ID, topic)
	if err != nil {
		return peer.Failure(err, topic.Auth.Secret)
	}
	defer release()
	text, err := awsqueue.Text(m.Body, h.Compress)
	if err != nil {
		return delivery.Result{Err: err}
	}
	in := &sns.PublishInput{
		TopicArn: aws.String(topic.ARN), Message: aws.String(text),
		MessageAttributes: map[string]types.MessageAttributeValue{
			awsqueue.AttributeID:      attribute("String", m.EventID),
			awsqueue.AttributeType:    attribute("String", m.Type),
			awsqueue.AttributeAttempt: attribute("Number", strconv.Itoa(m.Attempt)),
		},
	}
	if awsqueue.FIFO(topic.ARN) {
		in.MessageDeduplicationId, in.MessageGroupId = aws.String(m.EventID), aws.String(awsqueue.Group(m.Key))
	}
	_, err = c.api.Publish(ctx, in)
	return awsqueue.Outcome(err, topic.Auth)
}

func attribute(kind, value string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String(kind), StringValue: aws.String(value)}
}

// Forget implements delivery.Forgetter.
func (t *Transport) Forget(hookID string) { t.topics.Forget(hookID) }

// Close implements delivery.Transport.
func (t *Transport) Close() error { return t.topics.Close() }
