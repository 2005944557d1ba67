package filter_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stillwatch/internal/db"
)

// condition draws an operator and a value that fit the field.
func condition(field string) *rapid.Generator[any] {
	text := rapid.OneOf(rapid.SampledFrom(names), rapid.SampledFrom(tags), rapid.SampledFrom([]string{"t07", "T0", "al", "words tw", "5", "room"}))
	var one *rapid.Generator[any]
	operators := []string{"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$null"}
	switch field {
	case "id", "name", "loud":
		one, operators = text.AsAny(), append(operators, "$autocomplete", "$q")
	case "score":
		one = rapid.OneOf(rapid.SampledFrom(scores), rapid.Float64Range(-1e16, 1e16)).AsAny()
	case "live":
		one, operators = rapid.Bool().AsAny(), []string{"$eq", "$ne", "$in", "$nin", "$exists"}
	case "at":
		one = rapid.Custom(func(t *rapid.T) any {
			return epoch.Add(time.Duration(rapid.IntRange(-1, 8).Draw(t, "ns"))).Format(time.RFC3339Nano)
		})
	case "tags", "friends":
		one, operators = text.AsAny(), []string{"$eq", "$ne", "$in", "$nin", "$exists", "$contains", "$null"}
	default:
		one = rapid.OneOf(text.AsAny(), rapid.SampledFrom(scores).AsAny())
		operators = append(operators, "$contains", "$autocomplete", "$q", "$bool")
	}
	return rapid.Custom(func(t *rapid.T) any {
		switch op := rapid.SampledFrom(operators).Draw(t, "op"); op {
		case "$exists":
			return map[string]any{op: rapid.Bool().Draw(t, "on")}
		case "$null":
			return nil
		case "$bool":
			return rapid.Bool().Draw(t, "bool")
		case "$in", "$nin":
			return map[string]any{op: rapid.SliceOfN(one, 0, 4).Draw(t, "list")}
		case "$autocomplete", "$q", "$contains":
			return map[string]any{op: text.Draw(t, "text")}
		case "$eq":
			return one.Draw(t, "bare")
		default:
			return map[string]any{op: one.Draw(t, "value")}
		}
	})
}

// tree draws a filter of at most depth levels.
func tree(depth int) *rapid.Generator[map[string]any] {
	return rapid.Custom(func(t *rapid.T) map[string]any {
		out := map[string]any{}
		if depth > 0 {
			for _, op := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"$and", "$or", "$nor"}), 0, 1, rapid.ID).Draw(t, "logic") {
				var items []any
				for _, item := range rapid.SliceOfN(tree(depth-1), 1, 3).Draw(t, op) {
					items = append(items, item)
				}
				out[op] = items
			}
		}
		all := []string{"id", "name", "loud", "score", "live", "at", "tags", "friends", "custom.v", "custom.it's odd", "custom.v.deep", "custom.none"}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, 2, rapid.ID).Draw(t, "fields") {
			out[name] = condition(name).Draw(t, name)
		}
		return out
	})
}

// TestFiltersMeanTheSameEverywhere holds both databases against the oracle.
func TestFiltersMeanTheSameEverywhere(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *db.DB, rows []thing) {
		rapid.Check(t, func(rt *rapid.T) {
			conditions := tree(2).Draw(rt, "filter")
			want := []string{}
			for _, row := range rows {
				if meets(row, conditions) {
					want = append(want, row.ID)
				}
			}
			slices.Sort(want)
			got, err := find(d, conditions)
			if err != nil || !slices.Equal(got, want) {
				raw, _ := json.Marshal(conditions)
				rt.Fatalf("%s\ngot  %s (%v)\nwant %s", raw, strings.Join(got, " "), err, strings.Join(want, " "))
			}
		})
	})
}
