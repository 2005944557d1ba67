package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/event"
)

// nudity is a rule that flags and warns at the first violation and kicks at
// the third: two frames of Porn at 0.8 within 20 s.
func nudity(change ...func(*CallRule)) CallRule {
	r := CallRule{
		ID: "r1", Name: "nudity", Enabled: true, Cooldown: "4s",
		Conditions: []Condition{{Type: ConditionKeyframe, Keyframe: &KeyframeParams{Labels: []string{"Porn"}, Threshold: 2, Window: "20s", MinConfidence: 0.8}}},
		Sequences: []Sequence{
			{Violation: 1, Actions: []string{DoWarn, DoFlag}, Options: SequenceOptions{WarningText: "Please stop."}},
			{Violation: 3, Actions: []string{DoKick}, Options: SequenceOptions{KickReason: "nudity"}},
		},
	}
	for _, c := range change {
		c(&r)
	}
	return checked(r)
}

func checked(r CallRule) CallRule {
	out, bad := r.Checked()
	if bad != nil {
		panic(fmt.Sprint(bad))
	}
	return out
}

func under(rules ...CallRule) *Engine { return New(Default().With(rules, nil)) }

// escalated is decisions of rules of the API in short: "bob 1 flag".
func escalated(ds []Decision) (out []string) {
	for _, d := range ds {
		if d.Violation != nil {
			out = append(out, fmt.Sprintf("%s %d %s", d.UserID, d.Violation.Number, d.Action))
		}
	}
	return out
}

func wantEscalated(t *testing.T, ds []Decision, want ...string) {
	t.Helper()
	if got := escalated(ds); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("decisions = %q, want %q", got, want)
	}
}

func TestARuleClimbsItsLadder(t *testing.T) {
	t.Parallel()
	e := under(nudity())
	wantEscalated(t, feed(e, seen("bob", 0, 0.9), seen("bob", 1, 0.1)))
	ds := feed(e, seen("bob", 2, 0.9)) // 4 s: the first; cool-down to 8 s
	wantEscalated(t, ds, "bob 1 flag", "bob 1 warn")
	if ds[1].Message != "Please stop." || ds[1].Evidence.PolicyVersion != e.Version() || len(ds[1].Verdicts) != 2 || fmt.Sprint(ds[0].Violation.Actions) != "[flag call_warning]" {
		t.Errorf("warning = %+v", ds[1])
	}
	wantEscalated(t, feed(e, seen("bob", 3, 1), seen("bob", 4, 1), seen("bob", 5, 1)))
	wantEscalated(t, feed(e, seen("bob", 6, 1)), "bob 2 flag", "bob 2 warn") // the rung below holds
	ds = feed(e, seen("bob", 9, 1), seen("bob", 10, 1))
	wantEscalated(t, ds, "bob 3 kick")
	if ds[0].Reason != "nudity" || ds[0].Violation.Number != 3 {
		t.Errorf("kick = %+v", ds[0])
	}
	wantEscalated(t, feed(e, seen("bob", 13, 1), seen("bob", 14, 1)), "bob 4 kick")
}

func TestFramesOutsideTheWindowDoNotAddUp(t *testing.T) {
	t.Parallel()
	e := under(nudity())
	for n := 0; n < 200; n += 10 { // 20 s apart
		wantEscalated(t, feed(e, seen("bob", n, 1)))
	}
	wantEscalated(t, feed(e, seen("bob", 199, 1)), "bob 1 flag", "bob 1 warn")
}

func TestRulesOfTheAPIStandInForTheFiles(t *testing.T) {
	t.Parallel()
	of := func(callType string, n int) event.Verdict {
		v := seen("bob", n, 1)
		v.Frame.CallType, v.Frame.SessionID = callType, callType
		return v
	}
	audio := nudity(func(r *CallRule) {
		r.Conditions = append(r.Conditions, Condition{Type: ConditionCallType, CallType: &CallTypeParams{CallType: "livestream"}})
	})
	e := under(audio)
	wantTold(t, feed(e, of("default", 0), of("default", 1)), "bob flag explicit-flag")
	wantTold(t, feed(e, of("livestream", 0), of("livestream", 1)), "bob flag nudity", "bob warn nudity")

	cfg := CallConfig{Key: "call:default", Image: &ImageConfig{Enabled: true, Rules: []ImageRule{{Label: "Porn", Action: "ban", MinConfidence: 0.5}}}}
	e = New(Default().With(nil, []CallConfig{cfg}))
	wantTold(t, feed(e, of("default", 0), of("default", 1)))
	wantTold(t, feed(e, of("default", 2)), "bob flag call:default/Porn/ban", "bob ban call:default/Porn/ban")
	wantTold(t, feed(e, of("other", 0), of("other", 1)), "bob flag explicit-flag")

	off := nudity(func(r *CallRule) { r.Enabled = false })
	cfg.Image.Enabled = false
	if v := Default().With([]CallRule{off}, []CallConfig{cfg}).Version(); v != Default().Version() {
		t.Errorf("what is not enabled makes another version: %s", v)
	}
}

