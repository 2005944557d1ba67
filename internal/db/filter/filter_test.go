package filter_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
)

// TestFilters shows each operator once, in words people can check.
func TestFilters(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *db.DB, rows []thing) {
		for filter, want := range map[string]func(thing) bool{
			`{}`:                                           func(thing) bool { return true },
			`{"name":"alice"}`:                             func(th thing) bool { return th.Name == "alice" },
			`{"name":{"$autocomplete":"AL"}}`:              func(th thing) bool { return th.Name == "alice" || th.Name == "Alice" },
			`{"name":{"$q":"words Two"}}`:                  func(th thing) bool { return th.Name == "two words" },
			`{"name":{"$autocomplete":"a%"}}`:              func(th thing) bool { return th.Name == "a%b" },
			`{"name":"x'); DROP TABLE things; --"}`:        func(th thing) bool { return strings.HasPrefix(th.Name, "x'") },
			`{"score":{"$gte":0.1,"$lt":5}}`:               func(th thing) bool { return th.Score >= 0.1 && th.Score < 5 },
			`{"live":true}`:                                func(th thing) bool { return bool(th.Live) },
			`{"live":{"$ne":true}}`:                        func(th thing) bool { return !bool(th.Live) },
			`{"at":{"$exists":false}}`:                     func(th thing) bool { return th.At.IsZero() },
			`{"at":"2026-01-05T11:00:00.412345680+01:00"}`: func(th thing) bool { return th.At.Equal(epoch.Add(2)) },
			`{"tags":{"$in":["it's","5"]}}`:                func(th thing) bool { return slices.Contains(th.Tags.V, "it's") || slices.Contains(th.Tags.V, "5") },
			`{"tags":{"$contains":"\""}}`:                  func(th thing) bool { return slices.Contains(th.Tags.V, `"`) },
			`{"friends":"bob"}`:                            func(th thing) bool { return slices.Contains(friendsOf(th.ID), "bob") },
			`{"friends":{"$exists":true}}`:                 func(th thing) bool { return len(friendsOf(th.ID)) > 0 },
			`{"custom.v":1}`:                               func(th thing) bool { return th.Custom.V["v"] == 1.0 },
			`{"custom.v":true}`:                            func(th thing) bool { return th.Custom.V["v"] == true },
			`{"custom.v":"1"}`:                             func(th thing) bool { return th.Custom.V["v"] == "1" },
			`{"custom.v":null}`:                            func(th thing) bool { return th.Custom.V["v"] == nil },
			`{"custom.v.deep":7}`:                          func(th thing) bool { v, _ := th.Custom.V["v"].(map[string]any); return v["deep"] == 7.0 },
			`{"custom.it's odd":"it's"}`:                   func(th thing) bool { return th.Custom.V["it's odd"] == "it's" },
			`{"$nor":[{"live":true},{"name":"bob"}]}`:      func(th thing) bool { return !bool(th.Live) && th.Name != "bob" },
			deep(8, `{"name":"bob"}`):                      func(th thing) bool { return th.Name == "bob" },
		} {
			ids := []string{}
			for _, row := range rows {
				if want(row) {
					ids = append(ids, row.ID)
				}
			}
			slices.Sort(ids)
			if len(ids) == 0 {
				t.Errorf("%s: the world has no such thing", filter)
			}
			if got, err := find(d, parse(t, filter)); err != nil || !slices.Equal(got, ids) {
				t.Errorf("%s: got %v (%v), want %v", filter, got, err, ids)
			}
		}
	})
}

func TestAnyLooksIntoTheObject(t *testing.T) {
	t.Parallel()
	d := sqlite(t)
	rows := fill(t, d)
	f := filter.Fields{"id": fields["id"], filter.Any: {Column: "th.custom", Kind: filter.Custom}}
	q, err := f.Where(d.NewSelect().Model((*thing)(nil)), map[string]any{"v": "room"})
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, row := range rows {
		if row.Custom.V["v"] == "room" {
			want++
		}
	}
	if n, err := q.Count(t.Context()); err != nil || int(n) != want || want == 0 {
		t.Errorf("found %d (%v), want %d", n, err, want)
	}
}

