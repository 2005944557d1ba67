package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/seal"
)

// testSeal is a box with a key of zeros.
func testSeal(t *testing.T) *seal.Box {
	t.Helper()
	b, err := seal.New(make([]byte, seal.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const appURL = "/api/v2/app"

func (b *bench) hooks() []map[string]any {
	b.t.Helper()
	a := b.server(http.StatusOK, "GET", appURL, nil)
	var hooks []map[string]any
	for _, h := range a.body["app"].(map[string]any)["event_hooks"].([]any) {
		hooks = append(hooks, h.(map[string]any))
	}
	return hooks
}

// hookRow reads a hook's row and its details.
func (b *bench) hookRow(id string) (db.HookRow, db.HookSettings) {
	b.t.Helper()
	var row db.HookRow
	if err := b.db.NewSelect().Model(&row).Where("id = ?", id).Scan(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	d, err := row.Details()
	if err != nil {
		b.t.Fatal(err)
	}
	return row, d
}

func TestAppLeavesTheSettingsHookAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	row := &db.HookRow{ID: db.ConfiguredHookID, HookType: "webhook", Enabled: true, WebhookURL: "https://example.com/settings", TimeoutMS: 6000}
	row.EventTypes.V, row.Settings.V = []string{}, json.RawMessage(`{}`)
	if _, err := b.db.NewInsert().Model(row).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{
		`{"event_hooks":[]}`,
		`{"event_hooks":[{"id":"settings","hook_type":"webhook","webhook_url":"https://example.com/other"}]}`,
		`{"webhook_url":""}`,
	} {
		b.server(http.StatusOK, "PATCH", appURL, body)
		if hooks := b.hooks(); len(hooks) != 1 || hooks[0]["webhook_url"] != "https://example.com/settings" {
			t.Errorf("after %s: %v", body, hooks)
		}
	}
}

func TestAppHooks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusOK, "PATCH", appURL, `{"event_hooks":[{"id":"h1","hook_type":"webhook","webhook_url":"https://example.com/hook","event_types":["user.banned"],"timeout_ms":3000}]}`)
	golden(t, "app", b.server(http.StatusOK, "GET", appURL, nil))
	b.server(http.StatusOK, "PATCH", appURL, `{"webhook_url":"http://example.com/old"}`)
	a := b.server(http.StatusOK, "GET", appURL, nil)
	if len(b.hooks()) != 2 || a.body["app"].(map[string]any)["webhook_url"] != "http://example.com/old" {
		t.Errorf("%s", a.raw)
	}
	b.server(http.StatusOK, "PATCH", appURL, `{"zzz":1}`)
	b.server(http.StatusOK, "PATCH", appURL, nil)
	b.server(http.StatusOK, "PATCH", appURL, `{"webhook_url":null,"enable_hook_payload_compression":null}`)
	if len(b.hooks()) != 2 {
		t.Errorf("nothing was asked for, and now: %v", b.hooks())
	}
	b.server(http.StatusOK, "PATCH", appURL, `{"webhook_url":"","event_hooks":[]}`)
	if len(b.hooks()) != 0 {
		t.Errorf("%v", b.hooks())
	}
}

func TestAppCompressionIsKept(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, step := range []struct {
		body string
		want bool
	}{{`{}`, false}, {`{"enable_hook_payload_compression":true}`, true}, {`{}`, true}, {`{"enable_hook_payload_compression":false}`, false}} {
		b.server(http.StatusOK, "PATCH", appURL, step.body)
		if got := b.server(http.StatusOK, "GET", appURL, nil).body["app"].(map[string]any)["enable_hook_payload_compression"]; got != step.want {
			t.Errorf("after %s: %v", step.body, got)
		}
		if row, err := db.AppSettings(t.Context(), b.db); err != nil || bool(row.HookCompression) != step.want {
			t.Errorf("after %s: row %+v, %v", step.body, row, err)
		}
	}
}

// everyHook has one hook of each kind with all its fields.
const everyHook = `{"enable_hook_payload_compression":true,"event_hooks":[
 {"id":"web","hook_type":"webhook","enabled":false,"event_types":["user.banned","call.ended"],"webhook_url":"https://example.com/hook","timeout_ms":15000,
  "product":"video","should_send_custom_events":false,"ordered":true,"body_style":"file_callback","failover_config":{"failing_for":24,"notify_hook_id":"sqs"}},
 {"id":"sqs","hook_type":"sqs","sqs_queue_url":"https://sqs.eu-central-1.amazonaws.com/123456789012/q","sqs_region":"eu-central-1","sqs_auth_type":"keys","sqs_key":"AKIA1","sqs_secret":"hunter2-sqs"},
 {"id":"sqs-role","hook_type":"sqs","sqs_queue_url":"https://sqs.eu-central-1.amazonaws.com/123456789012/r","sqs_auth_type":"role","sqs_role_arn":"arn:aws:iam::123456789012:role/sender"},
 {"id":"sns","hook_type":"sns","sns_topic_arn":"arn:aws:sns:eu-central-1:123456789012:t","sns_region":"eu-central-1","sns_key":"AKIA2","sns_secret":"hunter2-sns","sns_endpoint_url":"https://sns.example.com"},
 {"id":"amqp","hook_type":"amqp","amqp_url":"amqps://u:hunter2-amqp@mq.example.com/vhost","amqp_exchange":"events","amqp_processed_queue":"done","amqp_failure_queue":"failed"},
 {"id":"redis","hook_type":"redis","redis_url":"rediss://u:hunter2-redis@redis.example.com:6380/1","redis_stream":"events","redis_max_len":1000},
 {"id":"redis-own","hook_type":"redis","redis_stream":"own"}]}`

func TestAppTakesEveryKindOfHook(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusOK, "PATCH", appURL, everyHook)
	golden(t, "app_every_hook", b.server(http.StatusOK, "GET", appURL, nil))
}

