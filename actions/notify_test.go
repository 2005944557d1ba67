package actions

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"sync"
	"testing"
	"time"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

var update = flag.Bool("update", false, "write the golden files")

// sink and wire keep what they get.
type sink struct{ evs []event.Envelope }

func (s *sink) Offer(ev event.Envelope) { s.evs = append(s.evs, ev) }

type wire struct {
	mu  sync.Mutex
	evs []event.Envelope
}

func (w *wire) Consume(ctx context.Context, _ bus.Subscription) error {
	<-ctx.Done()
	return nil
}

func (w *wire) Publish(_ context.Context, topic event.Topic, evs ...event.Envelope) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if topic == event.TopicPublic {
		w.evs = append(w.evs, evs...)
	}
	return nil
}

func readyFrame(at time.Time) event.Envelope {
	f := event.FrameReady{
		FrameID: "3c1f", CID: "default:e6fd0221", CallType: "default", SessionID: "e48dd421-6281-457e-8995-0ccc463da252",
		EgressID: "9a1c7d50-0000-4000-8000-000000000001", UserID: "bob", TrackID: "t1", TrackType: event.TrackVideo, Codec: event.VP8,
		CapturedAt: at, ObjectKey: "frames/3c1f.jpg", SHA256: "ab", Width: 1280, Height: 720, Bytes: 1,
	}
	return event.New(event.TypeFrameReady, "default:e6fd0221/bob", at, f)
}

func (w *world) user(id string) {
	w.Helper()
	at := db.At(time.Date(2026, 1, 4, 9, 0, 0, 123_000_000, time.UTC))
	row := db.UserRow{ID: id, Name: "Bob", Role: "user", LastActive: at, CreatedAt: at, UpdatedAt: at, Online: true}
	row.Custom.V = map[string]any{"private": true}
	_, err := w.db.NewInsert().Model(&row).Exec(context.Background())
	w.ok(err)
}

func TestFrameRecordingReadyHasTheExactShape(t *testing.T) {
	t.Parallel()
	w, clock := newWorld(t), testkit.NewClock()
	w.user("bob")
	clock.Advance(412_345_678 * time.Nanosecond)
	direct, public := &sink{}, &wire{}
	n := NewNotifier(NotifierConfig{DB: w.db, Bus: public, Signer: signer{}, Sinks: []FrameSink{direct}, Now: clock.Now})
	captured := time.Date(2026, 1, 5, 9, 59, 59, 957_849_850, time.FixedZone("CET", 3600))
	captured = captured.Add(time.Hour)
	w.ok(n.Handle(t.Context(), readyFrame(captured)))
	if len(direct.evs) != 1 || len(public.evs) != 1 || direct.evs[0].ID != public.evs[0].ID || direct.evs[0].Type != event.CallFrameRecordingReady {
		t.Fatalf("told %d and %d times", len(direct.evs), len(public.evs))
	}
	got := direct.evs[0].Data
	const golden = "testdata/frame_recording_ready.json"
	if *update {
		w.ok(os.WriteFile(golden, append(bytes.Clone(got), '\n'), 0o644))
	}
	want, err := os.ReadFile(golden)
	w.ok(err)
	if string(bytes.TrimSpace(want)) != string(got) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var body struct {
		Users map[string]map[string]json.RawMessage `json:"users"`
	}
	w.ok(json.Unmarshal(got, &body))
	fields := []string{
		"banned", "blocked_user_ids", "created_at", "id", "image", "invisible", "language", "last_active", "name", "online",
		"role", "shadow_banned", "teams", "updated_at",
	}
	for _, f := range fields {
		if v, ok := body.Users["bob"][f]; !ok || string(v) == "null" {
			t.Errorf("user field %s is %s", f, v)
		}
	}
	if len(body.Users["bob"]) != len(fields) {
		t.Errorf("%d user fields, want %d", len(body.Users["bob"]), len(fields))
	}
}