func TestFiltersRefuse(t *testing.T) {
	t.Parallel()
	d := sqlite(t)
	long := strings.Repeat("x", 2000)
	many := strings.TrimSuffix(strings.Repeat(`{"id":"a"},`, 100), ",")
	for text, field := range map[string]string{
		`{"nope":1}`:                                 "nope",
		`{"th.id":"a"}`:                              "th.id",
		`{"id' OR 1=1 --":"a"}`:                      "id' OR 1=1 --",
		`{"$where":"1"}`:                             "$where",
		`{"*":"1"}`:                                  "*",
		`{"custom":{"a":1}}`:                         "custom",
		`{"custom.":1}`:                              "custom.",
		`{"custom.a\"b":1}`:                          `custom.a"b`,
		`{"custom.a\\":1}`:                           `custom.a\`,
		`{"custom.a.b.c.d.e.f":1}`:                   "custom.a.b.c.d.e.f",
		`{"custom.` + long + `":1}`:                  "custom." + long,
		`{"custom.a":[1]}`:                           "custom.a",
		`{"custom.a":{"$gt":true}}`:                  "custom.a.$gt",
		`{"custom.a":{"$q":1}}`:                      "custom.a.$q",
		`{"id":5}`:                                   "id",
		`{"id":{}}`:                                  "id",
		`{"id":{"$like":"a"}}`:                       "id.$like",
		`{"id":{"$contains":"a"}}`:                   "id.$contains",
		`{"id":"` + long + `"}`:                      "id",
		`{"id":"a\u0000"}`:                           "id",
		`{"id":{"$in":"a"}}`:                         "id.$in",
		`{"id":{"$in":["a",1]}}`:                     "id.$in[1]",
		`{"id":{"$gt":null}}`:                        "id.$gt",
		`{"id":{"$exists":1}}`:                       "id.$exists",
		`{"score":"1"}`:                              "score",
		`{"live":1}`:                                 "live",
		`{"live":{"$gt":true}}`:                      "live.$gt",
		`{"at":"yesterday"}`:                         "at",
		`{"at":"9999-01-01T00:00:00Z"}`:              "at",
		`{"at":0.5}`:                                 "at",
		`{"tags":{"$gt":"a"}}`:                       "tags.$gt",
		`{"$or":[]}`:                                 "$or",
		`{"$or":{"id":"a"}}`:                         "$or",
		`{"$or":[1]}`:                                "$or[0]",
		`{"$or":[{"id":"a"},{"$and":[{"at":1.5}]}]}`: "$or[1].$and[0].at",
		`{"$or":[` + many + `],"score":1}`:           "score",
		deep(9, `{"id":"a"}`):                        strings.TrimSuffix(strings.Repeat("$and[0].", 9), "."),
	} {
		_, err := find(d, parse(t, text))
		var e *filter.Error
		if !errors.As(err, &e) || e.Field != field || e.Want == "" {
			t.Errorf("%.100s: got %v, want one about %.80s", text, err, field)
		}
	}
}

// FuzzWhere: whatever the filter, it is refused with a reason or it runs.
func FuzzWhere(f *testing.F) {
	for _, seed := range []string{
		`{"name":{"$q":"a b"},"custom.v":{"$gte":1e300}}`, `{"$nor":[{"at":{"$in":["2026-01-05T10:00:00Z",5]}}]}`,
		`{"custom.it's $odd":{"$contains":"?"}}`, `{"tags":{"$nin":["a"]},"friends":{"$exists":false},"live":null}`,
	} {
		f.Add(seed)
	}
	d, err := db.Open(f.Context(), "sqlite://"+filepath.Join(f.TempDir(), "x.db"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { d.Close() })
	rows := fill(f, d)
	f.Fuzz(func(t *testing.T, text string) {
		var conditions map[string]any
		if json.Unmarshal([]byte(text), &conditions) != nil {
			return
		}
		ids, err := find(d, conditions)
		var e *filter.Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%q: %v", text, err)
		}
		if err == nil && len(ids) > len(rows) {
			t.Fatalf("%q found %d of %d", text, len(ids), len(rows))
		}
		if n, err := d.NewSelect().Model((*thing)(nil)).Count(t.Context()); err != nil || int(n) != len(rows) {
			t.Fatal(fmt.Errorf("after %q there are %d things (%w)", text, n, err))
		}
	})
}
