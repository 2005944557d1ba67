package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"stillwatch/internal/event"
)

// RuleTypeCall is the one type of CallRule.
const RuleTypeCall = "call"

// CallRule is a rule of the API. When its conditions are met by a participant
// of a call, that is a violation; the number of the violation says what is
// done. Its JSON is the API's.
type CallRule struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	RuleType    string `json:"rule_type"`
	Enabled     bool   `json:"enabled"`
	// Cooldown is for how long after a violation frames do not count.
	Cooldown Span `json:"cooldown_period"`
	// Logic joins the conditions: AND or OR.
	Logic      string      `json:"logic"`
	Conditions []Condition `json:"conditions"`
	// Sequences are the rungs of the ladder, by rising violation number.
	Sequences []Sequence `json:"action_sequences"`
	// ConfigKeys limit the rule to the calls of these configs; empty means all.
	ConfigKeys []string `json:"config_keys"`
}

// How conditions are joined.
const (
	LogicAnd = "AND"
	LogicOr  = "OR"
)

// The types of a condition.
const (
	ConditionKeyframe = "keyframe"
	ConditionCallType = "call_type"
	ConditionCount    = "call_violation_count"
)

// Condition is one condition of a CallRule; Type says which of the others is
// set.
type Condition struct {
	Type string `json:"type"`
	// Confidence is that of Keyframe, when it has none of its own.
	Confidence float64         `json:"confidence,omitempty"`
	Keyframe   *KeyframeParams `json:"keyframe_rule_params,omitempty"`
	CallType   *CallTypeParams `json:"call_type_rule_params,omitempty"`
	Count      *CountParams    `json:"call_violation_count_params,omitempty"`
}

// KeyframeParams hold when Threshold frames within Window have scores of
// Labels that add up to MinConfidence.
type KeyframeParams struct {
	Labels        []string `json:"harm_labels"`
	Threshold     int      `json:"threshold"` // 2 to 100
	Window        Span     `json:"time_window"`
	MinConfidence float64  `json:"min_confidence"` // above 0, at most 1
}

// CallTypeParams hold in calls of the type.
type CallTypeParams struct {
	CallType string `json:"call_type"`
}

// CountParams hold when other rules were violated Threshold times by the
// participant in the call within Window.
type CountParams struct {
	Threshold int  `json:"threshold"` // 1 to 100
	Window    Span `json:"time_window"`
}

// Sequence is a rung: what is done at the violation of that number, and at
// those after it until the next rung.
type Sequence struct {
	Violation int             `json:"violation_number"`
	Actions   []string        `json:"actions"`
	Options   SequenceOptions `json:"call_options"`
}

// SequenceOptions are the options of a rung's actions.
type SequenceOptions struct {
	WarningText string `json:"warning_text,omitempty"`
	KickReason  string `json:"kick_reason,omitempty"`
	// Duration is in seconds, of blurs and mutes; 0 means without an end.
	Duration int `json:"duration,omitempty"`
	// BanTimeout is in minutes; 0 means for ever.
	BanTimeout int `json:"ban_timeout,omitempty"`
}

// The actions of a rung, in the words of the API, in the order in which they
// are done.
const (
	DoFlag      = "flag"
	DoWarn      = "call_warning"
	DoBlur      = "call_blur"
	DoMuteVideo = "mute_video"
	DoMuteAudio = "mute_audio"
	DoKick      = "kick_user"
	DoBan       = "ban_user"
	DoEndCall   = "end_call"
)

// doings are the actions in order, with the kind that each becomes.
var doings = []struct {
	name string
	kind event.ActionKind
}{
	{DoFlag, event.ActionFlag},
	{DoWarn, event.ActionWarn},
	{DoBlur, event.ActionBlur},
	{DoMuteVideo, event.ActionMute},
	{DoMuteAudio, event.ActionMute},
	{DoKick, event.ActionKick},
	{DoBan, event.ActionBan},
	{DoEndCall, event.ActionEndCall},
}

// Span is a duration as text, "90s" or "5m"; empty is 0.
type Span string

func (s Span) duration() time.Duration {
	d, err := time.ParseDuration(string(s))
	if err != nil {
		return 0 // Check has refused all but the empty one
	}
	return d
}

// ConfigKey is the key of the config of a call type; that of all call types
// without one of their own is "call".
func ConfigKey(callType string) string { return RuleTypeCall + ":" + callType }

