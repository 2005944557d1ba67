package policy

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the default policy
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"stillwatch/internal/event"
)

// Config is a policy: rules per call type and the flood brake. default.yaml
// documents every key.
type Config struct {
	Default   Set            `yaml:"default" json:"default"`
	CallTypes map[string]Set `yaml:"call_types" json:"call_types"`
	Brake     Brake          `yaml:"brake" json:"brake"`
	// Calls and Configs are the rules and configs of the API (With), configs
	// by key. They are in no file.
	Calls   []CallRule        `yaml:"-" json:"calls,omitempty"`
	Configs map[string][]Rule `yaml:"-" json:"configs,omitempty"`
}

// Set is what holds for one call type. In an override, nil rules and zero
// values mean the default's.
type Set struct {
	Rules     []Rule `yaml:"rules" json:"rules"`
	OnUnknown Mode   `yaml:"on_unknown" json:"on_unknown"`
	// UnknownK of the last UnknownN frames must be unknown for FailClosed to
	// flag; 2 <= k <= n <= 100.
	UnknownK int `yaml:"unknown_k" json:"unknown_k"`
	UnknownN int `yaml:"unknown_n" json:"unknown_n"`
}

// Rule fires when in K of the last N known frames the scores of Labels add
// up to at least Confidence.
type Rule struct {
	// Name is unique in its set and stands in decisions.
	Name string `yaml:"name" json:"name"`
	// Reason is what people are told, at most 200 bytes; empty means Name.
	Reason string `yaml:"reason" json:"reason,omitempty"`
	// Labels are the model's labels whose scores are added, at least one.
	Labels []string `yaml:"labels" json:"labels"`
	// Confidence is above 0 and at most 1.
	Confidence float64 `yaml:"confidence" json:"confidence"`
	// K and N: 2 <= k <= n <= 100.
	K int `yaml:"k" json:"k"`
	N int `yaml:"n" json:"n"`
	// Action is flag or ban.
	Action event.ActionKind `yaml:"action" json:"action"`
	// MaxAgeSeconds is how much older than the newest frame a frame of the
	// window may be, 1 to 86400; 0 means 600.
	MaxAgeSeconds int `yaml:"max_age_seconds" json:"max_age_seconds"`
	// BanTimeoutMinutes ends a ban; 0 means never.
	BanTimeoutMinutes int `yaml:"ban_timeout_minutes" json:"ban_timeout_minutes"`
}

func (r Rule) says() string {
	if r.Reason != "" {
		return r.Reason
	}
	return r.Name
}

func (r Rule) maxAge() time.Duration { return time.Duration(r.MaxAgeSeconds) * time.Second }

// Mode says what an unknown verdict leads to.
type Mode string

// The modes.
const (
	FailOpen   Mode = "fail_open"
	FailClosed Mode = "fail_closed"
)

// RuleUnknown is the name of the rule that FailClosed applies.
const RuleUnknown = "unknown"

// Brake limits automatic bans over all calls; 1 to 100000 a minute.
type Brake struct {
	MaxBansPerMinute int `yaml:"max_bans_per_minute" json:"max_bans_per_minute"`
}

const (
	defaultMaxAgeSeconds = 600
	defaultMaxBans       = 10
	maxWindow            = 100
)

//go:embed default.yaml
var defaultYAML []byte

// DefaultYAML is the commented default policy.
func DefaultYAML() []byte { return bytes.Clone(defaultYAML) }

// Default is the policy of default.yaml.
func Default() Config {
	cfg, err := Parse(defaultYAML)
	if err != nil {
		panic("policy: default.yaml: " + err.Error())
	}
	return cfg
}

// FieldError tells which field of a policy is wrong, and how.
type FieldError struct{ Field, Want string }

// Error implements error.
func (e *FieldError) Error() string { return fmt.Sprintf("policy: %s: want %s", e.Field, e.Want) }

// Parse reads a policy from YAML or JSON and checks it. Unknown keys,
// duplicate keys and a second document are errors.
func Parse(text []byte) (Config, error) {
	cfg := Config{Brake: Brake{MaxBansPerMinute: defaultMaxBans}}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&cfg); err != nil {
		return Config{}, fmt.Errorf("read policy: %w", err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("read policy: more than one document")
	}
	cfg.fill()
	return cfg, cfg.Validate()
}

// fill puts the default's values where an override has none.
func (c *Config) fill() {
	fillRules(c.Default.Rules)
	if c.Default.OnUnknown == "" {
		c.Default.OnUnknown = FailOpen
	}
	if c.Default.UnknownK == 0 && c.Default.UnknownN == 0 {
		c.Default.UnknownK, c.Default.UnknownN = 3, 5
	}
	for name, set := range c.CallTypes {
		fillRules(set.Rules)
		if set.Rules == nil {
			set.Rules = slices.Clone(c.Default.Rules)
		}
		if set.OnUnknown == "" {
			set.OnUnknown = c.Default.OnUnknown
		}
		if set.UnknownK == 0 && set.UnknownN == 0 {
			set.UnknownK, set.UnknownN = c.Default.UnknownK, c.Default.UnknownN
		}
		c.CallTypes[name] = set
	}
}

func fillRules(rules []Rule) {
	for i := range rules {
		if rules[i].MaxAgeSeconds == 0 {
			rules[i].MaxAgeSeconds = defaultMaxAgeSeconds
		}
	}
}

// Version is the hash of what the policy says: the first 16 hex digits of
// the SHA-256 of its canonical JSON.
func (c Config) Version() string {
	text, err := json.Marshal(c)
	if err != nil {
		panic("policy: " + err.Error()) // no NaN passes Validate
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Blind returns the name of a rule of the call type that could never fire on
// a verdict with these scores, because none of its labels is among them, and
// "" if there is none: a policy for other models than those that look must
// not pass everything for clean. Rules and configs of the API may wait for the
// labels of other classifiers and are not asked.
func (c Config) Blind(callType string, scores []event.Score) string {
	if c.governed(callType) {
		return ""
	}
	for _, r := range c.For(callType).Rules {
		if !slices.ContainsFunc(scores, func(s event.Score) bool { return slices.Contains(r.Labels, s.Label) }) {
			return r.Name
		}
	}
	return ""
}

// For returns the set that holds for a call type, the rules of the API that
// escalate aside.
func (c Config) For(callType string) Set {
	set, ok := c.CallTypes[callType]
	if !ok {
		set = c.Default
	}
	if c.governed(callType) {
		set.Rules = c.configOf(callType)
	}
	return set
}

// governed tells whether a rule or a config of the API is for the call type.
func (c Config) governed(callType string) bool {
	return len(c.configOf(callType)) > 0 || len(c.callRules(callType)) > 0
}
