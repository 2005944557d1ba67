package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"

	"stillwatch/actions"
	"stillwatch/actions/delivery"
	"stillwatch/actions/webhook"
	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/netguard"
	"stillwatch/moderation/policy"
	"stillwatch/web/api"
)

// conformance sends what the document allows, and what it does not, to a
// server with a real database, a real desk and real delivery, and holds every
// answer against the document.
type conformance struct {
	*bench
	doc    *openapi3.T
	log    *lastError
	ops    []*routers.Route
	tokens []string
	// known are values that exist, by field name, and ids by the path that
	// takes them.
	known map[string][]any
}

func newConformance(t *testing.T) *conformance {
	doc, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	c := &conformance{doc: doc, log: &lastError{}}
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(receiver.Close)
	client := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(func() { _ = client.Close() })
	c.bench = newBench(t, func(cfg *Config) {
		cfg.Log = slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: slog.LevelError}))
		cfg.Actions = actions.NewDesk(actions.DeskConfig{DB: cfg.DB, Signer: cfg.Signer, Now: cfg.Now})
		cfg.Policy, cfg.Labels = policy.Default(), func() []string { return []string{"Neutral", "Porn"} }
		cfg.Seal, cfg.Queues, cfg.Storages = testSeal(t), deaf{}, fakeStorages{}
		cfg.Hooks = delivery.New(delivery.Config{
			DB: cfg.DB, Bus: noBus{}, Seal: cfg.Seal, Now: cfg.Now,
			Transports: map[string]delivery.Transport{webhook.HookType: webhook.New(webhook.Config{Client: client, Plain: client, APISecret: "s", Now: cfg.Now})},
		})
	})
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.OperationID == "live" { // does not end
				continue
			}
			c.ops = append(c.ops, &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: op})
		}
	}
	slices.SortFunc(c.ops, func(a, b *routers.Route) int { return strings.Compare(a.Path+a.Method, b.Path+b.Method) })
	c.populate(receiver.URL)
	return c
}

// lastError is the server's last line of log; that of a panic stays when the
// refusal that it became is logged as well.
type lastError struct{ text string }

func (l *lastError) Write(b []byte) (int, error) {
	if !strings.Contains(l.text, "panicked") {
		l.text = string(b)
	}
	return len(b), nil
}

// deaf is a queue that cannot be reached.
type deaf struct{}

func (deaf) Probe(context.Context, string, db.HookSettings, string) (string, error) {
	return "", errors.New("connection refused")
}

