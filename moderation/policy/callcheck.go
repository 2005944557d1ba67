package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a CallRule.
const (
	maxFrameWindow = time.Hour
	maxCountWindow = 24 * time.Hour
	maxCooldown    = 24 * time.Hour
)

// Defaults of what a CallRule or CallConfig leaves out.
const (
	DefaultThreshold   = 2
	DefaultFrameWindow = Span("60s")
	DefaultCountWindow = Span("24h")
	DefaultConfidence  = 0.85
)

// Checked fills in the defaults and returns the rule, or the fields that are
// wrong, each with what it wants: names as in the API's JSON.
func (r CallRule) Checked() (CallRule, map[string]string) {
	bad := refusals{}
	r.RuleType = orDefault(r.RuleType, RuleTypeCall)
	r.Logic = orDefault(r.Logic, LogicAnd)
	bad.unless(r.RuleType == RuleTypeCall, "rule_type", `must be "call"`)
	bad.unless(strings.TrimSpace(r.Name) != "" && utf8.ValidString(r.Name), "name", "must be a name")
	bad.unless(r.Logic == LogicAnd || r.Logic == LogicOr, "logic", "must be AND or OR")
	r.Cooldown = bad.span("cooldown_period", r.Cooldown, "0s", 0, maxCooldown)
	r.conditions(bad)
	r.sequences(bad)
	if r.ConfigKeys == nil {
		r.ConfigKeys = []string{}
	}
	for i, key := range r.ConfigKeys {
		bad.unless(key == RuleTypeCall || strings.HasPrefix(key, RuleTypeCall+":") && key != RuleTypeCall+":",
			fmt.Sprintf("config_keys[%d]", i), `must be "call" or "call:" and a call type; rules are for calls`)
	}
	if len(bad) > 0 {
		return r, bad
	}
	return r, nil
}

// refusals are the fields that are wrong.
type refusals map[string]string

func (b refusals) unless(ok bool, field, want string) {
	if !ok {
		b[field] = want
	}
}

