package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// defaultHookTimeout is for hooks that name none, in milliseconds.
const defaultHookTimeout = 6000

// hookBody is a hook as the API shows it: without its secrets.
func hookBody(row db.HookRow) (api.EventHook, error) {
	d, err := row.Details()
	if err != nil {
		return api.EventHook{}, err
	}
	enabled, types := bool(row.Enabled), row.EventTypes.V
	if types == nil {
		types = []string{}
	}
	h := api.EventHook{
		ID: row.ID, HookType: api.EventHookHookType(row.HookType), Enabled: &enabled, EventTypes: types, WebhookURL: row.WebhookURL,
		TimeoutMs: row.TimeoutMS, CreatedAt: row.CreatedAt.Time, UpdatedAt: row.UpdatedAt.Time,
		Product: d.Product, ShouldSendCustomEvents: d.ShouldSendCustomEvents,
		BodyStyle: api.EventHookBodyStyle(d.BodyStyle), Ordered: d.Ordered,
		SqsQueueURL: d.SQSQueueURL, SqsRegion: d.SQSRegion, SqsAuthType: api.EventHookSqsAuthType(d.SQSAuthType),
		SqsKey: d.SQSKey, SqsRoleArn: d.SQSRoleARN,
		SnsTopicArn: d.SNSTopicARN, SnsRegion: d.SNSRegion, SnsAuthType: api.EventHookSnsAuthType(d.SNSAuthType),
		SnsKey: d.SNSKey, SnsRoleArn: d.SNSRoleARN, SnsEndpointURL: d.SNSEndpointURL,
		AMQPURL: d.AMQPURL, AMQPExchange: d.AMQPExchange, AMQPProcessedQueue: d.AMQPProcessedQueue, AMQPFailureQueue: d.AMQPFailureQueue,
		RedisURL: d.RedisURL, RedisStream: d.RedisStream, RedisMaxLen: d.RedisMaxLen,
	}
	if d.FailoverConfig != nil {
		h.FailoverConfig = api.FailoverConfig{FailingFor: d.FailoverConfig.FailingFor, NotifyHookID: d.FailoverConfig.NotifyHookID}
	}
	return h, nil
}

// hookEdit makes rows of the hooks of a request.
type hookEdit struct {
	s      *Server
	old    []db.HookRow
	fields map[string]string // what is wrong
}

// rows returns the hooks as the request wants them: event_hooks replaces the
// list, webhook_url then sets or, when empty, removes its own.
func (e *hookEdit) rows(in api.UpdateAppRequest) ([]db.HookRow, error) {
	wanted, err := e.wanted(in)
	if err != nil {
		return nil, err
	}
	if len(wanted) > maxHooks {
		return nil, badField("event_hooks", fmt.Sprintf("must be at most %d", maxHooks))
	}
	e.identify(wanted)
	var rows []db.HookRow
	for i, h := range wanted {
		row, err := e.row(fmt.Sprintf("event_hooks[%d]", i), h)
		if err != nil {
			return nil, err
		}
		if row.CreatedAt == row.UpdatedAt { // new: the list is shown in the order it came
			row.CreatedAt.Time = row.CreatedAt.Add(time.Duration(i))
		}
		rows = append(rows, row)
	}
	for i, h := range wanted {
		to := h.FailoverConfig.NotifyHookID
		known := to == "" || to == db.ConfiguredHookID || slices.ContainsFunc(rows, func(r db.HookRow) bool { return r.ID == to })
		if !known || to != "" && to == h.ID {
			e.fields[fmt.Sprintf("event_hooks[%d].failover_config.notify_hook_id", i)] = "must be the id of another hook"
		}
	}
	if len(e.fields) > 0 {
		return nil, badFields(e.fields)
	}
	return rows, nil
}

