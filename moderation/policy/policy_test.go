package policy

import (
	"fmt"
	"testing"
	"time"

	"stillwatch/internal/event"
)

var epoch = time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)

// seen is a verdict on user's n-th frame, two seconds apart, with a score.
func seen(user string, n int, porn float64) event.Verdict {
	at := epoch.Add(time.Duration(n) * 2 * time.Second)
	id := fmt.Sprintf("%s-%d", user, n)
	return event.Verdict{
		VerdictID: "v-" + id, State: event.VerdictKnown, At: at.Add(50 * time.Millisecond),
		Scores: []event.Score{{Label: "Drawing", Score: 0}, {Label: "Porn", Score: porn}, {Label: "Neutral", Score: 1 - porn}},
		Frame: event.FrameReady{
			FrameID: id, CID: "default:abc", CallType: "default", SessionID: "s1", UserID: user, TrackID: user + "-cam",
			CapturedAt: at, SHA256: "sha-" + id,
		},
	}
}

func blind(user string, n int) event.Verdict {
	v := seen(user, n, 0)
	v.State, v.Scores, v.Reason = event.VerdictUnknown, nil, "no model"
	return v
}

func feed(e *Engine, vs ...event.Verdict) (out []Decision) {
	for _, v := range vs {
		out = append(out, e.Observe(v)...)
	}
	return out
}

// told is decisions in short: "bob flag explicit-flag".
func told(ds []Decision) (out []string) {
	for _, d := range ds {
		out = append(out, fmt.Sprintf("%s %s %s", d.UserID, d.Action, d.Rule))
	}
	return out
}

func wantTold(t *testing.T, ds []Decision, want ...string) {
	t.Helper()
	if got := told(ds); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("decisions = %q, want %q", got, want)
	}
}

func TestDefaultPolicyFlagsAtTwoAndBansAtThreeOfFive(t *testing.T) {
	t.Parallel()
	e := New(Default())
	wantTold(t, feed(e, seen("bob", 0, 0.99)))
	wantTold(t, feed(e, seen("bob", 1, 0.1), seen("bob", 2, 0.86)), "bob flag explicit-flag")
	wantTold(t, feed(e, seen("bob", 3, 0.84)))
	wantTold(t, feed(e, seen("bob", 4, 0.85)), "bob ban explicit-ban")
	wantTold(t, feed(e, seen("bob", 5, 1), seen("bob", 6, 1), seen("bob", 7, 1)))
}

func TestHitsFurtherApartThanTheWindowDoNotAddUp(t *testing.T) {
	t.Parallel()
	e := New(Default())
	for n := range 40 {
		p := 0.0
		if n%5 == 0 {
			p = 1
		}
		wantTold(t, feed(e, seen("bob", n, p)))
	}
}

func TestFramesOlderThanTheMaximumAgeDoNotCount(t *testing.T) {
	t.Parallel()
	e := New(Default())
	wantTold(t, feed(e, seen("bob", 0, 1), seen("bob", 301, 1)))        // 602 s apart
	wantTold(t, feed(e, seen("bob", 601, 1)), "bob flag explicit-flag") // 600 s apart
}

func TestScoresOfTheLabelsAddUp(t *testing.T) {
	t.Parallel()
	e := New(Default())
	mixed := func(n int) event.Verdict {
		v := seen("bob", n, 0)
		v.Scores = []event.Score{{Label: "Hentai", Score: 0.5}, {Label: "Porn", Score: 0.4}, {Label: "Sexy", Score: 0.1}}
		return v
	}
	ds := feed(e, mixed(0), mixed(1))
	wantTold(t, ds, "bob flag explicit-flag")
	if ds[0].Score != 0.9 || fmt.Sprint(ds[0].Labels) != "[Hentai Porn]" {
		t.Errorf("score %v, labels %v", ds[0].Score, ds[0].Labels)
	}
}