func TestAppSecretsAreSealedAndNeverShown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	shown := [][]byte{b.server(http.StatusOK, "PATCH", appURL, everyHook).raw, b.server(http.StatusOK, "GET", appURL, nil).raw}
	for hook, secret := range map[string]struct{ name, want string }{
		"sqs": {db.SecretSQS, "hunter2-sqs"}, "sns": {db.SecretSNS, "hunter2-sns"},
		"amqp":  {db.SecretAMQPURL, "amqps://u:hunter2-amqp@mq.example.com/vhost"},
		"redis": {db.SecretRedisURL, "rediss://u:hunter2-redis@redis.example.com:6380/1"},
	} {
		row, d := b.hookRow(hook)
		shown = append(shown, row.Settings.V)
		if got, err := d.Secret(b.cfg.Seal, hook, secret.name); err != nil || got != secret.want {
			t.Errorf("%s: %q, %v", hook, got, err)
		}
		if _, err := d.Secret(b.cfg.Seal, "web", secret.name); !errors.Is(err, seal.ErrBroken) {
			t.Errorf("another hook opens the secret of %s: %v", hook, err)
		}
	}
	var audits []db.AuditRow
	if err := b.db.NewSelect().Model(&audits).Scan(t.Context()); err != nil || len(audits) == 0 {
		t.Fatalf("%d rows of audit, %v", len(audits), err)
	}
	for _, a := range audits {
		shown = append(shown, a.Detail.V)
	}
	for _, text := range shown {
		if bytes.Contains(text, []byte("hunter2")) {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}

func TestAppUpdateKeepsTheSecretsItLeavesOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusOK, "PATCH", appURL, everyHook)
	before := b.hooks()
	b.now.Advance(time.Hour)
	// What was read is sent back as it is, as a settings page would.
	b.server(http.StatusOK, "PATCH", appURL, map[string]any{"event_hooks": before})
	for i, h := range b.hooks() {
		if h["updated_at"] != before[i]["updated_at"] || h["created_at"] != before[i]["created_at"] || h["id"] != before[i]["id"] {
			t.Errorf("before %v, after %v", before[i], h)
		}
	}
	for hook, name := range map[string]string{"sqs": db.SecretSQS, "sns": db.SecretSNS, "amqp": db.SecretAMQPURL, "redis": db.SecretRedisURL} {
		_, d := b.hookRow(hook)
		if got, err := d.Secret(b.cfg.Seal, hook, name); err != nil || !strings.Contains(got, "hunter2") {
			t.Errorf("%s: %q, %v", hook, got, err)
		}
	}
	// With another account or address the old secret must not go along.
	for body, field := range map[string]string{
		`{"event_hooks":[{"id":"sqs","hook_type":"sqs","sqs_queue_url":"https://sqs.eu-central-1.amazonaws.com/1/q","sqs_key":"OTHER"}]}`:                     "event_hooks[0].sqs_secret",
		`{"event_hooks":[{"id":"sns","hook_type":"sns","sns_topic_arn":"arn:aws:sns:eu-central-1:123456789012:t","sns_auth_type":"keys","sns_key":"OTHER"}]}`: "event_hooks[0].sns_secret",
	} {
		a := b.server(http.StatusBadRequest, "PATCH", appURL, body)
		if fields := a.body["exception_fields"].(map[string]any); fields[field] == nil {
			t.Errorf("%s: %s", body, a.raw)
		}
	}
	b.server(http.StatusOK, "PATCH", appURL, `{"event_hooks":[{"id":"amqp","hook_type":"amqp","amqp_url":"amqps://u@elsewhere.example/vhost","amqp_exchange":"events"}]}`)
	if _, d := b.hookRow("amqp"); len(d.Sealed) != 0 {
		t.Error("the password goes to another host")
	}
}