func (e *hookEdit) wanted(in api.UpdateAppRequest) (hooks []api.EventHook, err error) {
	if in.EventHooks != nil {
		hooks = slices.Clone(*in.EventHooks)
	} else {
		for _, row := range e.old {
			h, err := hookBody(row)
			if err != nil {
				return nil, err
			}
			hooks = append(hooks, h)
		}
	}
	if in.WebhookURL != nil {
		hooks = slices.DeleteFunc(hooks, func(h api.EventHook) bool { return h.ID == legacyHookID })
		if *in.WebhookURL != "" {
			hooks = append(hooks, api.EventHook{ID: legacyHookID, HookType: api.EventHookHookType(hookWebhook), WebhookURL: *in.WebhookURL})
		}
	}
	// A list that was read and is sent back holds the settings' hook too. Where
	// there is none, somebody means a hook of their own.
	configured := slices.ContainsFunc(e.old, func(row db.HookRow) bool { return row.ID == db.ConfiguredHookID })
	for i, h := range hooks {
		if h.ID == db.ConfiguredHookID && !configured {
			e.fields[fmt.Sprintf("event_hooks[%d].id", i)] = "must not be that of the hook in the settings file"
		}
	}
	return slices.DeleteFunc(hooks, func(h api.EventHook) bool { return h.ID == db.ConfiguredHookID }), nil
}

// identify gives an id to the hooks that came without one: that of the hook
// with the same target if there is one, so that a client that never sends ids
// does not make every hook anew with each update.
func (e *hookEdit) identify(hooks []api.EventHook) {
	taken := map[string]bool{db.ConfiguredHookID: true}
	for i, h := range hooks {
		if h.ID != "" && taken[h.ID] {
			e.fields[fmt.Sprintf("event_hooks[%d].id", i)] = "stands there twice"
		}
		taken[h.ID] = true
	}
	for i := range hooks {
		h := &hooks[i]
		if h.ID != "" {
			continue
		}
		h.ID = event.NewID()
		for _, row := range e.old {
			if was, err := hookBody(row); err == nil && !taken[row.ID] && targetOf(was) == targetOf(*h) {
				h.ID, taken[row.ID] = row.ID, true
				break
			}
		}
	}
}

// targetOf tells where a hook sends to.
func targetOf(h api.EventHook) string {
	shown := func(raw string) string { s, _ := withoutPassword(raw); return s }
	return fmt.Sprintf("%q", []string{
		string(h.HookType), h.WebhookURL, string(h.BodyStyle), h.SqsQueueURL, h.SnsTopicArn,
		shown(h.AMQPURL), h.AMQPExchange, h.AMQPProcessedQueue, shown(h.RedisURL), h.RedisStream,
	})
}

// row checks a hook and makes its row; what is wrong goes to e.fields.
func (e *hookEdit) row(path string, h api.EventHook) (db.HookRow, error) {
	now := db.At(e.s.cfg.Now())
	row := db.HookRow{
		ID: h.ID, HookType: string(h.HookType), Enabled: db.Bool(h.Enabled == nil || *h.Enabled), WebhookURL: h.WebhookURL,
		TimeoutMS: h.TimeoutMs, CreatedAt: now, UpdatedAt: now,
	}
	if row.TimeoutMS == 0 {
		row.TimeoutMS = defaultHookTimeout
	}
	if row.EventTypes.V = h.EventTypes; h.EventTypes == nil {
		row.EventTypes.V = []string{}
	}
	old := db.HookRow{}
	if at := slices.IndexFunc(e.old, func(o db.HookRow) bool { return o.ID == h.ID }); at >= 0 && e.old[at].HookType == row.HookType {
		old = e.old[at]
		row.CreatedAt = old.CreatedAt
	}
	was, err := old.Details()
	if err != nil {
		return row, err
	}
	details := hookDetails(h)
	e.check(path, h)
	if err := e.seal(path, h, was, &details); err != nil {
		return row, err
	}
	if row.Settings.V, err = json.Marshal(details); err != nil {
		return row, fmt.Errorf("write settings of hook: %w", err)
	}
	if old.ID != "" && sameHook(old, row) {
		row.UpdatedAt = old.UpdatedAt
	}
	return row, nil
}

// sameHook tells whether an update changed nothing.
func sameHook(a, b db.HookRow) bool {
	return a.Enabled == b.Enabled && a.WebhookURL == b.WebhookURL && a.TimeoutMS == b.TimeoutMS &&
		slices.Equal(a.EventTypes.V, b.EventTypes.V) && bytes.Equal(a.Settings.V, b.Settings.V)
}

