package web

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"stillwatch/internal/bus"
	"stillwatch/web/api"
)

// Kinds of hooks.
const (
	hookWebhook = "webhook"
	hookSQS     = "sqs"
	hookSNS     = "sns"
	hookAMQP    = "amqp"
	hookRedis   = "redis"
)

// authKeys is the sqs_auth_type and sns_auth_type that needs key and secret.
const authKeys = "keys"

// Bounds of a hook's timeout in milliseconds. The longest is what one delivery
// may take altogether.
const (
	minHookTimeout = 100
	maxHookTimeout = 15000
)

var errNoSeal = fail(http.StatusServiceUnavailable, CodeUnavailable, "this server has no key to keep secrets with")

var (
	regionRE = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d{1,2}$`)
	arnRE    = regexp.MustCompile(`^arn:[a-z-]+:(sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?|iam::\d{12}:role/[\w+=,.@/-]{1,512})$`)
)

// check finds what is wrong with a hook; addresses that may not be reached are
// wrong as well. What only DNS can tell is refused when it comes to sending.
func (e *hookEdit) check(path string, h api.EventHook) {
	bad := func(ok bool, field, want string) {
		if !ok {
			e.fields[path+"."+field] = want
		}
	}
	bad(nameRE.MatchString(h.ID), "id", wantName)
	bad(h.TimeoutMs == 0 || h.TimeoutMs >= minHookTimeout && h.TimeoutMs <= maxHookTimeout, "timeout_ms", fmt.Sprintf("must be %d to %d", minHookTimeout, maxHookTimeout))
	bad(slices.Contains([]string{"", "all", "video", "moderation"}, h.Product), "product", "must be all, video or moderation")
	bad(h.BodyStyle == "" || h.HookType == hookWebhook, "body_style", "is for webhooks only")
	switch h.HookType {
	case hookWebhook:
		e.checkURL(path+".webhook_url", h.WebhookURL, "http", "https")
	case hookSQS:
		e.checkURL(path+".sqs_queue_url", h.SqsQueueURL, "http", "https")
		bad(h.SqsRegion == "" || regionRE.MatchString(h.SqsRegion), "sqs_region", "must be a region such as eu-central-1")
		bad(h.SqsAuthType != authKeys || h.SqsKey != "", "sqs_key", "is required when sqs_auth_type is keys")
		bad(h.SqsAuthType != "role" || strings.Contains(h.SqsRoleArn, ":role/"), "sqs_role_arn", "is required when sqs_auth_type is role")
		bad(h.SqsRoleArn == "" || arnRE.MatchString(h.SqsRoleArn), "sqs_role_arn", "must be the ARN of a role")
	case hookSNS:
		bad(arnRE.MatchString(h.SnsTopicArn) && strings.Contains(h.SnsTopicArn, ":sns:"), "sns_topic_arn", "must be the ARN of a topic")
		bad(h.SnsRegion == "" || regionRE.MatchString(h.SnsRegion), "sns_region", "must be a region such as eu-central-1")
		bad(h.SnsAuthType != authKeys || h.SnsKey != "", "sns_key", "is required when sns_auth_type is keys")
		bad(h.SnsAuthType != "role" || strings.Contains(h.SnsRoleArn, ":role/"), "sns_role_arn", "is required when sns_auth_type is role")
		bad(h.SnsRoleArn == "" || arnRE.MatchString(h.SnsRoleArn), "sns_role_arn", "must be the ARN of a role")
		if h.SnsEndpointURL != "" {
			e.checkURL(path+".sns_endpoint_url", h.SnsEndpointURL, "http", "https")
		}
	case hookAMQP:
		e.checkURL(path+".amqp_url", h.AMQPURL, "amqp", "amqps")
		bad(h.AMQPExchange != "" || h.AMQPProcessedQueue != "" || h.AMQPFailureQueue != "", "amqp_exchange", "or a queue is required")
	case hookRedis:
		bad(h.RedisStream != "", "redis_stream", "is required")
		bad(h.RedisURL != "" || !strings.HasPrefix(h.RedisStream, bus.DefaultPrefix), "redis_stream", "must not begin with "+bus.DefaultPrefix+" in the program's own Redis")
		if h.RedisURL != "" {
			e.checkURL(path+".redis_url", h.RedisURL, "redis", "rediss")
		}
	default:
		bad(false, "hook_type", "must be one of "+list([]string{hookWebhook, hookSQS, hookSNS, hookAMQP, hookRedis}))
	}
}

// ports are the default ports of protocols that the guard has not in its head.
var ports = map[string]string{"amqp": "5672", "amqps": "5671", "redis": "6379", "rediss": "6379"}

// checkURL refuses what is no URL of one of the schemes, and what leads to
// where nothing is sent. The messages do not quote the URL.
func (e *hookEdit) checkURL(field, raw string, schemes ...string) {
	u, err := url.Parse(raw)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Hostname() == "" {
		e.fields[field] = "must be a URL with " + strings.Join(schemes, " or ")
		return
	}
	port, other := ports[u.Scheme]
	if other && (u.RawQuery != "" || u.ForceQuery || u.Fragment != "") {
		e.fields[field] = "must have no settings behind its path" // some name files of this machine
		return
	}
	if e.s.cfg.CheckURL == nil {
		return
	}
	if other {
		if u.Port() != "" {
			port = u.Port()
		}
		scheme := "http"
		if u.Scheme == "amqps" || u.Scheme == "rediss" {
			scheme = "https"
		}
		raw = scheme + "://" + joinHost(u.Hostname(), port)
	}
	if err := e.s.cfg.CheckURL(raw); err != nil {
		e.fields[field] = "must be an address that may be reached: " + err.Error()
	}
}

func joinHost(host, port string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}