// holds tells whether the rule is for calls of the type. configured says that
// the type has a config of its own.
func (r CallRule) holds(callType string, configured bool) bool {
	for _, c := range r.Conditions {
		if c.Type == ConditionCallType && c.CallType.CallType != callType {
			return false
		}
	}
	return len(r.ConfigKeys) == 0 || slices.Contains(r.ConfigKeys, ConfigKey(callType)) ||
		!configured && slices.Contains(r.ConfigKeys, RuleTypeCall)
}

// rung is what is done at the violation of that number: the rung of the
// number, else the last one below it.
func (r CallRule) rung(number int) (s Sequence, ok bool) {
	for _, s := range slices.Backward(r.Sequences) {
		if s.Violation <= number {
			return s, true
		}
	}
	return Sequence{}, false
}

// labels are those of all keyframe conditions.
func (r CallRule) labels() []string {
	out := []string{}
	for _, c := range r.Conditions {
		if c.Keyframe != nil {
			out = append(out, c.Keyframe.Labels...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Labels are the labels that the rule asks for, each once.
func (r CallRule) Labels() []string { return r.labels() }

// counts tells whether the rule looks at violations of others.
func (r CallRule) counts() bool {
	return slices.ContainsFunc(r.Conditions, func(c Condition) bool { return c.Type == ConditionCount })
}

// CallConfig is a config of the API: what is done about labels in the calls
// that its key governs. Its JSON is the API's.
type CallConfig struct {
	Key   string       `json:"key"`
	Image *ImageConfig `json:"image_config,omitempty"`
}

// ImageConfig is the part of a CallConfig that is about stills.
type ImageConfig struct {
	Enabled bool        `json:"enabled"`
	Rules   []ImageRule `json:"rules"`
}

// ImageRule flags or bans for a label.
type ImageRule struct {
	Label  string `json:"label"`
	Action string `json:"action"` // flag or ban
	// MinConfidence is above 0 and at most 1.
	MinConfidence float64 `json:"min_confidence"`
}

// A label of a config flags at two and bans at three of the last five frames.
const (
	configN     = 5
	configFlagK = 2
	configBanK  = 3
)

// rules are the config's rules as those of a policy file.
func (c CallConfig) rules() []Rule {
	if c.Image == nil || !c.Image.Enabled {
		return nil
	}
	var out []Rule
	for _, r := range c.Image.Rules {
		rule := Rule{
			Name: c.Key + "/" + r.Label + "/" + r.Action, Reason: r.Label, Labels: []string{r.Label},
			Confidence: r.MinConfidence, K: configFlagK, N: configN, Action: event.ActionKind(r.Action), MaxAgeSeconds: defaultMaxAgeSeconds,
		}
		if rule.Action == event.ActionBan {
			rule.K = configBanK
		}
		out = append(out, rule)
	}
	return out
}

// With lays the rules and configs of the API over the policy: in the calls
// that a rule or a config is for, they hold instead of the file's rules. What
// is not enabled is as if it were not there. The brake and what is done about
// the unknown stay the file's.
func (c Config) With(rules []CallRule, configs []CallConfig) Config {
	c.Calls, c.Configs = nil, nil
	for _, r := range rules {
		if r.Enabled {
			c.Calls = append(c.Calls, r)
		}
	}
	slices.SortFunc(c.Calls, func(a, b CallRule) int { return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID)) })
	for _, cfg := range configs {
		if list := cfg.rules(); len(list) > 0 {
			if c.Configs == nil {
				c.Configs = map[string][]Rule{}
			}
			c.Configs[cfg.Key] = list
		}
	}
	return c
}

// configOf are the rules of the config that governs the call type, if any.
func (c Config) configOf(callType string) []Rule {
	if rules := c.Configs[ConfigKey(callType)]; rules != nil {
		return rules
	}
	return c.Configs[RuleTypeCall]
}

// callRules are the rules of the API for a call type: those that count the
// violations of others last.
func (c Config) callRules(callType string) []CallRule {
	configured := c.Configs[ConfigKey(callType)] != nil
	var first, last []CallRule
	for _, r := range c.Calls {
		switch {
		case !r.holds(callType, configured):
		case r.counts():
			last = append(last, r)
		default:
			first = append(first, r)
		}
	}
	return append(first, last...)
}