// hookDetails is what goes into the settings column, without the secrets.
func hookDetails(h api.EventHook) db.HookSettings {
	d := db.HookSettings{
		Product: h.Product, ShouldSendCustomEvents: h.ShouldSendCustomEvents, BodyStyle: string(h.BodyStyle), Ordered: h.Ordered,
		SQSQueueURL: h.SqsQueueURL, SQSRegion: h.SqsRegion, SQSAuthType: string(h.SqsAuthType), SQSKey: h.SqsKey, SQSRoleARN: h.SqsRoleArn,
		SNSTopicARN: h.SnsTopicArn, SNSRegion: h.SnsRegion, SNSAuthType: string(h.SnsAuthType), SNSKey: h.SnsKey, SNSRoleARN: h.SnsRoleArn,
		SNSEndpointURL: h.SnsEndpointURL,
		AMQPExchange:   h.AMQPExchange, AMQPProcessedQueue: h.AMQPProcessedQueue, AMQPFailureQueue: h.AMQPFailureQueue,
		RedisStream: h.RedisStream, RedisMaxLen: h.RedisMaxLen,
	}
	d.SQSAuthType = authType(d.SQSAuthType, h.HookType == hookSQS, h.SqsKey)
	d.SNSAuthType = authType(d.SNSAuthType, h.HookType == hookSNS, h.SnsKey)
	d.AMQPURL, _ = withoutPassword(h.AMQPURL)
	d.RedisURL, _ = withoutPassword(h.RedisURL)
	if f := h.FailoverConfig; f != (api.FailoverConfig{}) {
		d.FailoverConfig = &db.HookFailover{FailingFor: f.FailingFor, NotifyHookID: f.NotifyHookID}
	}
	return d
}

// authType is how a queue knows us, where the request does not say: by the
// key that was given, or by the identity of the machine.
func authType(given string, concerned bool, key string) string {
	switch {
	case given != "" || !concerned:
		return given
	case key != "":
		return authKeys
	default:
		return "resource"
	}
}

// seal puts the secrets of a hook into its details: those that came, else,
// where they still belong to the same account, those that were there.
func (e *hookEdit) seal(path string, h api.EventHook, was db.HookSettings, d *db.HookSettings) error {
	for _, secret := range []struct {
		name, given string
		same        bool // as the account that the old secret was for
	}{
		{db.SecretSQS, h.SqsSecret, was.SQSKey == d.SQSKey},
		{db.SecretSNS, h.SnsSecret, was.SNSKey == d.SNSKey},
		{db.SecretAMQPURL, passworded(h.AMQPURL), was.AMQPURL == d.AMQPURL},
		{db.SecretRedisURL, passworded(h.RedisURL), was.RedisURL == d.RedisURL},
	} {
		sealed, had := was.Sealed[secret.name]
		switch {
		case secret.given != "":
			if e.s.cfg.Seal == nil {
				return errNoSeal
			}
			var err error
			if sealed, err = e.s.cfg.Seal.Seal(db.HookSecretPurpose(secret.name), h.ID, secret.given); err != nil {
				return err
			}
		case !had || !secret.same:
			continue
		}
		if d.Sealed == nil {
			d.Sealed = map[string]string{}
		}
		d.Sealed[secret.name] = sealed
	}
	if d.SQSAuthType == authKeys && d.Sealed[db.SecretSQS] == "" {
		e.fields[path+".sqs_secret"] = "is required with this sqs_key"
	}
	if d.SNSAuthType == authKeys && d.Sealed[db.SecretSNS] == "" {
		e.fields[path+".sns_secret"] = "is required with this sns_key"
	}
	return nil
}

// passworded is the URL if it has a password, else "".
func passworded(raw string) string {
	if _, had := withoutPassword(raw); had {
		return raw
	}
	return ""
}

// withoutPassword is the URL as it may be shown, and whether it had a
// password. Of what is no URL nothing may be shown.
func withoutPassword(raw string) (shown string, had bool) {
	if raw == "" {
		return "", false
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", false
	}
	if u.User != nil {
		if _, had = u.User.Password(); had {
			u.User = url.User(u.User.Username())
		}
	}
	return u.String(), had
}
