package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"stillwatch/internal/event"
)

// Validate returns every *FieldError of the policy, joined.
func (c Config) Validate() error {
	var errs []error
	want := func(ok bool, field, want string) {
		if !ok {
			errs = append(errs, &FieldError{field, want})
		}
	}
	want(c.Brake.MaxBansPerMinute >= 1 && c.Brake.MaxBansPerMinute <= 100_000,
		"brake.max_bans_per_minute", "1 to 100000")
	c.Default.check("default", want)
	for _, name := range slices.Sorted(maps.Keys(c.CallTypes)) {
		want(name != "", "call_types", "no empty name")
		c.CallTypes[name].check("call_types."+name, want)
	}
	return errors.Join(errs...)
}

func (s Set) check(at string, want func(ok bool, field, want string)) {
	want(s.OnUnknown == FailOpen || s.OnUnknown == FailClosed, at+".on_unknown", "fail_open or fail_closed")
	want(window(s.UnknownK, s.UnknownN), at+".unknown_k", "2 <= unknown_k <= unknown_n <= 100")
	seen := map[string]bool{RuleUnknown: true}
	for i, r := range s.Rules {
		field := fmt.Sprintf("%s.rules[%d].", at, i)
		want(r.Name != "" && len(r.Name) <= 64 && !seen[r.Name], field+"name",
			"a name of its own, 1 to 64 bytes, not \""+RuleUnknown+"\"")
		seen[r.Name] = true
		r.check(field, want)
	}
}

func (r Rule) check(field string, want func(ok bool, field, want string)) {
	want(len(r.Reason) <= 200 && utf8.ValidString(r.Reason), field+"reason", "at most 200 bytes of text")
	want(len(r.Labels) > 0 && !slices.Contains(r.Labels, "") && distinct(r.Labels),
		field+"labels", "one label or more, none twice")
	want(r.Confidence > 0 && r.Confidence <= 1, field+"confidence", "above 0, at most 1")
	want(window(r.K, r.N), field+"k", "2 <= k <= n <= 100: no action on a single frame")
	want(r.Action == event.ActionFlag || r.Action == event.ActionBan, field+"action", "flag or ban")
	want(r.MaxAgeSeconds >= 1 && r.MaxAgeSeconds <= 86_400, field+"max_age_seconds", "1 to 86400")
	want(r.BanTimeoutMinutes >= 0 && r.BanTimeoutMinutes <= 5_256_000, field+"ban_timeout_minutes", "0 to 5256000")
	want(r.BanTimeoutMinutes == 0 || r.Action == event.ActionBan, field+"ban_timeout_minutes", "0 unless action is ban")
}

func window(k, n int) bool { return k >= 2 && k <= n && n <= maxWindow }

func distinct(s []string) bool {
	sorted := slices.Sorted(slices.Values(s))
	return len(slices.Compact(sorted)) == len(s)
}