// populate fills the database with what requests can hit upon.
func (c *conformance) populate(receiver string) {
	c.server(http.StatusOK, "POST", "/api/v2/users", `{"users":{"alice":{"id":"alice","name":"Alice"},"bob":{"id":"bob"},"carol":{"id":"carol"},"mo":{"id":"mo","role":"moderator"},"ada":{"id":"ada","role":"admin"}}}`)
	c.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","members":[{"user_id":"bob"}]}}`)
	c.server(http.StatusCreated, "POST", "/api/v2/video/call/default/two", `{"data":{"created_by_id":"bob"}}`)
	c.server(http.StatusCreated, "POST", "/api/v2/video/calltypes", `{"name":"livestream"}`)
	item := c.server(http.StatusOK, "POST", moderationPrefix+"/flag", `{"entity_type":"call","entity_id":"default:abc","entity_creator_id":"bob","reason":"nudity","user_id":"mo"}`).body["item_id"]
	c.server(http.StatusOK, "POST", moderationPrefix+"/ban", `{"target_user_id":"carol","reason":"nudity"}`)
	c.server(http.StatusOK, "PATCH", "/api/v2/app", `{"event_hooks":[{"id":"h","hook_type":"webhook","webhook_url":"`+receiver+`"}]}`)
	c.server(http.StatusOK, "POST", configPath, `{"key":"call:default"}`)
	c.server(http.StatusCreated, "POST", "/api/v2/external_storage", `{"name":"my-s3","storage_type":"s3","bucket":"my-bucket","aws_s3":{"s3_region":"eu-central-1","s3_api_key":"KEY","s3_secret":"SECRET"}}`)
	rule := c.server(http.StatusOK, "POST", rulePath, nudityRule).body["rule"].(map[string]any)["id"]
	queue := c.server(http.StatusCreated, "POST", moderationPrefix+"/queues", `{"name":"mine","filters":{"status":"pending"}}`).body["queue"].(map[string]any)["id"]
	appeal := c.want(http.StatusCreated, c.do(c.user("bob", ""), "POST", moderationPrefix+"/appeal", `{"entity_type":"call","entity_id":"default:abc","appeal_reason":"it was a painting"}`)).body["appeal_id"]
	c.server(http.StatusCreated, "POST", "/api/v2/video/call/default/gone", `{"data":{"created_by_id":"bob"}}`)
	task := c.server(http.StatusOK, "POST", "/api/v2/video/call/default/gone/delete", `{"hard":true}`).body["task_id"]
	at := c.now.Now()
	for i := range 4 {
		c.insert(c.frame(i, at.Add(time.Duration(i)*time.Second)))
	}
	c.insert(
		&db.ParticipantRow{UserSessionID: "p1", SessionID: "s", CID: "default:abc", UserID: "bob", Role: "user", JoinedAt: db.At(at)},
		&db.DeliveryRow{ID: "delivery-1", HookID: "h", EventID: "event-1", EventType: "user.banned", Key: "default:abc/bob", Body: `{"type":"user.banned"}`, State: db.DeliveryDead, Attempts: 1, CreatedAt: db.At(at)},
	)
	c.insert(
		&db.RecordingRow{ID: "run", CID: "default:abc", SessionID: "s1", Type: "composite", Lane: db.LaneBusiness, State: db.RecordingReady, StartedAt: db.At(at), StoppedAt: db.At(at), CreatedAt: db.At(at), UpdatedAt: db.At(at)},
		&db.RecordingHoldRow{ID: "held", RecordingID: "run", Reason: "case 42", PlacedBy: "ada", PlacedAt: db.At(at), ReleaseAskedBy: "ada", ReleaseAskedAt: db.At(at)},
	)
	for i := range 4 {
		c.insert(c.file(i))
	}
	users := []any{"alice", "bob", "carol", "mo", "ada"}
	c.known = map[string][]any{
		"type": {"default", "livestream"}, "id": {"abc", "two", "new", item}, "name": {"default", "livestream", "backup", "new"},
		"cid": {"default:abc", "default:two"}, "channel_cid": {"default:abc"}, "user_id": users, "target_user_id": users,
		"created_by_id": users, "entity_creator_id": users, "target_id": users, "user_ids": {[]any{"alice", "bob"}},
		"entity_type": {"call", "user"}, "entity_id": {"default:abc", "bob"}, "item_id": {item}, "role": {"user", "host", "moderator"},
		"appeal_id": {appeal}, "recording_type": {"composite", "individual", "raw"}, "key": {"call", "call:default"}, "action_type": submitActions,
		"hook_type": {"webhook", "sqs"}, "webhook_url": {receiver, "http://10.0.0.1/x"}, "limit": {1, 2, 100}, "storage_type": {"s3"},
		"recording_external_storage": {"my-s3"}, "destination": {"https://take.example/in"}, "session": {"s1"}, "session_id": {"s1"},
		"filename": {"m0.mp4", "m1.mp4"}, "file": {"file0", "file1", "file2"}, "files": {[]any{"file0", "file1"}},
		"from_seconds": {0.0, 1.5}, "to_seconds": {2.5, 1e5}, "since": {"2026-01-05T10:00:00Z", "2026-13-45T10:00:00Z"},
		"payload":           {`{}`, `{"filter_conditions":{"id":"alice"},"limit":2}`, `[]`, `{"limit":"x"}`, `{`, `{"filter_conditions":{"banned":true},"sort":[{"field":"id","direction":1}],"offset":1}`},
		"grant_permission":  {"start-frame-record-call", "StopFrameRecording"},
		"revoke_permission": {"start-frame-record-call", "no-such"},

		moderationPrefix + "/moderation_rule/{id}":   {rule},
		moderationPrefix + "/queues/{id}":            {queue},
		moderationPrefix + "/queues/{id}/delete":     {queue},
		moderationPrefix + "/review_queue/{id}":      {item},
		moderationPrefix + "/appeal/{id}":            {appeal},
		"/api/v2/external_storage/{name}":            {"my-s3"},
		"/api/v2/external_storage/{name}/check":      {"my-s3"},
		"/api/v2/tasks/{id}":                         {task},
		"/api/v2/stillwatch/recordings/{id}":         {"run"},
		"/api/v2/stillwatch/recordings/{id}/hold":    {"run"},
		"/api/v2/stillwatch/recordings/{id}/release": {"run"},
		"/api/v2/stillwatch/recordings/{id}/retry":   {"run"},
		"/api/v2/stillwatch/hooks/{id}/test":         {"h"},
		"/api/v2/stillwatch/hooks/{id}/secret":       {"h"},
		"/api/v2/stillwatch/hooks/{id}/replay":       {"h"},
		"/api/v2/stillwatch/hooks/{id}/deliveries":   {"h"},
		"/api/v2/stillwatch/deliveries/{id}":         {"delivery-1"},
	}
	c.tokens = []string{
		c.auth.ServerToken(), c.user("ada", auth.RoleAdmin), c.user("mo", auth.RoleModerator),
		c.user("alice", "user"), c.user("bob", "user"), c.user("bob", "user", "default:abc"), c.user("carol", "user"), c.user("newcomer", ""),
		c.auth.UserToken(auth.UserClaims{UserID: "bob", ExpiresAt: at.Add(-time.Hour)}), "", "garbage", c.user("a/../b", ""),
	}
}

var submitActions = []any{"mark_reviewed", "ban", "unban", "block", "unblock", "kick_user", "end_call", "escalate", "de_escalate", "restore", "custom", "reject_appeal", "delete_message"}