func TestEvidenceHoldsTheWholeWindow(t *testing.T) {
	t.Parallel()
	cfg := Default()
	cfg.Default.Rules[1].BanTimeoutMinutes = 30
	e := New(cfg)
	ds := feed(e, seen("bob", 0, 1), seen("bob", 1, 0), seen("bob", 2, 1), seen("bob", 3, 1))
	wantTold(t, ds, "bob flag explicit-flag", "bob ban explicit-ban")
	d := ds[1]
	if d.Evidence.PolicyVersion != cfg.Version() || len(d.Evidence.Frames) != 4 || len(d.Verdicts) != 4 {
		t.Fatalf("evidence = %+v", d.Evidence)
	}
	f := d.Evidence.Frames[1]
	if f.FrameID != "bob-1" || f.SHA256 != "sha-bob-1" || f.VerdictID != "v-bob-1" || f.Hit || !d.Evidence.Frames[3].Hit {
		t.Errorf("frames = %+v", d.Evidence.Frames)
	}
	if d.Frame.FrameID != "bob-3" || !d.ExpiresAt.Equal(d.At.Add(30*time.Minute)) || d.Evidence.Rule.Confidence != 0.85 {
		t.Errorf("decision = %+v", d)
	}
}

func TestBanWithoutAFlagRuleFlagsFirst(t *testing.T) {
	t.Parallel()
	cfg := Default()
	cfg.Default.Rules = cfg.Default.Rules[1:]
	e := New(cfg)
	wantTold(t, feed(e, seen("bob", 0, 1), seen("bob", 1, 1), seen("bob", 2, 1)), "bob flag explicit-ban", "bob ban explicit-ban")
}

func TestCleanTracksDoNotDiluteADirtyOne(t *testing.T) {
	t.Parallel()
	e := New(Default())
	var ds []Decision
	for n := range 12 {
		v := seen("bob", n, 0)
		v.Frame.TrackID = fmt.Sprint("clean", n%3)
		if n%4 == 3 {
			v = seen("bob", n, 1)
		}
		ds = append(ds, e.Observe(v)...)
	}
	wantTold(t, ds, "bob flag explicit-flag", "bob ban explicit-ban")
	if ds[1].Evidence.TrackID != "bob-cam" {
		t.Errorf("track = %q", ds[1].Evidence.TrackID)
	}
}

func TestNewTracksDoNotStartAfresh(t *testing.T) {
	t.Parallel()
	e := New(Default())
	var ds []Decision
	for n := range 40 { // more tracks than have a window
		v := seen("bob", n, 1)
		v.Frame.TrackID = fmt.Sprint("t", n)
		ds = append(ds, e.Observe(v)...)
	}
	wantTold(t, ds, "bob flag explicit-flag", "bob ban explicit-ban")
}

func TestUnknownIsNeitherCleanNorDirty(t *testing.T) {
	t.Parallel()
	e := New(Default())
	// Three blind frames between the hits do not push them out of the window.
	ds := feed(e, seen("bob", 0, 1), seen("bob", 1, 0), seen("bob", 2, 0), blind("bob", 3), blind("bob", 4), blind("bob", 5), seen("bob", 6, 1))
	wantTold(t, ds, "bob flag explicit-flag")
}

func TestFailClosedFlagsAfterKUnknown(t *testing.T) {
	t.Parallel()
	cfg := Default()
	cfg.Default.OnUnknown = FailClosed
	e := New(cfg)
	wantTold(t, feed(e, blind("bob", 0), seen("bob", 1, 0), blind("bob", 2)))
	ds := feed(e, blind("bob", 3))
	wantTold(t, ds, "bob flag unknown")
	if len(ds[0].Evidence.Frames) != 4 || ds[0].Evidence.Frames[0].State != event.VerdictUnknown {
		t.Errorf("evidence = %+v", ds[0].Evidence)
	}
	wantTold(t, feed(e, blind("bob", 4), blind("bob", 5)))
}

func TestFailOpenDoesNothing(t *testing.T) {
	t.Parallel()
	e := New(Default())
	for n := range 20 {
		wantTold(t, feed(e, blind("bob", n)))
	}
}

func TestCallTypeOverrides(t *testing.T) {
	t.Parallel()
	cfg, err := Parse([]byte(`
default: {rules: [{name: a, labels: [Porn], confidence: 0.5, k: 2, n: 3, action: flag}]}
call_types: {dating: {rules: []}}`))
	if err != nil {
		t.Fatal(err)
	}
	e := New(cfg)
	for n := range 5 {
		v := seen("eve", n, 1)
		v.Frame.CallType = "dating"
		wantTold(t, feed(e, v))
	}
	wantTold(t, feed(e, seen("bob", 0, 1), seen("bob", 1, 1)), "bob flag a")
}