func TestConfigKeysScopeARule(t *testing.T) {
	t.Parallel()
	r := nudity(func(r *CallRule) { r.ConfigKeys = []string{"call"} })
	cfg := CallConfig{Key: "call:default", Image: &ImageConfig{Enabled: true, Rules: []ImageRule{{Label: "Sexy", Action: "flag", MinConfidence: 0.5}}}}
	p := Default().With([]CallRule{r}, []CallConfig{cfg})
	if len(p.callRules("default")) != 0 || len(p.callRules("other")) != 1 || len(Default().With([]CallRule{r}, nil).callRules("default")) != 1 {
		t.Error(`a rule of "call" holds where another config governs, or does not where it governs`)
	}
}

func TestConditionsAreJoined(t *testing.T) {
	t.Parallel()
	two := func(logic string) CallRule {
		return nudity(func(r *CallRule) {
			r.Logic = logic
			r.Conditions = append(r.Conditions, Condition{Type: ConditionKeyframe, Keyframe: &KeyframeParams{Labels: []string{"Neutral"}, Threshold: 2, Window: "20s", MinConfidence: 0.8}})
		})
	}
	wantEscalated(t, feed(under(two(LogicAnd)), seen("bob", 0, 1), seen("bob", 1, 1), seen("bob", 2, 0)))
	wantEscalated(t, feed(under(two(LogicAnd)), seen("bob", 0, 1), seen("bob", 1, 1), seen("bob", 2, 0), seen("bob", 3, 0)), "bob 1 flag", "bob 1 warn")
	wantEscalated(t, feed(under(two(LogicOr)), seen("bob", 0, 0), seen("bob", 1, 0)), "bob 1 flag", "bob 1 warn")
}

func TestViolationsOfOtherRulesAreCounted(t *testing.T) {
	t.Parallel()
	end := checked(CallRule{
		ID: "r2", Name: "again and again", Enabled: true,
		Conditions: []Condition{{Type: ConditionCount, Count: &CountParams{Threshold: 2, Window: "60s"}}},
		Sequences:  []Sequence{{Actions: []string{DoEndCall}}},
	})
	e := under(end, nudity())
	wantEscalated(t, feed(e, seen("bob", 0, 1), seen("bob", 1, 1)), "bob 1 flag", "bob 1 warn")
	ds := feed(e, seen("bob", 4, 1), seen("bob", 5, 1))
	wantEscalated(t, ds, "bob 2 flag", "bob 2 warn", "bob 1 end_call")
	if len(ds[2].Evidence.Frames) != 2 {
		t.Errorf("evidence = %+v", ds[2].Evidence)
	}
	wantEscalated(t, feed(e, seen("bob", 8, 0)))
}

func TestOptionsOfARung(t *testing.T) {
	t.Parallel()
	r := nudity(func(r *CallRule) {
		r.Sequences = []Sequence{{Actions: []string{DoBan, DoMuteAudio, DoBlur, DoMuteVideo}, Options: SequenceOptions{Duration: 30, BanTimeout: 10}}}
	})
	ds := feed(under(r), seen("bob", 0, 1), seen("bob", 1, 1))
	wantEscalated(t, ds, "bob 1 blur", "bob 1 mute", "bob 1 flag", "bob 1 ban")
	if len(ds[1].Tracks) != 4 || !ds[1].ExpiresAt.Equal(ds[1].At.Add(30*time.Second)) || ds[0].Lasting != 30*time.Second {
		t.Errorf("blur %+v, mute %+v", ds[0], ds[1])
	}
	if !ds[3].ExpiresAt.Equal(ds[3].At.Add(10*time.Minute)) || !ds[2].ExpiresAt.IsZero() {
		t.Errorf("ban %+v", ds[3])
	}
}

func TestTheBrakeHoldsForRulesOfTheAPI(t *testing.T) {
	t.Parallel()
	cfg := Default()
	cfg.Brake.MaxBansPerMinute = 1
	e := New(cfg.With([]CallRule{nudity(func(r *CallRule) { r.Sequences = []Sequence{{Actions: []string{DoKick}}} })}, nil))
	wantEscalated(t, feed(e, seen("a", 0, 1), seen("a", 1, 1)), "a 1 kick")
	ds := feed(e, seen("b", 0, 1), seen("b", 1, 1))
	wantEscalated(t, ds, "b 1 flag")
	if !ds[0].Evidence.Braked || ds[0].Evidence.Wanted != event.ActionKick || fmt.Sprint(ds[0].Violation.Actions) != "[flag]" {
		t.Errorf("evidence = %+v", ds[0].Evidence)
	}
}

