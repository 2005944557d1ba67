package moderation_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"stillwatch/actions"
	"stillwatch/internal/auth"
	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
	"stillwatch/moderation"
	"stillwatch/moderation/policy"
	"stillwatch/web"
)

const wait = 15 * time.Second

// house is the API, the policy and the executors over a real bus and database.
type house struct {
	testing.TB
	db    *db.DB
	bus   *bus.Bus
	web   *web.Server
	token string
	epoch time.Time
	n     int
}

type noSigner struct{}

func (noSigner) SignGet(key string, _ time.Time) string { return "/s/" + key }

type noLive struct{}

func (noLive) Tail(ctx context.Context, _ event.Topic, _ func(event.Envelope)) error {
	<-ctx.Done()
	return nil
}

func newHouse(t *testing.T, url string) *house {
	d, err := db.Open(t.Context(), url)
	h := &house{TB: t, db: d, epoch: time.Now().UTC().Add(-20 * time.Second)}
	h.ok(err)
	t.Cleanup(func() { _ = d.Close() })
	h.bus, err = bus.Open(t.Context(), bus.Config{URL: testkit.Redis(t), RetryDelay: 5 * time.Millisecond, MaxAge: time.Minute})
	h.ok(err)
	t.Cleanup(func() { _ = h.bus.Close() })
	relay := db.NewRelay(d, h.bus, db.RelayConfig{Tend: 50 * time.Millisecond})
	h.ok(relay.Start(t.Context()))
	t.Cleanup(func() { _ = relay.Close() })
	a := auth.New("key", strings.Repeat("s", 32))
	h.token = a.ServerToken()
	h.web = web.New(web.Config{
		DB: d, Auth: a, Actions: actions.NewDesk(actions.DeskConfig{DB: d}), Live: noLive{}, Signer: noSigner{}, Policy: policy.Default(),
	})
	exec := actions.NewExecutor(actions.Config{DB: d, Bus: h.bus, Signer: noSigner{}})
	h.ok(exec.Start(t.Context()))
	t.Cleanup(func() { _ = exec.Close() })
	h.insert(
		&db.CallRow{CID: "default:abc", Type: "default", ID: "abc", CurrentSessionID: "s1", Settings: db.JSON[json.RawMessage]{V: json.RawMessage("{}")}},
		&db.ParticipantRow{UserSessionID: "us1", SessionID: "s1", CID: "default:abc", UserID: "bob", JoinedAt: db.At(h.epoch)},
	)
	return h
}

func (h *house) ok(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) insert(rows ...any) {
	h.Helper()
	for _, row := range rows {
		_, err := h.db.NewInsert().Model(row).Exec(context.Background())
		h.ok(err)
	}
}

// post sends to the API and returns the answer.
func (h *house) post(path, body string) map[string]any {
	h.Helper()
	r := httptest.NewRequest("POST", "/api/v2/moderation/"+path+"?api_key=key", strings.NewReader(body))
	r.Header.Set("Authorization", h.token)
	w := httptest.NewRecorder()
	h.web.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		h.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	var out map[string]any
	h.ok(json.Unmarshal(w.Body.Bytes(), &out))
	return out
}

// look scores every frame as explicit.
type look struct{}

func (look) Look(context.Context, event.FrameReady) (event.Verdict, error) {
	return event.Verdict{State: event.VerdictKnown, Scores: []event.Score{{Label: "Neutral", Score: 0.03}, {Label: "Porn", Score: 0.97}, {Label: "Hentai", Score: 0}}}, nil
}

func (h *house) moderate() *moderation.Service {
	h.Helper()
	s, err := moderation.New(moderation.Config{DB: h.db, Bus: h.bus, Looker: look{}, Policy: policy.Default(), MaxAge: time.Minute})
	h.ok(err)
	h.ok(s.Start(context.Background()))
	h.Cleanup(func() { _ = s.Close() })
	return s
}

// show gives the service bob's next frame, a second after the one before.
func (h *house) show(s *moderation.Service) {
	h.Helper()
	f := event.FrameReady{
		FrameID: fmt.Sprint("frame-", h.n), CID: "default:abc", CallType: "default", SessionID: "s1", UserID: "bob", TrackID: "cam",
		TrackType: event.TrackVideo, CapturedAt: h.epoch.Add(time.Duration(h.n) * time.Second), ObjectKey: "frames/x.jpg", PHash: fmt.Sprintf("%016x", h.n+1),
	}
	h.n++
	h.insert(&db.FrameRow{ID: f.FrameID, CID: f.CID, SessionID: f.SessionID, UserID: f.UserID, TrackID: f.TrackID, CapturedAt: db.At(f.CapturedAt)})
	h.ok(s.Handle(context.Background(), event.New(event.TypeFrameReady, "default:abc/bob", f.CapturedAt, f)))
}

// told waits for events of a public type and returns their bodies.
func told[T any](h *house, typ string, want int) (out []T) {
	h.Helper()
	testkit.Eventually(h.TB, wait, func() bool {
		var rows []db.OutboxRow
		h.ok(h.db.NewSelect().Model(&rows).Where("topic = ?", string(event.TopicPublic)).Order("seq").Scan(context.Background()))
		out = nil
		for _, r := range rows {
			if r.Envelope.V.Type == typ {
				var body T
				h.ok(r.Envelope.V.Decode(&body))
				out = append(out, body)
			}
		}
		return len(out) >= want
	}, typ)
	if len(out) != want {
		h.Fatalf("%d times %s, want %d", len(out), typ, want)
	}
	return out
}

