package moderation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
	"stillwatch/moderation/policy"
)

func TestADecisionIsWrittenWithAllItStandsOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service()
	w.show(s, w.frame("bob", 0, "1"), w.frame("bob", 1, "0"), w.frame("eve", 1, "1"))
	w.wantDecisions()
	w.show(s, w.frame("bob", 2, "1"), w.frame("bob", 3, "1"), w.frame("bob", 4, "1"))
	w.wantDecisions("bob flag explicit-flag", "bob ban explicit-ban")

	d := w.decisionRows()[1]
	var evidence policy.Evidence
	w.ok(json.Unmarshal(d.Evidence.V, &evidence))
	if d.PolicyVersion != policy.Default().Version() || len(evidence.Frames) != 4 || evidence.Frames[3].SHA256 != "sha-bob-3" {
		t.Errorf("evidence = %+v", evidence)
	}
	for _, f := range evidence.Frames {
		var v db.VerdictRow
		w.ok(w.db.NewSelect().Model(&v).Where("id = ?", f.VerdictID).Scan(t.Context()))
		if v.FrameID != f.FrameID || len(v.Models.V) < 10 {
			t.Errorf("verdict %+v", v)
		}
	}
	var actions []db.ActionRow
	w.ok(w.db.NewSelect().Model(&actions).OrderExpr("rowid").Scan(t.Context()))
	if len(actions) != 2 || actions[1].DecisionID != d.ID || actions[1].State != db.ActionStateRequested || actions[1].Kind != "ban" {
		t.Fatalf("actions = %+v", actions)
	}
	var outbox []db.OutboxRow
	w.ok(w.db.NewSelect().Model(&outbox).Order("seq").Scan(t.Context()))
	var req event.ActionRequested
	w.ok(outbox[1].Envelope.V.Decode(&req))
	if len(outbox) != 2 || req.ActionID != actions[1].ID || req.UserID != "bob" || req.FrameID != "bob-3-1" || req.ObjectKey != "frames/bob-3.jpg" ||
		req.ByUserID != System || !req.CapturedAt.Equal(w.frame("bob", 3, "1").CapturedAt) || outbox[1].Envelope.V.Key != "default:abc/bob" {
		t.Errorf("request = %+v", req)
	}
	if w.rows((*db.AuditRow)(nil)) != 2 || s.Stats().Decisions != 2 || s.Stats().Frames != 6 {
		t.Errorf("stats = %+v", s.Stats())
	}
}

func TestVerdictsArePublishedAndNoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service()
	w.show(s, w.frame("bob", 0, "0"), w.frame("bob", 1, "0"))
	testkit.Eventually(t, wait, func() bool { return w.rows((*db.VerdictRow)(nil)) == 2 })
	evs := w.wire.on(event.TopicVerdicts)
	var v event.Verdict
	w.ok(evs[0].Decode(&v))
	if len(evs) != 2 || evs[0].Type != event.TypeVerdict || evs[0].Key != "default:abc/bob" || v.Frame.FrameID != "bob-0-0" || v.State != event.VerdictKnown || v.VerdictID == "" {
		t.Errorf("verdict = %+v", v)
	}
}

func TestTheSameFrameTwiceIsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service()
	for range 5 {
		w.show(s, w.frame("bob", 0, "1"))
	}
	w.wantDecisions()
	for range 3 {
		w.show(s, w.frame("bob", 1, "1"), w.frame("bob", 0, "1"))
	}
	w.wantDecisions("bob flag explicit-flag")
	testkit.Eventually(t, wait, func() bool { return w.rows((*db.VerdictRow)(nil)) == 2 })
}

func TestRestartNeitherForgetsNorRepeats(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	frames := []event.FrameReady{w.frame("bob", 0, "1"), w.frame("bob", 1, "1"), w.frame("bob", 2, "1"), w.frame("bob", 3, "1")}
	for i, f := range frames { // a new process for each frame
		row := db.FrameRow{ID: f.FrameID, CID: f.CID, SessionID: f.SessionID, UserID: f.UserID, TrackID: f.TrackID, CapturedAt: db.At(f.CapturedAt), SHA256: f.SHA256}
		_, err := w.db.NewInsert().Model(&row).Exec(t.Context())
		w.ok(err)
		s := w.service()
		w.show(s, f)
		if i > 0 {
			w.show(s, frames[i-1]) // not acknowledged before the crash
		}
		w.ok(s.Close())
	}
	w.wantDecisions("bob flag explicit-flag", "bob ban explicit-ban")
	if w.rows((*db.ActionRow)(nil)) != 2 {
		t.Error("doubled actions")
	}
}

