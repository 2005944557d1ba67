package moderation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
	"stillwatch/moderation/policy"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const wait = 15 * time.Second

// eye is a Looker that finds in a frame the score that its id asks for:
// "…-1" is explicit, "…-x" cannot be judged, all else is harmless.
type eye struct {
	mu     sync.Mutex
	looked []string
}

func (e *eye) Look(_ context.Context, f event.FrameReady) (event.Verdict, error) {
	e.mu.Lock()
	e.looked = append(e.looked, f.FrameID)
	e.mu.Unlock()
	porn := 0.0
	switch f.FrameID[len(f.FrameID)-1] {
	case '1':
		porn = 0.97
	case 'x':
		return event.Verdict{}, errors.New("model is missing")
	}
	scores := []event.Score{{Label: "Neutral", Score: 1 - porn}, {Label: "Porn", Score: porn}}
	return event.Verdict{
		State: event.VerdictKnown, Scores: scores,
		Models: []event.ModelScores{{Model: "eye", Version: "1", SHA256: "aa", TensorSHA256: "tensor-" + f.FrameID, Scores: scores}},
	}, nil
}

func (e *eye) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.looked)
}

// wire is a bus that keeps what is published and brings nothing.
type wire struct {
	mu  sync.Mutex
	evs map[event.Topic][]event.Envelope
}

func (w *wire) Consume(ctx context.Context, _ bus.Subscription) error {
	<-ctx.Done()
	return nil
}

func (w *wire) Publish(_ context.Context, topic event.Topic, evs ...event.Envelope) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.evs == nil {
		w.evs = map[event.Topic][]event.Envelope{}
	}
	w.evs[topic] = append(w.evs[topic], evs...)
	return nil
}

func (w *wire) on(topic event.Topic) []event.Envelope {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.evs[topic]
}

type world struct {
	testing.TB
	db    *db.DB
	eye   *eye
	wire  *wire
	epoch time.Time
}

func newWorld(t testing.TB) *world {
	d, err := db.Open(context.Background(), "sqlite://"+t.TempDir()+"/t.db")
	w := &world{TB: t, db: d, eye: &eye{}, wire: &wire{}, epoch: time.Now().UTC().Add(-time.Minute)}
	w.ok(err)
	t.Cleanup(func() { _ = d.Close() })
	return w
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) service(change ...func(*Config)) *Service {
	w.Helper()
	cfg := Config{DB: w.db, Bus: w.wire, Looker: w.eye, Policy: policy.Default()}
	for _, c := range change {
		c(&cfg)
	}
	s, err := New(cfg)
	w.ok(err)
	w.ok(s.Start(context.Background()))
	w.Cleanup(func() { w.ok(s.Close()) })
	return s
}

// frame is user's n-th frame; what names what it shows.
func (w *world) frame(user string, n int, what string) event.FrameReady {
	return event.FrameReady{
		FrameID: fmt.Sprintf("%s-%d-%s", user, n, what), CID: "default:abc", CallType: "default", SessionID: "s1", UserID: user,
		TrackID: user + "-cam", TrackType: event.TrackVideo, Codec: event.VP8, CapturedAt: w.epoch.Add(time.Duration(n) * time.Second),
		ObjectKey: fmt.Sprintf("frames/%s-%d.jpg", user, n), SHA256: fmt.Sprintf("sha-%s-%d", user, n), PHash: fmt.Sprintf("%016x", 0xabc0000+n),
	}
}

func ready(f event.FrameReady) event.Envelope {
	ev := event.New(event.TypeFrameReady, f.CID+"/"+f.UserID, f.CapturedAt, f)
	ev.ID = "ready-" + f.FrameID
	return ev
}

func (w *world) show(s *Service, frames ...event.FrameReady) {
	w.Helper()
	for _, f := range frames {
		w.ok(s.Handle(context.Background(), ready(f)))
	}
}

// decisions are those in the database in short: "bob flag explicit-flag".
func (w *world) decisions() (out []string) {
	w.Helper()
	for _, r := range w.decisionRows() {
		out = append(out, r.UserID+" "+r.Action+" "+r.Rule)
	}
	return out
}

func (w *world) decisionRows() (rows []db.DecisionRow) {
	w.Helper()
	w.ok(w.db.NewSelect().Model(&rows).OrderExpr("rowid").Scan(context.Background()))
	return rows
}

func (w *world) wantDecisions(want ...string) {
	w.Helper()
	if got := w.decisions(); fmt.Sprint(got) != fmt.Sprint(want) {
		w.Fatalf("decisions = %q, want %q", got, want)
	}
}

func (w *world) rows(model any) int {
	w.Helper()
	n, err := w.db.NewSelect().Model(model).Count(context.Background())
	w.ok(err)
	return int(n)
}
