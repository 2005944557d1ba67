package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/capture"
	"stillwatch/capture/call"
	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// fakeCalls notes what it is told to do.
type fakeCalls struct {
	mu   sync.Mutex
	done []string
}

func (f *fakeCalls) note(s string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, s)
	return 1
}

func (f *fakeCalls) saw(s string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.done, s)
}

func (f *fakeCalls) Disconnect(cid, user, reason string) int {
	return f.note("disconnect " + cid + " " + user + " " + reason)
}
func (f *fakeCalls) EndCall(cid, reason string) int { return f.note("end " + cid) }
func (f *fakeCalls) Mute(cid, user string, types []event.TrackType, until time.Time) int {
	return f.note(fmt.Sprintf("mute %s %s %v %v", cid, user, types, until.Unix()))
}

func (f *fakeCalls) SetRecording(cid string, on bool, egressID string, s capture.Settings) {
	word := "off "
	if on {
		word = "on "
	}
	if on && egressID == "" {
		word = "on without egress "
	}
	f.note(word + cid)
}

type rig struct {
	node  *Node
	db    *db.DB
	bus   *bus.Bus
	calls *fakeCalls
	mode  string
	alone time.Duration
}

func newRig(t *testing.T, mode string) *rig {
	t.Helper()
	d, err := db.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	b, err := bus.Open(t.Context(), bus.Config{URL: testkit.Redis(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	r := &rig{db: d, bus: b, calls: &fakeCalls{}, mode: mode}
	now := db.At(time.Now())
	row := &db.CallRow{CID: "default:a", Type: "default", ID: "a", CreatedAt: now, UpdatedAt: now}
	row.Settings.V = json.RawMessage(`{}`)
	if _, err := d.NewInsert().Model(row).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.node = r.newNode(t)
	return r
}

func (r *rig) newNode(t *testing.T) *Node {
	t.Helper()
	n := New(Config{
		ID: "n1", DB: r.db, Bus: r.bus, Calls: r.calls, Sampler: r.calls,
		Settings: func(json.RawMessage) (Settings, error) {
			return Settings{Mode: r.mode, Settings: capture.Settings{IntervalSeconds: 2, Quality: "720p"}, AloneAfter: r.alone}, nil
		},
	})
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func (r *rig) call(t *testing.T) db.CallRow {
	t.Helper()
	var row db.CallRow
	if err := r.db.NewSelect().Model(&row).Where("cid = ?", "default:a").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	return row
}

func (r *rig) publicTypes(t *testing.T) []string {
	t.Helper()
	var rows []db.OutboxRow
	if err := r.db.NewSelect().Model(&rows).Where("topic = ?", event.TopicPublic).Order("seq").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, row := range rows {
		types = append(types, row.Envelope.V.Type)
	}
	return types
}

// TestRecordingStartsAfterTheDatabaseWasAway: for longer than five tries take.
func TestRecordingStartsAfterTheDatabaseWasAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, "auto-on")
	n := New(r.node.cfg)
	n.timeout = 100 * time.Millisecond
	locked, unlock, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = r.db.InTx(t.Context(), func(context.Context, bun.Tx) error { close(locked); <-unlock; return nil })
	}()
	<-locked
	time.AfterFunc(3*time.Second, func() { close(unlock) })
	n.withRetry(t.Context(), func(ctx context.Context) error {
		s := session()
		return n.beginSession(ctx, s.CID, s.ID, s.StartedAt)
	})
	<-done
	if !r.calls.saw("on default:a") {
		t.Fatal("the call is not recorded")
	}
}

func session() call.Session {
	return call.Session{CID: "default:a", CallType: "default", CallID: "a", ID: "s1", StartedAt: time.Now()}
}

func TestSessionStartsAndStopsFrameRecording(t *testing.T) {
	t.Parallel()
	r := newRig(t, "auto-on")
	s := session()
	p := call.Participant{Session: s, UserID: "ann", Role: "user", UserSessionID: "us1", JoinedAt: time.Now()}
	r.node.SessionStarted(s)
	r.node.ParticipantJoined(p)
	testkit.Eventually(t, 20*time.Second, func() bool { return r.calls.saw("on default:a") })
	if row := r.call(t); row.CurrentSessionID != "s1" || row.FrameEgressID == "" {
		t.Errorf("call row = session %q egress %q", row.CurrentSessionID, row.FrameEgressID)
	}
	p.LeftAt, s.EndedAt = time.Now(), time.Now()
	r.node.ParticipantLeft(p, "left")
	r.node.SessionEnded(s)
	testkit.Eventually(t, 20*time.Second, func() bool { return r.call(t).CurrentSessionID == "" })
	if row := r.call(t); row.FrameEgressID != "" {
		t.Error("frame recording outlived the session")
	}
	want := []string{
		event.CallSessionStarted, event.CallFrameRecordingStarted, event.CallParticipantJoined, event.CallParticipantCount,
		event.CallParticipantLeft, event.CallParticipantCount, event.CallSessionEnded, event.CallFrameRecordingStopped,
	}
	if got := r.publicTypes(t); !slices.Equal(got, want) {
		t.Errorf("public events = %q, want %q", got, want)
	}
}

func TestAvailableModeWaitsForAnOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, "available")
	r.node.SessionStarted(session())
	testkit.Eventually(t, 20*time.Second, func() bool { return r.call(t).CurrentSessionID == "s1" })
	if r.calls.saw("on default:a") {
		t.Fatal("capture began without being asked for")
	}
	if _, err := r.db.NewUpdate().Model((*db.CallRow)(nil)).Set("frame_egress_id = 'e1'").Where("cid = 'default:a'").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.order(t, event.Control{ControlID: "c1", Kind: event.ControlFrameRecording, CID: "default:a", On: true})
	testkit.Eventually(t, 20*time.Second, func() bool { return r.calls.saw("on default:a") })
}

