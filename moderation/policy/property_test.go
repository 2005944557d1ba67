package policy

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stillwatch/internal/event"
)

// drawConfig draws a valid policy.
func drawConfig(t *rapid.T) Config {
	cfg := Default()
	cfg.Default.Rules = nil
	for i := range rapid.IntRange(1, 3).Draw(t, "rules") {
		n := rapid.IntRange(2, 6).Draw(t, "n")
		cfg.Default.Rules = append(cfg.Default.Rules, Rule{
			Name: fmt.Sprint("r", i), Labels: []string{"Porn"}, Confidence: rapid.Float64Range(0.1, 1).Draw(t, "confidence"),
			K: rapid.IntRange(2, n).Draw(t, "k"), N: n, MaxAgeSeconds: rapid.SampledFrom([]int{5, 600}).Draw(t, "age"),
			Action: rapid.SampledFrom([]event.ActionKind{event.ActionFlag, event.ActionBan}).Draw(t, "action"),
		})
	}
	cfg.Default.OnUnknown = rapid.SampledFrom([]Mode{FailOpen, FailClosed}).Draw(t, "mode")
	cfg.Brake.MaxBansPerMinute = rapid.SampledFrom([]int{1, 2, 1000}).Draw(t, "brake")
	if err := cfg.Validate(); err != nil {
		t.Fatalf("drew a bad policy: %v", err)
	}
	return cfg
}

// drawSeries draws verdicts of a few users, in the order of capture.
func drawSeries(t *rapid.T) []event.Verdict {
	users := []string{"a", "b", "c"}
	out := []event.Verdict{}
	for n := range rapid.IntRange(0, 40).Draw(t, "frames") {
		user := rapid.SampledFrom(users).Draw(t, "user")
		v := seen(user, n, rapid.SampledFrom([]float64{0, 0.3, 0.9, 1}).Draw(t, "score"))
		if rapid.IntRange(0, 5).Draw(t, "blind") == 0 {
			v = blind(user, n)
		}
		v.Frame.TrackID = rapid.SampledFrom([]string{"cam", "screen"}).Draw(t, "track")
		out = append(out, v)
	}
	return out
}

func TestPropertyNeverADecisionFromOneFrame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg, series := drawConfig(t), drawSeries(t)
		for _, d := range feed(New(cfg), series...) {
			ids := map[string]bool{}
			for _, f := range d.Evidence.Frames {
				if f.Hit {
					ids[f.FrameID] = true
				}
			}
			if len(ids) < 2 || len(ids) < d.Evidence.Rule.K || !ids[d.Frame.FrameID] {
				t.Fatalf("%s %s stands on %v", d.Action, d.Rule, ids)
			}
		}
		e := New(cfg)
		for _, v := range series {
			v.Frame.UserID += v.Frame.FrameID // one frame each
			if ds := e.Observe(v); ds != nil {
				t.Fatalf("one frame gave %v", told(ds))
			}
		}
	})
}

func TestPropertySameSeriesSameDecisions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg, series := drawConfig(t), drawSeries(t)
		if a, b := feed(New(cfg), series...), feed(New(cfg), series...); !reflect.DeepEqual(a, b) {
			t.Fatalf("%v, then %v", told(a), told(b))
		}
	})
}

func TestPropertyDuplicatesAreHarmless(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg, series := drawConfig(t), drawSeries(t)
		var doubled []event.Verdict
		for i, v := range series {
			doubled = append(doubled, v)
			for rapid.IntRange(0, 2).Draw(t, "again") == 0 {
				again := series[rapid.IntRange(0, i).Draw(t, "which")]
				again.VerdictID += "-again"
				doubled = append(doubled, again)
			}
		}
		if a, b := feed(New(cfg), series...), feed(New(cfg), doubled...); !reflect.DeepEqual(a, b) {
			t.Fatalf("clean %v, doubled %v", told(a), told(b))
		}
	})
}

func TestPropertyOrderOfParticipantsDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg, series := drawConfig(t), drawSeries(t)
		cfg.Brake.MaxBansPerMinute = 1000 // the brake is the one thing they share
		grouped := slices.Clone(series)
		slices.SortStableFunc(grouped, func(a, b event.Verdict) int {
			return int(a.Frame.UserID[0]) - int(b.Frame.UserID[0])
		})
		of := func(ds []Decision, user string) (out []Decision) {
			for _, d := range ds {
				if d.UserID == user {
					out = append(out, d)
				}
			}
			return out
		}
		mixed, sorted := feed(New(cfg), series...), feed(New(cfg), grouped...)
		for _, user := range []string{"a", "b", "c"} {
			if a, b := of(mixed, user), of(sorted, user); !reflect.DeepEqual(a, b) {
				t.Fatalf("%s: %v, grouped %v", user, told(a), told(b))
			}
		}
	})
}

func TestPropertyEachRuleFiresOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		once := map[string]bool{}
		for _, s := range told(feed(New(drawConfig(t)), drawSeries(t)...)) {
			if once[s] {
				t.Fatalf("twice: %s", s)
			}
			once[s] = true
		}
	})
}

func TestPropertyBrakeHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cfg := Default()
		cfg.Brake.MaxBansPerMinute = rapid.IntRange(1, 4).Draw(t, "brake")
		e := New(cfg)
		var bans []time.Time
		braked, now, users := 0, epoch, rapid.IntRange(1, 20).Draw(t, "users")
		for u := range users {
			for n := range 3 {
				v := seen(fmt.Sprint("u", u), n, 1)
				now = now.Add(time.Duration(rapid.IntRange(0, 8).Draw(t, "step")) * time.Second)
				v.At = now
				for _, d := range e.Observe(v) {
					if d.Action == event.ActionBan {
						bans = append(bans, d.At)
					} else if d.Evidence.Braked {
						braked++
					}
				}
			}
		}
		if len(bans)+braked != users {
			t.Fatalf("%d bans and %d braked of %d users", len(bans), braked, users)
		}
		for i, from := range bans {
			n := 0
			for _, at := range bans[i:] {
				if at.Sub(from) < time.Minute {
					n++
				}
			}
			if n > cfg.Brake.MaxBansPerMinute {
				t.Fatalf("%d bans in a minute, at most %d", n, cfg.Brake.MaxBansPerMinute)
			}
		}
	})
}