func TestFrameTimesAreOrderedAndInUTC(t *testing.T) {
	t.Parallel()
	w, clock := newWorld(t), testkit.NewClock()
	direct := &sink{}
	n := NewNotifier(NotifierConfig{DB: w.db, Bus: &wire{}, Signer: signer{}, Sinks: []FrameSink{direct}, Now: clock.Now})
	// Another machine's clock runs ahead.
	w.ok(n.Handle(t.Context(), readyFrame(clock.Now().Add(time.Second))))
	body := decoded[event.FrameRecordingReady](t, direct.evs[0])
	if body.CreatedAt.Before(body.CapturedAt) {
		t.Errorf("created %s, captured %s", body.CreatedAt, body.CapturedAt)
	}
	if !regexp.MustCompile(`"captured_at":"[0-9T:.-]+Z"`).Match(direct.evs[0].Data) {
		t.Errorf("not UTC: %s", direct.evs[0].Data)
	}
	if u := body.Users["bob"]; u.ID != "bob" || u.Role != "user" || u.Teams == nil { // a user without a row
		t.Errorf("user = %+v", u)
	}
}

func TestBansAreFreshThoughUsersAreCached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.user("bob")
	direct := &sink{}
	n := NewNotifier(NotifierConfig{DB: w.db, Bus: &wire{}, Signer: signer{}, Sinks: []FrameSink{direct}})
	shown := func() event.User {
		t.Helper()
		w.ok(n.Handle(t.Context(), readyFrame(time.Now())))
		return decoded[event.FrameRecordingReady](t, direct.evs[len(direct.evs)-1]).Users["bob"]
	}
	if u := shown(); u.Banned || u.ShadowBanned || u.Name != "Bob" {
		t.Fatalf("%+v", u)
	}
	shadow := banOf("bob")
	shadow.Shadow = true
	e := executorOf(w, nil)
	w.ok(e.Execute(t.Context(), w.request(shadow)))
	if u := shown(); u.Banned || !u.ShadowBanned {
		t.Errorf("%+v", u)
	}
	w.ok(e.Execute(t.Context(), w.request(banOf("bob"))))
	if u := shown(); !u.Banned || !u.ShadowBanned || u.Name != "Bob" {
		t.Errorf("%+v", u)
	}
	_, err := NewDesk(DeskConfig{DB: w.db}).Unban(t.Context(), UnbanRequest{UserID: "bob", ByUserID: "mod"})
	w.ok(err)
	if u := shown(); u.Banned || u.ShadowBanned {
		t.Errorf("%+v", u)
	}
	if n.Told() != 4 {
		t.Errorf("told %d", n.Told())
	}
}

func TestCachedUsersAgeAndAreBounded(t *testing.T) {
	t.Parallel()
	w, clock := newWorld(t), testkit.NewClock()
	w.user("bob")
	direct := &sink{}
	n := NewNotifier(NotifierConfig{DB: w.db, Bus: &wire{}, Signer: signer{}, Sinks: []FrameSink{direct}, Now: clock.Now})
	name := func() string {
		w.ok(n.Handle(t.Context(), readyFrame(clock.Now())))
		return decoded[event.FrameRecordingReady](t, direct.evs[len(direct.evs)-1]).Users["bob"].Name
	}
	name()
	_, err := w.db.NewUpdate().Model((*db.UserRow)(nil)).Set("name = 'Robert'").Where("id = 'bob'").Exec(t.Context())
	w.ok(err)
	if got := name(); got != "Bob" {
		t.Errorf("name = %s within the cache's time", got)
	}
	clock.Advance(userFor + time.Nanosecond)
	if got := name(); got != "Robert" {
		t.Errorf("name = %s after it", got)
	}
	for i := range 10_000 {
		n.remember(fmt.Sprint("u", i), knownUser{until: clock.Now().Add(time.Hour)})
	}
	if len(n.users) > userRoom {
		t.Errorf("%d users kept", len(n.users))
	}
}

func TestNotifierPassesOverOtherEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := NewNotifier(NotifierConfig{DB: w.db, Bus: &wire{}, Signer: signer{}})
	w.ok(n.Handle(t.Context(), event.New(event.TypeFrameGap, "k", time.Now(), event.FrameGap{})))
	if n.Told() != 0 {
		t.Error("told of a gap")
	}
}
