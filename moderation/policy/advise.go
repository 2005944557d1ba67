package policy

import (
	"strings"

	"stillwatch/internal/event"
)

// Advice is what a single picture would lead to if more were like it: for a
// person to decide on, for nothing is ever done on one picture.
type Advice struct {
	// Action is flag or ban.
	Action event.ActionKind
	Rule   string
	Reason string
	Labels []string
	Score  float64
}

// Advise holds one picture's verdict against the labels of the rules that a
// config key names: those of its call type, of its config, or else the
// default's. It returns the strongest.
func (c Config) Advise(key string, v event.Verdict) (a Advice, met bool) {
	if v.State != event.VerdictKnown {
		return a, false
	}
	callType, isCall := strings.CutPrefix(key, RuleTypeCall+":")
	rules := c.Configs[key]
	if isCall {
		rules = c.For(callType).Rules
	} else if rules == nil {
		rules = c.For("").Rules
	}
	for _, r := range rules {
		if s := score(v, r.Labels); s >= r.Confidence && (!met || a.Action != event.ActionBan) {
			a, met = Advice{r.Action, r.Name, r.says(), strongest(v, r.Labels), s}, true
		}
	}
	if met {
		return a, true
	}
	for _, r := range c.callRules(callType) {
		if r.hit(v) {
			return Advice{event.ActionFlag, r.Name, r.Name, strongest(v, r.labels()), score(v, r.labels())}, true
		}
	}
	return a, false
}

// Closed tells whether what could not be judged is to be flagged where the
// config key holds.
func (c Config) Closed(key string) bool {
	callType, _ := strings.CutPrefix(key, RuleTypeCall+":")
	return c.For(callType).OnUnknown == FailClosed
}