func (r *rig) order(t *testing.T, c event.Control) {
	t.Helper()
	if err := r.bus.Publish(t.Context(), event.TopicControl, event.New(event.TypeControl, c.CID, time.Now(), c)); err != nil {
		t.Fatal(err)
	}
}

func TestOrdersAreConfirmed(t *testing.T) {
	t.Parallel()
	r := newRig(t, "available")
	confirmed := make(chan event.ControlDone, 8)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := r.bus.Consume(ctx, bus.Subscription{Topic: event.TopicConfirmed, Group: "test", Consumer: "test", Handler: func(_ context.Context, ev event.Envelope) error {
			var d event.ControlDone
			if err := ev.Decode(&d); err != nil {
				return err
			}
			confirmed <- d
			return nil
		}})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	r.order(t, event.Control{ControlID: "c1", ActionID: "a1", Kind: event.ControlDisconnect, UserID: "bob", Reason: "banned"})
	r.order(t, event.Control{ControlID: "c2", Kind: event.ControlMute, CID: "default:a", UserID: "bob", Tracks: []event.TrackType{event.TrackAudio}, Until: time.Unix(77, 0)})
	r.order(t, event.Control{ControlID: "c3", Kind: event.ControlEndCall, CID: "default:a"})
	got := map[string]event.ControlDone{}
	for len(got) < 3 {
		select {
		case d := <-confirmed:
			got[d.ControlID] = d
		case <-time.After(10 * time.Second):
			t.Fatalf("confirmed only %v", got)
		}
	}
	if d := got["c1"]; d.ActionID != "a1" || d.Node != "n1" || d.Affected != 1 {
		t.Errorf("confirmation = %+v", d)
	}
	for _, want := range []string{"disconnect  bob banned", "mute default:a bob [TRACK_TYPE_AUDIO] 77", "end default:a"} {
		if !r.calls.saw(want) {
			t.Errorf("order %q was not carried out: %q", want, r.calls.done)
		}
	}
}

func TestBannedWhileJoiningIsPutOutAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, "available")
	ban := &db.BanRow{ID: "b1", UserID: "eve", ByUserID: "mo", Reason: "nudity", CreatedAt: db.At(time.Now())}
	if _, err := r.db.NewInsert().Model(ban).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.node.SessionStarted(session())
	r.node.ParticipantJoined(call.Participant{Session: session(), UserID: "eve", UserSessionID: "us9", JoinedAt: time.Now()})
	testkit.Eventually(t, 20*time.Second, func() bool { return r.calls.saw("disconnect default:a eve banned: nudity") })
}

func TestKilledRunsSessionsAreEnded(t *testing.T) {
	t.Parallel()
	r := newRig(t, "auto-on")
	r.node.SessionStarted(session())
	testkit.Eventually(t, 20*time.Second, func() bool { return r.call(t).CurrentSessionID == "s1" })
	r.newNode(t) // as after a kill: the old one never said that the session ended
	if row := r.call(t); row.CurrentSessionID != "" || row.FrameEgressID != "" {
		t.Errorf("call row = session %q egress %q, want both ended", row.CurrentSessionID, row.FrameEgressID)
	}
}