func TestSwapKeepsWindowsAndCounts(t *testing.T) {
	t.Parallel()
	e := under(nudity())
	wantEscalated(t, feed(e, seen("bob", 0, 1), seen("bob", 1, 1)), "bob 1 flag", "bob 1 warn")
	wantEscalated(t, feed(e, seen("bob", 4, 1)))
	before := e.Version()
	e.Swap(Default().With([]CallRule{nudity(), nudity(func(r *CallRule) { r.ID, r.Name = "r9", "other" })}, nil))
	if e.Version() == before {
		t.Error("another rule set, the same version")
	}
	// r1 has one of two since its violation; r9 has three that it can read.
	wantEscalated(t, feed(e, seen("bob", 5, 1)), "bob 2 flag", "bob 2 warn", "bob 1 flag", "bob 1 warn")
	e.Swap(Default().With(nil, nil))
	wantEscalated(t, feed(e, seen("bob", 8, 1), seen("bob", 9, 1)))
	e.Swap(Default().With([]CallRule{nudity(func(r *CallRule) { r.Conditions[0].Keyframe.Threshold = 3 })}, nil))
	wantEscalated(t, feed(e, seen("bob", 30, 1), seen("bob", 31, 1)))
	wantEscalated(t, feed(e, seen("bob", 32, 1)), "bob 3 kick")
}

func TestAnUnbanBeginsTheLadderAnew(t *testing.T) {
	t.Parallel()
	e := under(nudity())
	wantEscalated(t, feed(e, seen("bob", 0, 1), seen("bob", 1, 1)), "bob 1 flag", "bob 1 warn")
	if !e.Fired(Person{"s1", "bob"}) {
		t.Error("nobody would look for an unban")
	}
	e.Reset("bob", epoch.Add(9*time.Second))
	wantEscalated(t, feed(e, seen("bob", 4, 1), seen("bob", 5, 1)))
	wantEscalated(t, feed(e, seen("bob", 6, 1)), "bob 1 flag", "bob 1 warn")
}

func TestOutsideScoresDoNotAddUp(t *testing.T) {
	t.Parallel()
	r := nudity(func(r *CallRule) { r.Conditions[0].Keyframe.Labels = []string{"nudity", "violence"} })
	push := func(n int, score float64) event.Verdict {
		v := seen("bob", n, 0)
		v.Source, v.Scores = event.SourceOutside, []event.Score{{Label: "nudity", Score: score}, {Label: "violence", Score: 0.5}}
		return v
	}
	e := under(r)
	wantEscalated(t, feed(e, push(0, 0.5), push(1, 0.5), push(2, 0.9)))
	wantEscalated(t, feed(e, push(3, 0.9)), "bob 1 flag", "bob 1 warn")
}

func TestRulesAreChecked(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*CallRule){
		"name":            func(r *CallRule) { r.Name = " " },
		"logic":           func(r *CallRule) { r.Logic = "XOR" },
		"cooldown_period": func(r *CallRule) { r.Cooldown = "5 minutes" },
		"conditions":      func(r *CallRule) { r.Conditions = nil },
		"conditions[0].keyframe_rule_params.threshold":      func(r *CallRule) { r.Conditions[0].Keyframe.Threshold = 1 },
		"conditions[0].keyframe_rule_params.time_window":    func(r *CallRule) { r.Conditions[0].Keyframe.Window = "2h" },
		"conditions[0].keyframe_rule_params.min_confidence": func(r *CallRule) { r.Conditions[0].Keyframe.MinConfidence = 1.1 },
		"conditions[0].keyframe_rule_params.harm_labels":    func(r *CallRule) { r.Conditions[0].Keyframe.Labels = []string{"a", "a"} },
		"conditions[0].keyframe_rule_params":                func(r *CallRule) { r.Conditions[0].Keyframe = nil },
		"conditions[0].type: not supported":                 func(r *CallRule) { r.Conditions[0].Type = "keyframe_ocr" },
		"conditions[1].type: OR": func(r *CallRule) {
			r.Logic, r.Conditions = LogicOr, append(r.Conditions, Condition{Type: ConditionCallType, CallType: &CallTypeParams{"x"}})
		},
		"conditions: alone": func(r *CallRule) {
			r.Conditions = []Condition{{Type: ConditionCallType, CallType: &CallTypeParams{"x"}}}
		},
		"action_sequences": func(r *CallRule) { r.Sequences = nil },
		"action_sequences[0].actions[0]: not supported":       func(r *CallRule) { r.Sequences[0].Actions[0] = "explode" },
		"action_sequences[0].call_options.warning_text":       func(r *CallRule) { r.Sequences[0].Options.WarningText = "" },
		"action_sequences[1].violation_number":                func(r *CallRule) { r.Sequences[1].Violation = 1 },
		"config_keys[0]":                                      func(r *CallRule) { r.ConfigKeys = []string{"image"} },
		"conditions[0].call_violation_count_params.threshold": func(r *CallRule) { r.Conditions[0] = Condition{Type: ConditionCount, Count: &CountParams{}} },
	} {
		r := nudity()
		r.Conditions[0].Keyframe = new(*r.Conditions[0].Keyframe)
		change(&r)
		field, want, _ := strings.Cut(field, ": ")
		if _, bad := r.Checked(); len(bad) != 1 || bad[field] == "" || !strings.Contains(bad[field], want) {
			t.Errorf("%s: %v", field, bad)
		}
	}
	if _, bad := (CallConfig{Key: "call", Image: &ImageConfig{Rules: []ImageRule{{Label: "Porn", Action: "bounce"}}}}).Checked(); bad["image_config.rules[0].action"] == "" {
		t.Errorf("config: %v", bad)
	}
}
