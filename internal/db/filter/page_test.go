package filter_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
)

var byAt = []filter.Sort{{Field: "at", Direction: filter.Falling}}

// sortValue is what Cut asks of a thing.
func sortValue(th *thing, field string) any {
	switch field {
	case "at":
		return th.At
	case "live":
		return th.Live
	default:
		return valueOf(*th, field)
	}
}

// read reads one page.
func read(t require, d *db.DB, sort []filter.Sort, limit int, next, prev string) (ids []string, newNext, newPrev string) {
	p, err := fields.Page(sort, byAt, limit, next, prev, "id")
	if err != nil {
		t.Fatalf("page: %v", err)
	}
	var rows []thing
	if err := p.Apply(d.NewSelect().Model(&rows)).Scan(context.Background()); err != nil {
		t.Fatalf("read: %v", err)
	}
	rows, newNext, newPrev = filter.Cut(p, rows, sortValue)
	for _, row := range rows {
		ids = append(ids, row.ID)
	}
	return ids, newNext, newPrev
}

type require = rapid.TB

// TestPagesAreTheSortedList walks random orders there and back again.
func TestPagesAreTheSortedList(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *db.DB, rows []thing) {
		rapid.Check(t, func(rt *rapid.T) {
			var sort []filter.Sort
			for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"name", "score", "live", "at", "id", "loud"}), 1, 4, rapid.ID).Draw(rt, "sort") {
				sort = append(sort, filter.Sort{Field: name, Direction: rapid.SampledFrom([]int{-1, 0, 1}).Draw(rt, "direction")})
			}
			limit := rapid.IntRange(7, 60).Draw(rt, "limit")
			want := sorted(rows, sort)

			var forth, back []string
			ids, next, prev := read(rt, d, sort, limit, "", "")
			if prev != "" {
				rt.Fatal("the first page has one before it")
			}
			var before string
			for forth = append(forth, ids...); next != ""; forth = append(forth, ids...) {
				ids, next, before = read(rt, d, sort, limit, next, "")
			}
			if !slices.Equal(forth, want) {
				rt.Fatalf("by %v: got %v\nwant %v", sort, forth, want)
			}
			for back = ids; before != ""; back = append(slices.Clone(ids), back...) {
				ids, next, before = read(rt, d, sort, limit, "", before)
				if next == "" {
					rt.Fatal("a page before another has none after it")
				}
			}
			if !slices.Equal(back, want) {
				rt.Fatalf("backwards by %v: got %v\nwant %v", sort, back, want)
			}
		})
	})
}

func sorted(rows []thing, sort []filter.Sort) []string {
	rows = slices.Clone(rows)
	last := sort[len(sort)-1].Direction
	slices.SortFunc(rows, func(a, b thing) int {
		for _, s := range sort {
			n := compare(valueOf(a, s.Field), valueOf(b, s.Field))
			if s.Direction == filter.Falling {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		if last == filter.Falling {
			return cmp.Compare(b.ID, a.ID)
		}
		return cmp.Compare(a.ID, b.ID)
	})
	var ids []string
	for _, row := range rows {
		ids = append(ids, row.ID)
	}
	return ids
}

func compare(a, b any) int {
	if x, ok := a.(interface{ UnixNano() int64 }); ok {
		return cmp.Compare(x.UnixNano(), b.(interface{ UnixNano() int64 }).UnixNano())
	}
	if x, ok := a.(bool); ok {
		return map[bool]int{true: 1}[x] - map[bool]int{true: 1}[b.(bool)]
	}
	n, _ := order(a, b)
	return n
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for asked, want := range map[int]int{-1: 25, 0: 25, 1: 1, 100: 100, 101: 100, 1 << 40: 100} {
		p, err := fields.Page(nil, byAt, asked, "", "", "id")
		if err != nil || p.Limit() != want {
			t.Errorf("limit %d became %d (%v), want %d", asked, p.Limit(), err, want)
		}
	}
}

func TestPagesRefuse(t *testing.T) {
	t.Parallel()
	d := sqlite(t)
	fill(t, d)
	_, cursor, _ := read(t, d, nil, 5, "", "")
	byName := []filter.Sort{{Field: "name"}}
	_, named, _ := read(t, d, byName, 5, "", "")
	other := filter.Fields{"id": fields["id"], "at": fields["at"]}
	for name, c := range map[string]struct {
		f          filter.Fields
		sort       []filter.Sort
		next, prev string
		field      string
	}{
		"unknown field":       {fields, []filter.Sort{{Field: "nope"}}, "", "", "sort[0].field"},
		"field not sortable":  {fields, []filter.Sort{{Field: "at"}, {Field: "tags"}}, "", "", "sort[1].field"},
		"custom":              {fields, []filter.Sort{{Field: "custom.v"}}, "", "", "sort[0].field"},
		"direction":           {fields, []filter.Sort{{Field: "at", Direction: 2}}, "", "", "sort[0].direction"},
		"twice":               {fields, []filter.Sort{{Field: "at"}, {Field: "at"}}, "", "", "sort[1].field"},
		"both cursors":        {fields, nil, cursor, cursor, "prev"},
		"cursor of an order":  {fields, nil, named, "", "next"},
		"cursor of no order":  {fields, byName, "", cursor, "prev"},
		"cursor of a list":    {other, nil, cursor, "", "next"},
		"no base64":           {fields, nil, "!", "", "next"},
		"no JSON":             {fields, nil, "", "AAAA", "prev"},
		"a cursor cut short":  {fields, nil, cursor[:len(cursor)-3], "", "next"},
		"injection by sort":   {fields, []filter.Sort{{Field: "id; DROP TABLE things"}}, "", "", "sort[0].field"},
		"a cursor of nothing": {fields, nil, "bnVsbA", "", "next"},
	} {
		_, err := c.f.Page(c.sort, byAt, 5, c.next, c.prev, "id")
		var e *filter.Error
		if !errors.As(err, &e) || e.Field != c.field || e.Want == "" {
			t.Errorf("%s: got %v, want one about %s", name, err, c.field)
		}
	}
}
