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

// drawRules draws rules of the API. Bans and kicks are left out where order
// is: the brake is shared, and has tests of its own.
func drawRules(t *rapid.T, counting bool) []CallRule {
	var out []CallRule
	for i := range rapid.IntRange(1, 3).Draw(t, "rules") {
		look := func(label string) Condition {
			return Condition{Type: ConditionKeyframe, Keyframe: &KeyframeParams{
				Labels: []string{label}, Threshold: rapid.IntRange(2, 4).Draw(t, "threshold"),
				Window: rapid.SampledFrom([]Span{"5s", "20s", "60s"}).Draw(t, "window"), MinConfidence: rapid.SampledFrom([]float64{0.3, 0.8}).Draw(t, "confidence"),
			}}
		}
		r := CallRule{
			ID: fmt.Sprint("r", i), Name: fmt.Sprint("rule ", i), Enabled: true,
			Cooldown: rapid.SampledFrom([]Span{"", "3s", "10s"}).Draw(t, "cooldown"), Conditions: []Condition{look("Porn")},
			Sequences: []Sequence{
				{Violation: 1, Actions: []string{DoFlag}}, {Violation: 2, Actions: []string{DoMuteVideo, DoBlur}}, {Violation: 4, Actions: []string{DoFlag}},
			},
		}
		if rapid.Bool().Draw(t, "two") {
			r.Conditions = append(r.Conditions, look("Neutral"))
			r.Logic = rapid.SampledFrom([]string{LogicAnd, LogicOr}).Draw(t, "logic")
		} else if counting && i > 0 {
			r.Conditions[0] = Condition{Type: ConditionCount, Count: &CountParams{Threshold: rapid.IntRange(1, 3).Draw(t, "count"), Window: "30s"}}
		}
		out = append(out, checked(r))
	}
	return out
}

// drawShort draws verdicts on two participants, all within the time that a
// frame may be late.
func drawShort(t *rapid.T) []event.Verdict {
	var out []event.Verdict
	for n := range rapid.IntRange(0, 28).Draw(t, "frames") {
		v := seen(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "user"), n, rapid.SampledFrom([]float64{0, 0.4, 0.9, 1}).Draw(t, "score"))
		if rapid.IntRange(0, 7).Draw(t, "blind") == 0 {
			v.State, v.Scores = event.VerdictUnknown, nil
		}
		out = append(out, v)
	}
	return out
}

func TestPropertyAViolationStandsOnFramesOfItsOwn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules, series := drawRules(t, false), drawShort(t)
		used := map[string]int{}
		for _, d := range feed(under(rules...), series...) {
			if len(d.Evidence.Frames) < 2 {
				t.Fatalf("%v stands on %d frames", escalated([]Decision{d}), len(d.Evidence.Frames))
			}
			for _, f := range d.Evidence.Frames {
				key := d.Violation.Rule.ID + " " + f.FrameID
				if n, ok := used[key]; f.Hit && ok && n != d.Violation.Number {
					t.Fatalf("frame %s counts for violations %d and %d", key, n, d.Violation.Number)
				}
				used[key] = d.Violation.Number
			}
		}
		e := under(rules...)
		for _, v := range series {
			v.Frame.UserID += v.Frame.FrameID // one frame each
			if ds := e.Observe(v); ds != nil {
				t.Fatalf("one frame gave %v", escalated(ds))
			}
		}
	})
}

func TestPropertyRepeatedFramesDoNotEscalate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules, series := drawRules(t, true), drawShort(t)
		var doubled []event.Verdict
		for i, v := range series {
			doubled = append(doubled, v)
			for rapid.IntRange(0, 2).Draw(t, "again") == 0 {
				doubled = append(doubled, series[rapid.IntRange(0, i).Draw(t, "which")])
			}
		}
		if a, b := feed(under(rules...), series...), feed(under(rules...), doubled...); !reflect.DeepEqual(a, b) {
			t.Fatalf("clean %v, doubled %v", escalated(a), escalated(b))
		}
	})
}

func TestPropertyOrderOfArrivalDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules, series := drawRules(t, false), drawShort(t)
		mixed := rapid.Permutation(series).Draw(t, "order")
		which := func(ds []Decision) []string {
			var out []string
			for _, d := range ds {
				out = append(out, fmt.Sprintf("%s %s %d %s", d.UserID, d.Violation.Rule.ID, d.Violation.Number, d.Action))
			}
			slices.Sort(out)
			return out
		}
		if a, b := which(feed(under(rules...), series...)), which(feed(under(rules...), mixed...)); !reflect.DeepEqual(a, b) {
			t.Fatalf("in order %v, mixed %v", a, b)
		}
	})
}

// TestPropertyRestartsDoNotMatter takes the engine away between frames and
// gives a new one what the database keeps.
func TestPropertyRestartsDoNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules, series := drawRules(t, true), drawShort(t)
		var got []Decision
		e := under(rules...)
		for i, v := range series {
			if rapid.IntRange(0, 3).Draw(t, "restart") == 0 {
				e = under(rules...)
				for _, user := range []string{"a", "b"} {
					restore(e, user, series[:i], got)
				}
			}
			got = append(got, e.Observe(v)...)
		}
		if want := feed(under(rules...), series...); !reflect.DeepEqual(escalated(want), escalated(got)) {
			t.Fatalf("without %v, with restarts %v", escalated(want), escalated(got))
		}
	})
}

func restore(e *Engine, user string, past []event.Verdict, told []Decision) {
	var verdicts []event.Verdict
	for _, v := range past {
		if v.Frame.UserID == user {
			verdicts = append(verdicts, v)
		}
	}
	var counted []Counted
	for _, d := range told {
		if d.UserID == user {
			counted = append(counted, Counted{d.Violation.Rule.ID, d.Violation.Number, d.Violation.CapturedAt})
		}
	}
	counted = slices.Compact(counted)
	e.Restore(Person{"s1", user}, time.Time{}, verdicts, nil, counted...)
}

func TestPropertySwappingTheSameRulesChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules, series := drawRules(t, true), drawShort(t)
		var got []Decision
		e := under(rules...)
		for _, v := range series {
			if rapid.Bool().Draw(t, "swap") {
				e.Swap(Default().With(rules, nil))
			}
			got = append(got, e.Observe(v)...)
		}
		if want := feed(under(rules...), series...); !reflect.DeepEqual(want, got) {
			t.Fatalf("without %v, with swaps %v", escalated(want), escalated(got))
		}
	})
}