// span checks a duration and returns it, or def for an empty one.
func (b refusals) span(field string, s, def Span, low, high time.Duration) Span {
	if s == "" {
		return def
	}
	d, err := time.ParseDuration(string(s))
	b.unless(err == nil && d >= low && d <= high, field, fmt.Sprintf(`must be a duration like "30s" or "5m", %s to %s`, low, high))
	return s
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func (r *CallRule) conditions(bad refusals) {
	bad.unless(len(r.Conditions) > 0, "conditions", "must be one or more")
	r.Conditions = slices.Clone(r.Conditions)
	looks := false
	for i := range r.Conditions {
		c, at := &r.Conditions[i], fmt.Sprintf("conditions[%d].", i)
		switch c.Type {
		case ConditionKeyframe:
			looks = true
			c.keyframe(at, bad)
		case ConditionCount:
			looks = true
			c.count(at, bad)
		case ConditionCallType:
			bad.unless(c.CallType != nil && c.CallType.CallType != "", at+"call_type_rule_params.call_type", "must name a call type")
			bad.unless(r.Logic != LogicOr, at+"type", `"call_type" cannot be joined by OR: it would hold for every frame`)
		default:
			looks = true // one complaint is enough
			bad[at+"type"] = fmt.Sprintf("%q is not supported; want %s, %s or %s", c.Type, ConditionKeyframe, ConditionCallType, ConditionCount)
		}
	}
	bad.unless(looks || len(r.Conditions) == 0, "conditions", "must have a keyframe or a call_violation_count: a call type alone is no violation")
}

func (c *Condition) keyframe(at string, bad refusals) {
	at += "keyframe_rule_params"
	if c.Keyframe == nil {
		bad[at] = "is missing"
		return
	}
	k := *c.Keyframe
	k.Threshold = orDefault(k.Threshold, DefaultThreshold)
	k.MinConfidence = orDefault(orDefault(k.MinConfidence, c.Confidence), DefaultConfidence)
	k.Window = bad.span(at+".time_window", k.Window, DefaultFrameWindow, time.Second, maxFrameWindow)
	bad.unless(len(k.Labels) > 0 && !slices.Contains(k.Labels, "") && distinct(k.Labels), at+".harm_labels", "must be one label or more, none twice")
	bad.unless(k.Threshold >= 2 && k.Threshold <= 100, at+".threshold", "must be 2 to 100: no action on a single frame")
	bad.unless(k.MinConfidence > 0 && k.MinConfidence <= 1, at+".min_confidence", "must be above 0, at most 1")
	c.Keyframe = &k
}

func (c *Condition) count(at string, bad refusals) {
	at += "call_violation_count_params"
	if c.Count == nil {
		bad[at] = "is missing"
		return
	}
	n := *c.Count
	n.Window = bad.span(at+".time_window", n.Window, DefaultCountWindow, time.Second, maxCountWindow)
	bad.unless(n.Threshold >= 1 && n.Threshold <= 100, at+".threshold", "must be 1 to 100")
	c.Count = &n
}

func (r *CallRule) sequences(bad refusals) {
	bad.unless(len(r.Sequences) > 0, "action_sequences", "must be one or more")
	r.Sequences = slices.Clone(r.Sequences)
	seen := map[int]bool{}
	for i := range r.Sequences {
		s, at := &r.Sequences[i], fmt.Sprintf("action_sequences[%d].", i)
		s.Violation = orDefault(s.Violation, i+1)
		bad.unless(s.Violation >= 1 && s.Violation <= 100 && !seen[s.Violation], at+"violation_number", "must be 1 to 100, none twice")
		seen[s.Violation] = true
		bad.unless(len(s.Actions) > 0 && distinct(s.Actions), at+"actions", "must be one or more, none twice")
		for j, name := range s.Actions {
			bad.unless(known(name), fmt.Sprintf("%sactions[%d]", at, j), fmt.Sprintf("%q is not supported; want one of %s", name, strings.Join(actionNames(), ", ")))
		}
		s.Options.check(at+"call_options.", *s, bad)
	}
	slices.SortStableFunc(r.Sequences, func(a, b Sequence) int { return a.Violation - b.Violation })
}

func (o SequenceOptions) check(at string, s Sequence, bad refusals) {
	bad.unless(len(o.WarningText) <= 1000 && utf8.ValidString(o.WarningText), at+"warning_text", "must be at most 1000 bytes of text")
	bad.unless(len(o.KickReason) <= 1000 && utf8.ValidString(o.KickReason), at+"kick_reason", "must be at most 1000 bytes of text")
	bad.unless(o.Duration >= 0 && o.Duration <= 86_400, at+"duration", "must be 0 to 86400 seconds")
	bad.unless(o.BanTimeout >= 0 && o.BanTimeout <= 52_560_000, at+"ban_timeout", "must be 0 to 52560000 minutes")
	bad.unless(!slices.Contains(s.Actions, DoWarn) || o.WarningText != "", at+"warning_text", "is missing: it is what call_warning says")
}

func actionNames() []string {
	out := make([]string, len(doings))
	for i, d := range doings {
		out[i] = d.name
	}
	return out
}

func known(name string) bool { return slices.Contains(actionNames(), name) }

// Checked fills in the defaults and returns the config, or the fields that are
// wrong, each with what it wants.
func (c CallConfig) Checked() (CallConfig, map[string]string) {
	if c.Image == nil {
		return c, nil
	}
	bad, img, seen := refusals{}, *c.Image, map[ImageRule]bool{}
	img.Rules = append([]ImageRule{}, img.Rules...)
	for i := range img.Rules {
		r, at := &img.Rules[i], fmt.Sprintf("image_config.rules[%d].", i)
		r.MinConfidence = orDefault(r.MinConfidence, DefaultConfidence)
		bad.unless(r.Label != "", at+"label", "must be a label")
		bad.unless(r.Action == "flag" || r.Action == "ban", at+"action", fmt.Sprintf("%q is not supported; want flag or ban", r.Action))
		bad.unless(r.MinConfidence > 0 && r.MinConfidence <= 1, at+"min_confidence", "must be above 0, at most 1")
		key := ImageRule{Label: r.Label, Action: r.Action}
		bad.unless(!seen[key], at+"label", "has that action already")
		seen[key] = true
	}
	c.Image = &img
	if len(bad) > 0 {
		return c, bad
	}
	return c, nil
}