// TestARunOutBanLetsThePolicyDecideAnew: in the same session, which others
// kept alive.
func TestARunOutBanLetsThePolicyDecideAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service()
	w.show(s, w.frame("bob", 0, "1"), w.frame("bob", 1, "1"), w.frame("bob", 2, "1"))
	w.wantDecisions("bob flag explicit-flag", "bob ban explicit-ban")
	ban := db.BanRow{ID: "b", UserID: "bob", ByUserID: System, CreatedAt: db.At(w.epoch), ExpiresAt: db.At(w.epoch.Add(2500 * time.Millisecond))}
	_, err := w.db.NewInsert().Model(&ban).Exec(t.Context())
	w.ok(err)
	s.mu.Lock()
	clear(s.lifted) // two seconds later
	s.mu.Unlock()
	w.show(s, w.frame("bob", 3, "1"))
	w.wantDecisions("bob flag explicit-flag", "bob ban explicit-ban") // what the ban was for is over
	w.show(s, w.frame("bob", 4, "1"), w.frame("bob", 5, "1"))
	w.wantDecisions("bob flag explicit-flag", "bob ban explicit-ban", "bob flag explicit-flag", "bob ban explicit-ban")
}

// keep writes the rows of frames, which the capture node does elsewhere.
func (w *world) keep(frames ...event.FrameReady) {
	w.Helper()
	for _, f := range frames {
		row := db.FrameRow{ID: f.FrameID, CID: f.CID, SessionID: f.SessionID, UserID: f.UserID, TrackID: f.TrackID, CapturedAt: db.At(f.CapturedAt), SHA256: f.SHA256}
		_, err := w.db.NewInsert().Model(&row).Exec(w.Context())
		w.ok(err)
	}
}

// TestLeavingInTimeDoesNotEmptyTheWindow: a user who is in a new call for
// each picture is decided on as in one.
func TestLeavingInTimeDoesNotEmptyTheWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service()
	for n := range 7 {
		f := w.frame("bob", n, "1")
		f.CID, f.SessionID, f.TrackID = fmt.Sprintf("default:call-%d", n), fmt.Sprintf("session-%d", n), fmt.Sprint(n)
		w.keep(f)
		w.show(s, f)
		testkit.Eventually(t, wait, func() bool { return w.rows((*db.VerdictRow)(nil)) == n+1 })
		switch n {
		case 0:
			w.wantDecisions()
		case 1:
			w.wantDecisions("bob flag explicit-flag")
		case 2, 3: // flagged anew in the new session; what the ban was for is void
			w.wantDecisions("bob flag explicit-flag", "bob flag explicit-flag", "bob ban explicit-ban")
		}
	}
}

// TestVerdictWithoutItsDecisionIsDecidedAgain: a crash between the two.
func TestVerdictWithoutItsDecisionIsDecidedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	frames := []event.FrameReady{w.frame("bob", 0, "1"), w.frame("bob", 1, "1")}
	w.keep(frames...)
	s := w.service()
	w.show(s, frames...)
	testkit.Eventually(t, wait, func() bool { return w.rows((*db.VerdictRow)(nil)) == 2 })
	w.ok(s.Close())
	_, err := w.db.NewDelete().Model((*db.DecisionRow)(nil)).Where("1 = 1").Exec(t.Context())
	w.ok(err)
	_, err = w.db.NewDelete().Model((*db.ActionRow)(nil)).Where("1 = 1").Exec(t.Context())
	w.ok(err)
	w.show(w.service(), frames[1]) // it was not acknowledged
	w.wantDecisions("bob flag explicit-flag")
}

func TestTwoProcessesDecideOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.service(), w.service()
	for n := range 4 {
		w.show(a, w.frame("bob", n, "1"))
		w.show(b, w.frame("bob", n, "1"))
	}
	w.wantDecisions("bob flag explicit-flag", "bob ban explicit-ban")
}

func TestUnbanLetsThePolicyDecideAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service(func(c *Config) { c.Now = func() time.Time { return time.Now() } })
	w.show(s, w.frame("bob", 0, "1"), w.frame("bob", 1, "1"), w.frame("bob", 2, "1"))
	ban := db.BanRow{ID: "b", UserID: "bob", ByUserID: System, CreatedAt: db.At(w.epoch), LiftedAt: db.At(w.epoch.Add(2500 * time.Millisecond)), LiftedBy: "mod"}
	_, err := w.db.NewInsert().Model(&ban).Exec(t.Context())
	w.ok(err)
	s.mu.Lock()
	clear(s.lifted) // two seconds later
	s.mu.Unlock()
	w.show(s, w.frame("bob", 3, "1"), w.frame("bob", 4, "1"), w.frame("bob", 5, "1"))
	w.wantDecisions("bob flag explicit-flag", "bob ban explicit-ban", "bob flag explicit-flag", "bob ban explicit-ban")
	// And so does a process that starts after the unban.
	again := w.service()
	w.show(again, w.frame("bob", 4, "1"), w.frame("bob", 5, "1"), w.frame("bob", 6, "1"))
	if len(w.decisions()) != 4 {
		t.Error("decided twice after one unban")
	}
}

func TestWhatCannotBeWrittenIsOwed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service()
	w.show(s, w.frame("bob", 0, "1"))
	_, err := w.db.ExecContext(t.Context(), "ALTER TABLE decisions RENAME TO hidden")
	w.ok(err)
	if err := s.Handle(t.Context(), ready(w.frame("bob", 1, "1"))); err == nil {
		t.Fatal("acknowledged a decision that is not written")
	}
	_, err = w.db.ExecContext(t.Context(), "ALTER TABLE hidden RENAME TO decisions")
	w.ok(err)
	// Without another frame: housekeeping pays.
	testkit.Eventually(t, wait, func() bool { return len(w.decisions()) == 1 })
	w.show(s, w.frame("bob", 1, "1"))
	w.wantDecisions("bob flag explicit-flag")
	if n := w.rows((*db.OutboxRow)(nil)); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestUnknownIsAlarmedAndInTheLedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service()
	w.show(s, w.frame("bob", 0, "x"), w.frame("bob", 1, "x"), w.frame("bob", 2, "x"), w.frame("bob", 2, "x"))
	w.wantDecisions()
	testkit.Eventually(t, wait, func() bool { return w.rows((*db.GapRow)(nil)) == 3 })
	var gap db.GapRow
	w.ok(w.db.NewSelect().Model(&gap).Limit(1).Scan(t.Context()))
	if gap.Reason != string(event.GapClassifier) || gap.Detail != "model is missing" || gap.UserID != "bob" || gap.Due != 1 {
		t.Errorf("gap = %+v", gap)
	}
	if s.Stats().Unknown != 4 || len(w.wire.on(event.TopicFrames)) != 4 {
		t.Errorf("stats = %+v", s.Stats())
	}
	var v event.Verdict
	w.ok(w.wire.on(event.TopicVerdicts)[0].Decode(&v))
	if v.State != event.VerdictUnknown || v.Reason != "model is missing" || len(v.Scores) != 0 {
		t.Errorf("verdict = %+v", v)
	}
}

func TestScoresWithoutTheRulesLabelsAreUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service(func(c *Config) { c.Policy.Default.Rules[0].Labels = []string{"nudity"} })
	w.show(s, w.frame("bob", 0, "1"))
	if s.Stats().Unknown != 1 {
		t.Error("a model that knows no label of the rule passed for clean")
	}
}

func TestFailClosedFlagsTheUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service(func(c *Config) { c.Policy.Default.OnUnknown = policy.FailClosed })
	w.show(s, w.frame("bob", 0, "x"), w.frame("bob", 1, "x"))
	w.wantDecisions()
	w.show(s, w.frame("bob", 2, "x"))
	w.wantDecisions("bob flag unknown")
}

func TestBrakedBanBecomesAFlagThatRecommendsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	slow := func(c *Config) { c.Policy.Brake.MaxBansPerMinute = 1 }
	s := w.service(slow)
	w.show(s, w.frame("a", 0, "1"), w.frame("a", 1, "1"), w.frame("a", 2, "1"))
	// The brake remembers over a restart.
	w.ok(s.Close())
	s = w.service(slow)
	w.show(s, w.frame("b", 0, "1"), w.frame("b", 1, "1"), w.frame("b", 2, "1"))
	w.wantDecisions("a flag explicit-flag", "a ban explicit-ban", "b flag explicit-flag", "b flag explicit-ban")
	var actions []db.ActionRow
	w.ok(w.db.NewSelect().Model(&actions).Where("user_id = 'b'").OrderExpr("rowid").Scan(t.Context()))
	var req event.ActionRequested
	w.ok(json.Unmarshal(actions[1].Payload.V, &req))
	if req.Kind != event.ActionFlag || req.Recommend != event.ActionBan {
		t.Errorf("request = %+v", req)
	}
}

