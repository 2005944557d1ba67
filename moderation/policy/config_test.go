package policy

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"stillwatch/internal/event"
)

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	rule := func(s string) string {
		return "default: {rules: [{name: a, labels: [Porn], confidence: 0.5, " + s + "}]}"
	}
	for name, c := range map[string]struct{ text, want string }{
		"one frame":        {rule("k: 1, n: 5, action: ban"), "single frame"},
		"no k":             {rule("n: 5, action: ban"), "single frame"},
		"k above n":        {rule("k: 3, n: 2, action: ban"), "k <= n"},
		"huge n":           {rule("k: 3, n: 101, action: ban"), "n <= 100"},
		"other action":     {rule("k: 2, n: 2, action: kick"), "flag or ban"},
		"timeout of flag":  {rule("k: 2, n: 2, action: flag, ban_timeout_minutes: 5"), "unless action is ban"},
		"unknown key":      {rule("k: 2, n: 2, action: flag, when: now"), "when"},
		"unknown root key": {"defaults: {}", "defaults"},
		"duplicate key":    {"brake: {}\nbrake: {}", "already"},
		"two documents":    {"brake: {}\n---\nbrake: {}", "more than one"},
		"empty":            {"", "EOF"},
		"mode":             {"default: {on_unknown: shrug}", "fail_open"},
		"unknown k":        {"default: {unknown_k: 1, unknown_n: 5}", "unknown_k"},
		"no bans":          {"brake: {max_bans_per_minute: 0}", "1 to 100000"},
		"confidence":       {"default: {rules: [{name: a, labels: [x], confidence: 1.1, k: 2, n: 2, action: flag}]}", "at most 1"},
		"NaN":              {"default: {rules: [{name: a, labels: [x], confidence: .nan, k: 2, n: 2, action: flag}]}", "at most 1"},
		"no labels":        {"default: {rules: [{name: a, confidence: 1, k: 2, n: 2, action: flag}]}", "labels"},
		"label twice":      {"default: {rules: [{name: a, labels: [x, x], confidence: 1, k: 2, n: 2, action: flag}]}", "none twice"},
		"reserved name":    {"default: {rules: [{name: unknown, labels: [x], confidence: 1, k: 2, n: 2, action: flag}]}", "a name of its own"},
		"in an override":   {"call_types: {x: {on_unknown: shrug}}", "call_types.x.on_unknown"},
	} {
		if _, err := Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error = %v, want %q in it", name, err, c.want)
		}
	}
}

func TestFieldErrorNamesTheField(t *testing.T) {
	t.Parallel()
	_, err := Parse([]byte("default: {on_unknown: shrug}"))
	var fe *FieldError
	if !errors.As(err, &fe) || fe.Field != "default.on_unknown" {
		t.Errorf("error = %v", err)
	}
}

func TestParseTakesJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(Default())
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(cfg, Default()) || cfg.Version() != Default().Version() {
		t.Errorf("got %+v", cfg)
	}
}

func TestVersionFollowsTheMeaning(t *testing.T) {
	t.Parallel()
	spaced, err := Parse(append([]byte("# a comment\n"), DefaultYAML()...))
	if err != nil {
		t.Fatal(err)
	}
	other := Default()
	other.Default.Rules[0].Confidence = 0.86
	if v := Default().Version(); spaced.Version() != v || other.Version() == v || len(v) != 16 {
		t.Errorf("versions %s, %s, %s", v, spaced.Version(), other.Version())
	}
}

func TestOverrideInherits(t *testing.T) {
	t.Parallel()
	cfg, err := Parse([]byte("default: {on_unknown: fail_closed, rules: [{name: a, labels: [x], confidence: 1, k: 2, n: 2, action: flag}]}\ncall_types: {x: {unknown_k: 2, unknown_n: 9}}"))
	if err != nil {
		t.Fatal(err)
	}
	x := cfg.For("x")
	if x.OnUnknown != FailClosed || x.UnknownN != 9 || len(x.Rules) != 1 || x.Rules[0].MaxAgeSeconds != 600 {
		t.Errorf("x = %+v", x)
	}
	if y := cfg.For("y"); y.UnknownN != 5 {
		t.Errorf("y = %+v", y)
	}
}

func TestBlindNamesTheRuleThatNoScoreCanReach(t *testing.T) {
	t.Parallel()
	cfg := Default()
	cfg.Default.Rules[1].Labels = []string{"nudity"}
	scores := []event.Score{{Label: "Porn", Score: 0}, {Label: "Neutral", Score: 1}}
	if got := cfg.Blind("default", scores); got != "explicit-ban" {
		t.Errorf("blind = %q", got)
	}
	if got := Default().Blind("default", scores); got != "" {
		t.Errorf("blind = %q", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(DefaultYAML())
	f.Add([]byte("call_types: {x: {rules: [{k: 2}]}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, err := Parse(text)
		if err != nil {
			return
		}
		for name, set := range cfg.CallTypes {
			for _, r := range set.Rules {
				if r.K < 2 {
					t.Fatalf("%s: k = %d", name, r.K)
				}
			}
		}
		New(cfg)
	})
}