func TestResetLetsEachRuleFireAnew(t *testing.T) {
	t.Parallel()
	e := New(Default())
	feed(e, seen("bob", 0, 1), seen("bob", 1, 1), seen("bob", 2, 1))
	if !e.Fired(Person{"s1", "bob"}) {
		t.Fatal("nothing fired")
	}
	e.Reset("bob", epoch.Add(5*time.Second))
	if e.Fired(Person{"s1", "bob"}) {
		t.Fatal("still fired")
	}
	wantTold(t, feed(e, seen("bob", 1, 1), seen("bob", 2, 1))) // before the reset
	wantTold(t, feed(e, seen("bob", 3, 1), seen("bob", 4, 1)), "bob flag explicit-flag")
}

// TestManyCleanTracksDoNotHideOne: each has its frame between two of the one.
func TestManyCleanTracksDoNotHideOne(t *testing.T) {
	t.Parallel()
	e := New(Default())
	var got []Decision
	for n := range 3 {
		for track := range 60 {
			v := seen("bob", n*60+track, 0)
			v.Frame.TrackID = fmt.Sprint(track)
			if track == 0 {
				v.Scores[1].Score = 1
			}
			got = append(got, e.Observe(v)...)
		}
	}
	wantTold(t, got, "bob flag explicit-flag", "bob ban explicit-ban")
}

// TestClockSetBack: it ran an hour ahead for a while. Nobody is blind to the
// policy for that hour, and the brake does not stay on.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	e := New(Default())
	ahead := func(v event.Verdict) event.Verdict {
		v.Frame.CapturedAt, v.At = v.Frame.CapturedAt.Add(time.Hour), v.At.Add(time.Hour)
		return v
	}
	for i := range 10 { // as many bans as the brake allows
		user := fmt.Sprint(i)
		feed(e, ahead(seen(user, 0, 1)), ahead(seen(user, 1, 1)), ahead(seen(user, 2, 1)))
	}
	feed(e, ahead(seen("bob", 0, 0)), ahead(seen("bob", 1, 0)))
	got := feed(e, seen("bob", 2, 1), seen("bob", 3, 1), seen("bob", 4, 0))
	wantTold(t, got, "bob flag explicit-flag")
	feed(e, seen("eve", 2, 1), seen("eve", 3, 1), seen("eve", 4, 1)) // braked
	got = feed(e, seen("ann", 40, 1), seen("ann", 41, 1), seen("ann", 42, 1))
	wantTold(t, got, "ann flag explicit-flag", "ann ban explicit-ban")
}

func TestRestoreGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	e := New(Default())
	who := Person{"s1", "bob"}
	e.Restore(who, time.Time{}, []event.Verdict{seen("bob", 0, 1), seen("bob", 1, 1)}, []Decided{{"explicit-flag", event.ActionFlag, false}})
	wantTold(t, feed(e, seen("bob", 1, 1), seen("bob", 2, 1)), "bob ban explicit-ban")

	again := New(Default())
	again.Restore(who, time.Time{}, nil, []Decided{{"explicit-flag", event.ActionFlag, false}, {"explicit-ban", event.ActionBan, false}})
	wantTold(t, feed(again, seen("bob", 3, 1), seen("bob", 4, 1), seen("bob", 5, 1)))
}

func TestForgetDropsTheIdle(t *testing.T) {
	t.Parallel()
	e := New(Default())
	feed(e, seen("bob", 0, 0), seen("eve", 100, 0))
	if n := e.Forget(epoch.Add(time.Minute)); n != 1 || e.Knows(Person{"s1", "bob"}) || !e.Knows(Person{"s1", "eve"}) {
		t.Errorf("forgot %d", n)
	}
}

func TestDuplicateFromLongAgoIsNotAClockSetBack(t *testing.T) {
	t.Parallel()
	e := New(Default())
	wantTold(t, feed(e, seen("bob", 0, 0.1), seen("bob", 40, 0.9), seen("bob", 0, 0.1), seen("bob", 41, 0.9)), "bob flag explicit-flag")
}