func TestUnchangedPicturesReuseTheVerdictForAWhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service()
	for n := range 12 {
		f := w.frame("bob", n, "0")
		f.PHash = "00ff00ff00ff00ff"
		w.show(s, f)
	}
	if n := w.eye.count(); n != 3 || s.Stats().Reused != 9 { // every fifth is looked at
		t.Errorf("looked %d times, %+v", n, s.Stats())
	}
	var v event.Verdict
	w.ok(w.wire.on(event.TopicVerdicts)[1].Decode(&v))
	if !v.Reused || v.Frame.FrameID != "bob-1-0" {
		t.Errorf("verdict = %+v", v)
	}
}

func TestSuspectPicturesAreLookedAtEachTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service()
	for n := range 3 {
		f := w.frame("bob", n, "1")
		f.PHash = "00ff00ff00ff00ff"
		w.show(s, f)
	}
	w.wantDecisions("bob flag explicit-flag", "bob ban explicit-ban")
	if w.eye.count() != 3 {
		t.Errorf("looked %d times, want 3: one look must not count three times", w.eye.count())
	}
}

func TestReuseStopsAtFlatPicturesUnknownVerdictsAndOtherTracks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service()
	alike := func(n int, what, phash, track string) event.FrameReady {
		f := w.frame("bob", n, what)
		f.PHash, f.TrackID = phash, track
		return f
	}
	w.show(s,
		alike(0, "0", "0000000000000000", "cam"), alike(1, "0", "0000000000000000", "cam"),
		alike(2, "x", "00ff00ff00ff00ff", "cam"), alike(3, "0", "00ff00ff00ff00ff", "cam"),
		alike(4, "0", "00ff00ff00ff00ff", "screen"), alike(5, "0", "", "x"), alike(6, "0", "", "x"),
	)
	if w.eye.count() != 7 {
		t.Errorf("looked %d times", w.eye.count())
	}
	off := w.service(func(c *Config) { c.Reuse = -1 })
	w.show(off, alike(7, "0", "00ff00ff00ff00ff", "cam"), alike(8, "0", "00ff00ff00ff00ff", "cam"))
	if w.eye.count() != 9 {
		t.Errorf("looked %d times", w.eye.count())
	}
}

func TestSkippedFramesAreInTheLedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service()
	s.skipped(ready(w.frame("bob", 0, "0")), bus.SkipSuperseded)
	testkit.Eventually(t, wait, func() bool { return w.rows((*db.GapRow)(nil)) == 1 })
	var gap db.GapRow
	w.ok(w.db.NewSelect().Model(&gap).Scan(t.Context()))
	if gap.Reason != string(event.GapOverload) || gap.Detail != "superseded" || s.Stats().Skipped != 1 {
		t.Errorf("gap = %+v", gap)
	}
}

func TestSaneNeverPassesNonsenseForClean(t *testing.T) {
	t.Parallel()
	one := func(s float64) []event.Score { return []event.Score{{Label: "Porn", Score: s}} }
	for name, v := range map[string]event.Verdict{
		"nan": {State: event.VerdictKnown, Scores: one(math.NaN())}, "inf": {State: event.VerdictKnown, Scores: one(math.Inf(1))},
		"negative": {State: event.VerdictKnown, Scores: one(-0.1)}, "above one": {State: event.VerdictKnown, Scores: one(1.1)},
		"empty": {State: event.VerdictKnown}, "no state": {Scores: one(0.1)}, "odd state": {State: "clean", Scores: one(0.1)},
		"nan in a model": {State: event.VerdictUnknown, Models: []event.ModelScores{{Scores: one(math.NaN())}}},
	} {
		got := sane(v)
		if got.State != event.VerdictUnknown || got.Reason == "" || len(got.Scores) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := sane(event.Verdict{State: event.VerdictKnown, Scores: one(1)}); got.State != event.VerdictKnown {
		t.Errorf("%+v", got)
	}
}

func TestOtherEventsArePassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service()
	w.ok(s.Handle(t.Context(), event.New(event.TypeFrameGap, "k", time.Now(), event.FrameGap{})))
	if s.Stats().Frames != 0 {
		t.Error("looked at a gap")
	}
}

func TestEndingIsNoVerdict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.service()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Handle(ctx, ready(w.frame("bob", 0, "1"))); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	if s.Stats().Unknown != 0 {
		t.Error("took the end for an unknown verdict")
	}
}

func TestBadPolicyIsRefused(t *testing.T) {
	t.Parallel()
	bad := policy.Default()
	bad.Default.Rules[0].K = 1
	if _, err := New(Config{Policy: bad}); err == nil {
		t.Error("took it")
	}
}
