package filter_test

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// meets is the filter's meaning in plain Go, to hold the SQL against. It
// takes only filters that Where takes.
func meets(th thing, conditions map[string]any) bool {
	for name, want := range conditions {
		if !holds(th, name, want) {
			return false
		}
	}
	return true
}

func holds(th thing, name string, want any) bool {
	some := func() bool {
		return slices.ContainsFunc(want.([]any), func(item any) bool { return meets(th, item.(map[string]any)) })
	}
	switch name {
	case "$and":
		return !slices.ContainsFunc(want.([]any), func(item any) bool { return !meets(th, item.(map[string]any)) })
	case "$or":
		return some()
	case "$nor":
		return !some()
	}
	operators, ok := want.(map[string]any)
	if !ok {
		operators = map[string]any{"$eq": want}
	}
	for op, v := range operators {
		if !applies(th, name, op, v) {
			return false
		}
	}
	return true
}

func applies(th thing, name, op string, want any) bool {
	switch op {
	case "$ne":
		return !applies(th, name, "$eq", want)
	case "$nin":
		return !applies(th, name, "$in", want)
	case "$in":
		return slices.ContainsFunc(want.([]any), func(v any) bool { return applies(th, name, "$eq", v) })
	case "$exists":
		return present(th, name) == want.(bool)
	}
	if want == nil {
		return !present(th, name)
	}
	have := valueOf(th, name)
	if list, ok := have.([]any); ok {
		isCustom := strings.HasPrefix(name, "custom.")
		return (!isCustom || op == "$contains") && slices.Contains(list, want)
	}
	switch op {
	case "$autocomplete":
		s, ok := have.(string)
		return ok && strings.HasPrefix(lower(s), lower(want.(string)))
	case "$q":
		s, ok := have.(string)
		return ok && !slices.ContainsFunc(strings.Fields(lower(want.(string))), func(w string) bool { return !strings.Contains(lower(s), w) })
	}
	n, ok := order(have, want)
	switch op {
	case "$eq":
		return ok && n == 0
	case "$gt":
		return ok && n > 0
	case "$gte":
		return ok && n >= 0
	case "$lt":
		return ok && n < 0
	case "$lte":
		return ok && n <= 0
	}
	return false
}

// order compares two values of one JSON type; times as text are instants.
func order(have, want any) (int, bool) {
	switch h := have.(type) {
	case string:
		w, ok := want.(string)
		return strings.Compare(h, w), ok
	case float64:
		w, ok := want.(float64)
		return cmp.Compare(h, w), ok
	case bool:
		w, ok := want.(bool)
		if h == w {
			return 0, ok
		}
		return 1, ok
	case time.Time:
		if w, err := time.Parse(time.RFC3339Nano, want.(string)); err == nil {
			return h.Compare(w), true
		}
	}
	return 0, false
}

func present(th thing, name string) bool {
	switch v := valueOf(th, name).(type) {
	case nil:
		return false
	case string:
		return v != "" || strings.HasPrefix(name, "custom.")
	case float64:
		return v != 0 || strings.HasPrefix(name, "custom.")
	case time.Time:
		return !v.Equal(time.Unix(0, 0))
	case []any:
		return len(v) > 0 || strings.HasPrefix(name, "custom.")
	}
	return true
}

func valueOf(th thing, name string) any {
	switch name {
	case "id":
		return th.ID
	case "loud":
		return strings.ToUpper(th.ID)
	case "name":
		return th.Name
	case "score":
		return th.Score
	case "live":
		return bool(th.Live)
	case "at":
		if th.At.IsZero() {
			return time.Unix(0, 0)
		}
		return th.At.Time
	case "tags":
		return list(th.Tags.V)
	case "friends":
		return list(friendsOf(th.ID))
	}
	var at any = th.Custom.V
	for key := range strings.SplitSeq(strings.TrimPrefix(name, "custom."), ".") {
		object, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = object[key]
	}
	return at
}

func list(s []string) []any {
	out := []any{}
	for _, v := range s {
		out = append(out, v)
	}
	return out
}

func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 32
		}
		return r
	}, s)
}
