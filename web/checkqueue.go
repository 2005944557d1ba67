package web

import (
	"context"
	"fmt"
	"net/http"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/web/api"
)

// QueueProber sends a test message to a queue or topic that no hook need have.
type QueueProber interface {
	// Probe returns the message's event id; the error says in words for the
	// caller, without the secret, why it did not arrive.
	Probe(ctx context.Context, hookType string, d db.HookSettings, secret string) (eventID string, err error)
}

// CheckSQS sends a test message to the queue given, or to that of the first
// SQS hook.
func (s *Server) CheckSQS(ctx context.Context, req api.CheckSQSRequestObject) (api.CheckSQSResponseObject, error) {
	var in api.CheckSQSRequest
	if req.Body != nil {
		in = *req.Body
	}
	d := db.HookSettings{SQSQueueURL: in.SqsURL, SQSRegion: in.SqsRegion, SQSKey: in.SqsKey}
	secret := in.SqsSecret
	if d.SQSQueueURL == "" {
		var err error
		if d, secret, err = s.firstQueue(ctx, hookSQS, db.SecretSQS, "sqs_url"); err != nil {
			return nil, err
		}
	} else if in.SqsKey != "" && secret == "" {
		return nil, badField("sqs_secret", "is required with an sqs_key")
	}
	res, err := s.probe(ctx, hookSQS, d.SQSQueueURL, d, secret)
	return api.CheckSQS200JSONResponse(res), err
}

// CheckSNS publishes a test message on the topic given, or on that of the
// first SNS hook.
func (s *Server) CheckSNS(ctx context.Context, req api.CheckSNSRequestObject) (api.CheckSNSResponseObject, error) {
	var in api.CheckSNSRequest
	if req.Body != nil {
		in = *req.Body
	}
	d := db.HookSettings{SNSTopicARN: in.SnsTopicArn, SNSRegion: in.SnsRegion, SNSKey: in.SnsKey, SNSEndpointURL: in.SnsEndpointURL}
	secret := in.SnsSecret
	if d.SNSTopicARN == "" {
		var err error
		if d, secret, err = s.firstQueue(ctx, hookSNS, db.SecretSNS, "sns_topic_arn"); err != nil {
			return nil, err
		}
	} else if in.SnsKey != "" && secret == "" {
		return nil, badField("sns_secret", "is required with an sns_key")
	}
	res, err := s.probe(ctx, hookSNS, d.SNSTopicARN, d, secret)
	return api.CheckSNS200JSONResponse(res), err
}

// firstQueue is the first hook of the type, with its secret.
func (s *Server) firstQueue(ctx context.Context, hookType, name, field string) (d db.HookSettings, secret string, err error) {
	app, err := readApp(ctx, s.cfg.DB)
	if err != nil {
		return d, "", err
	}
	for _, row := range app.hooks {
		if row.HookType != hookType {
			continue
		}
		if d, err = row.Details(); err != nil {
			return d, "", err
		}
		if len(d.Sealed) > 0 && s.cfg.Seal == nil {
			return d, "", errNoSeal
		}
		if secret, err = d.Secret(s.cfg.Seal, row.ID, name); err != nil {
			return d, "", fmt.Errorf("open secret of hook %s: %w", row.ID, err)
		}
		return d, secret, nil
	}
	return d, "", badField(field, "is required where no "+hookType+" hook is set")
}

// probe sends the message, and writes down who had it sent where.
func (s *Server) probe(ctx context.Context, hookType, target string, d db.HookSettings, secret string) (api.CheckQueueResponse, error) {
	res := api.CheckQueueResponse{Status: "ok"}
	if s.cfg.Queues == nil {
		return res, fail(http.StatusServiceUnavailable, CodeUnavailable, "this server sends to no queues")
	}
	id, err := s.cfg.Queues.Probe(ctx, hookType, d, secret)
	if err != nil {
		res.Status, res.Error = "error", err.Error()
	} else {
		res.Data = map[string]any{"event_id": id}
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		return s.auditAs(request(ctx), ctx, tx, "queue.checked", hookType+":"+target, map[string]any{"ok": res.Status == "ok"})
	})
	return res, err
}