func TestAppHooksKeepTheirIDs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const list = `{"event_hooks":[{"hook_type":"webhook","webhook_url":"https://example.com/a"},{"hook_type":"webhook","webhook_url":"https://example.com/b","timeout_ms":%d}]}`
	b.server(http.StatusOK, "PATCH", appURL, strings.Replace(list, "%d", "1000", 1))
	before := b.hooks()
	b.now.Advance(time.Hour)
	b.server(http.StatusOK, "PATCH", appURL, strings.Replace(list, "%d", "2000", 1))
	after := b.hooks()
	for i := range after {
		if after[i]["id"] != before[i]["id"] || after[i]["created_at"] != before[i]["created_at"] {
			t.Errorf("before %v, after %v", before[i], after[i])
		}
	}
	if before[0]["updated_at"] != after[0]["updated_at"] || before[1]["updated_at"] == after[1]["updated_at"] {
		t.Errorf("times of change: before %v, after %v", before, after)
	}
}

func TestAppUpdatesBasedOnAnOlderStateAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	patch := func(want int, tag, body string) string {
		t.Helper()
		r := httptest.NewRequest("PATCH", appURL+"?api_key=key", strings.NewReader(body))
		r.Header.Set("Authorization", b.auth.ServerToken())
		r.Header.Set("If-Match", tag)
		return b.want(want, b.send(r)).header.Get("ETag")
	}
	first := b.server(http.StatusOK, "GET", appURL, nil).header.Get("ETag")
	second := patch(http.StatusOK, first, `{"enable_hook_payload_compression":true}`)
	if first == second || second != b.server(http.StatusOK, "GET", appURL, nil).header.Get("ETag") {
		t.Errorf("tags %s, %s", first, second)
	}
	patch(http.StatusPreconditionFailed, first, `{"webhook_url":"https://example.com/late"}`)
	third := patch(http.StatusOK, second, `{"event_hooks":[{"hook_type":"sqs","sqs_queue_url":"https://q.example/1/q","sqs_key":"k","sqs_secret":"one"}]}`)
	id := b.hooks()[0]["id"].(string)
	patch(http.StatusOK, third, `{"event_hooks":[{"id":"`+id+`","hook_type":"sqs","sqs_queue_url":"https://q.example/1/q","sqs_key":"k","sqs_secret":"two"}]}`)
	patch(http.StatusPreconditionFailed, third, `{"event_hooks":[]}`) // another secret is another state
	if len(b.hooks()) != 1 {
		t.Error("an edit of an older state was taken")
	}
}

func TestAppRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) {
		c.CheckURL = func(raw string) error {
			if strings.Contains(raw, "10.0.0.1") {
				return errors.New("refused")
			}
			return nil
		}
	})
	for hook, field := range map[string]string{
		`{"hook_type":"fax"}`: "hook_type",
		`{}`:                  "hook_type",
		`{"hook_type":"webhook","webhook_url":"ftp://x"}`:                                                 "webhook_url",
		`{"hook_type":"webhook","webhook_url":"https://x","timeout_ms":60000}`:                            "timeout_ms",
		`{"hook_type":"webhook","webhook_url":"https://x","timeout_ms":99}`:                               "timeout_ms",
		`{"hook_type":"webhook","webhook_url":"http://10.0.0.1/x"}`:                                       "webhook_url",
		`{"hook_type":"webhook","webhook_url":"https://x","id":"no way"}`:                                 "id",
		`{"hook_type":"webhook","webhook_url":"https://x","product":"chat"}`:                              "product",
		`{"hook_type":"webhook","webhook_url":"https://x","failover_config":{"notify_hook_id":"nobody"}}`: "failover_config.notify_hook_id",
		`{"hook_type":"webhook","webhook_url":"https://x","failover_config":{"failing_for":121}}`:         "failover_config.failing_for",
		`{"hook_type":"sqs"}`: "sqs_queue_url",
		`{"hook_type":"sqs","sqs_queue_url":"https://q","body_style":"native"}`:                                              "body_style",
		`{"hook_type":"sqs","sqs_queue_url":"http://10.0.0.1/1/q"}`:                                                          "sqs_queue_url",
		`{"hook_type":"sqs","sqs_queue_url":"https://q","sqs_auth_type":"keys"}`:                                             "sqs_key",
		`{"hook_type":"sqs","sqs_queue_url":"https://q","sqs_key":"k"}`:                                                      "sqs_secret",
		`{"hook_type":"sqs","sqs_queue_url":"https://q","sqs_auth_type":"role"}`:                                             "sqs_role_arn",
		`{"hook_type":"sqs","sqs_queue_url":"https://q","sqs_region":"the moon"}`:                                            "sqs_region",
		`{"hook_type":"sns","sns_topic_arn":"arn:aws:sqs:eu-central-1:123456789012:t"}`:                                      "sns_topic_arn",
		`{"hook_type":"sns","sns_topic_arn":"arn:aws:sns:eu-central-1:123456789012:t","sns_endpoint_url":"http://10.0.0.1"}`: "sns_endpoint_url",
		`{"hook_type":"amqp","amqp_url":"https://x","amqp_exchange":"e"}`:                                                    "amqp_url",
		`{"hook_type":"amqp","amqp_url":"amqp://10.0.0.1","amqp_exchange":"e"}`:                                              "amqp_url",
		`{"hook_type":"amqp","amqp_url":"amqp://x"}`:                                                                         "amqp_exchange",
		`{"hook_type":"redis","redis_url":"redis://10.0.0.1:1","redis_stream":"s"}`:                                          "redis_url",
		`{"hook_type":"redis"}`: "redis_stream",
		`{"hook_type":"redis","redis_stream":"stillwatch:public"}`:                                "redis_stream",
		`{"hook_type":"amqp","amqp_url":"amqps://x/?cacertfile=/etc/passwd","amqp_exchange":"e"}`: "amqp_url",
		`{"hook_type":"redis","redis_url":"rediss://x?skip_verify=true","redis_stream":"s"}`:      "redis_url",
	} {
		a := b.server(http.StatusBadRequest, "PATCH", appURL, `{"event_hooks":[`+hook+`]}`)
		if fields := a.body["exception_fields"].(map[string]any); fields["event_hooks[0]."+field] == nil {
			t.Errorf("%s: no word on %s: %v", hook, field, fields)
		}
	}
	same := `{"id":"a","hook_type":"webhook","webhook_url":"https://x"}`
	b.server(http.StatusBadRequest, "PATCH", appURL, `{"event_hooks":[`+same+`,`+same+`]}`)
	many := strings.Repeat(`{"hook_type":"webhook","webhook_url":"https://x"},`, 20)
	b.server(http.StatusBadRequest, "PATCH", appURL, `{"event_hooks":[`+many+same+`]}`)
	if len(b.hooks()) != 0 {
		t.Errorf("something was kept: %v", b.hooks())
	}
}

// TestTheNameOfTheSettingsHookIsTaken: a hook by that name was dropped without
// a word.
func TestTheNameOfTheSettingsHookIsTaken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.server(http.StatusBadRequest, "PATCH", "/api/v2/app", `{"event_hooks":[{"id":"settings","hook_type":"webhook","webhook_url":"https://example.com/"}]}`)
	if fields := a.body["exception_fields"].(map[string]any); fields["event_hooks[0].id"] == nil {
		t.Errorf("refused with %v", fields)
	}
}