const ladder = `{"name":"nudity","rule_type":"call","cooldown_period":"1s",
	"conditions":[{"type":"keyframe","keyframe_rule_params":{"harm_labels":["Porn","nudity"],"threshold":2,"time_window":"30s","min_confidence":0.8}}],
	"action_sequences":[
		{"violation_number":1,"actions":["flag","call_warning"],"call_options":{"warning_text":"Please stop."}},
		{"violation_number":2,"actions":["call_blur","mute_video"],"call_options":{"duration":60}},
		{"violation_number":3,"actions":["kick_user"],"call_options":{"kick_reason":"nudity"}}]}`

// TestARuleMadeByTheAPIFlagsWarnsAndKicks goes from the rule's request to the
// kick, with a restart in between.
func TestARuleMadeByTheAPIFlagsWarnsAndKicks(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); climb(t, "sqlite://"+t.TempDir()+"/t.db") })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); climb(t, testkit.Postgres(t)) })
}

func climb(t *testing.T, url string) {
	h := newHouse(t, url)
	s := h.moderate()
	file := s.PolicyVersion()
	rule := h.post("moderation_rule", ladder)["rule"].(map[string]any)
	began := time.Now()
	testkit.Eventually(t, wait, func() bool { return s.PolicyVersion() != file })
	t.Logf("in force after %s", time.Since(began).Round(time.Millisecond))

	h.show(s)
	told[event.RuleTrigger](h, event.RuleTriggered, 0)
	h.show(s)
	if got := told[event.RuleTrigger](h, event.RuleTriggered, 1)[0]; got.Rule.ID != rule["id"] || got.ViolationNumber != 1 || got.UserID != "bob" ||
		got.EntityID != "default:abc" || fmt.Sprint(got.TriggeredActions) != "[flag call_warning]" {
		t.Errorf("triggered = %+v", got)
	}
	if got := told[event.ModerationWarning](h, event.CallModerationWarning, 1)[0]; got.Message != "Please stop." || got.UserID != "bob" {
		t.Errorf("warning = %+v", got)
	}
	item := told[event.ReviewItemChange](h, event.ReviewItemNew, 1)[0].ReviewQueueItem.ID

	h.ok(s.Close())
	s = h.moderate() // counts on
	for range 3 {    // one in the cool-down
		h.show(s)
	}
	got := told[event.RuleTrigger](h, event.RuleTriggered, 2)[1]
	if got.ViolationNumber != 2 || got.ReviewQueueItemID != item {
		t.Errorf("triggered = %+v", got)
	}
	if got := told[event.ModerationBlur](h, event.CallModerationBlur, 1)[0]; got.UserID != "bob" {
		t.Errorf("blur = %+v", got)
	}
	told[event.UserMuted](h, event.CallUserMuted, 1)
	told[event.KickedUser](h, event.CallKickedUser, 0)
	for range 3 {
		h.show(s)
	}
	if got := told[event.KickedUser](h, event.CallKickedUser, 1)[0]; got.User.ID != "bob" || got.KickedByUser.ID != moderation.System {
		t.Errorf("kicked = %+v", got)
	}
	told[event.RuleTrigger](h, event.RuleTriggered, 3)
	told[event.UserBan](h, event.UserBanned, 0) // the file's rules do not hold here

	var version db.PolicyVersionRow
	h.ok(h.db.NewSelect().Model(&version).Where("version = ?", s.PolicyVersion()).Scan(t.Context()))
	if !strings.Contains(string(version.Policy.V), `"nudity"`) {
		t.Errorf("version %s says %s", version.Version, version.Policy.V)
	}
}

// TestPushedVerdictsCountAsFrames: one decides nothing, the second does, and
// what was pushed survives a restart.
func TestPushedVerdictsCountAsFrames(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "sqlite://"+t.TempDir()+"/t.db")
	h.post("moderation_rule", ladder)
	s := h.moderate()
	push := func(id string) map[string]any {
		return h.post("custom_check", `{"entity_type":"call","entity_id":"default:abc","entity_creator_id":"bob",
			"flags":[{"type":"custom_check_image","labels":["nudity"],"custom":{"id":"`+id+`","scores":{"nudity":0.95}}},{"type":"custom_check_image","custom":{"scores":{"nudity":0.9}}}]}`)
	}
	seen := func() int {
		n, err := h.db.NewSelect().Model((*db.VerdictRow)(nil)).Where("source = ?", event.SourceOutside).Count(t.Context())
		h.ok(err)
		return int(n)
	}
	if item := push("a")["item"].(map[string]any); item["entity_creator_id"] != "bob" {
		t.Errorf("item = %v", item)
	}
	testkit.Eventually(t, wait, func() bool { return seen() == 1 })
	push("a") // the same look once more
	h.ok(s.Close())
	told[event.RuleTrigger](h, event.RuleTriggered, 0)
	h.moderate()
	push("b")
	if got := told[event.RuleTrigger](h, event.RuleTriggered, 1)[0]; got.ViolationNumber != 1 {
		t.Errorf("triggered = %+v", got)
	}
	told[event.ModerationWarning](h, event.CallModerationWarning, 1)
	if n := seen(); n != 2 {
		t.Errorf("%d verdicts of two looks", n)
	}
}
