package filter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// thing is a row with a column of every kind.
type thing struct {
	bun.BaseModel `bun:"table:things,alias:th"`
	ID            string `bun:",pk"`
	Name          string
	Score         float64
	Live          db.Bool
	At            db.Time
	Tags          db.JSON[[]string]
	Custom        db.JSON[map[string]any]
}

var fields = filter.Fields{
	"id":     {Column: "th.id", Kind: filter.Text, Sortable: true},
	"name":   {Column: "th.name", Kind: filter.Text, Sortable: true},
	"score":  {Column: "th.score", Kind: filter.Number, Sortable: true},
	"live":   {Column: "th.live", Kind: filter.Bool, Sortable: true},
	"at":     {Column: "th.at", Kind: filter.Instant, Sortable: true},
	"tags":   {Column: "th.tags", Kind: filter.TextList},
	"custom": {Column: "th.custom", Kind: filter.Custom},
	"friends": {
		Kind: filter.TextList, Has: "th.id IN (SELECT id FROM friends WHERE friend = ?)",
		HasAny: "EXISTS (SELECT 1 FROM friends AS fr WHERE fr.id = th.id)",
	},
	"loud": {Kind: filter.Text, Sortable: true, Expr: func(dialect.Name) string { return "upper(th.id)" }},
}

// names and values that have tripped databases before.
var (
	names  = []string{"", "alice", "Alice", "bob", "Ämilie", "ämilie", "a'b", `a"b`, "a%b", "a_b", "z\\", "x'); DROP TABLE things; --", "?0 ?1 $1", "two words", "日本"}
	tags   = []string{"red", "blue", "it's", `"`, "5", ""}
	scores = []float64{0, 1, -1, 0.1, -0.5, 5, 1e15, 1e300}
	values = []any{nil, true, false, 0.0, 1.0, -2.5, 0.1, 1e300, "", "1", "true", "null", "room", "Room 7", "it's", []any{"a", "5"}, []any{5.0}, []any{}, map[string]any{"deep": "x"}, map[string]any{"deep": 7.0}}
	epoch  = time.Date(2026, 1, 5, 10, 0, 0, 412345678, time.UTC)
)

// world is rows that between them have most combinations.
func world() []thing {
	var out []thing
	for i := range 90 {
		th := thing{
			ID: fmt.Sprintf("t%02d", i*37%90), Name: names[i%len(names)], Score: scores[i%len(scores)], Live: i%3 == 0,
			At: db.At(epoch.Add(time.Duration(i%7) * time.Nanosecond)),
		}
		if i%11 == 0 {
			th.At = db.Time{}
		}
		th.Tags.V, th.Custom.V = []string{}, map[string]any{}
		for k, tag := range tags {
			if (i+k)%4 == 0 {
				th.Tags.V = append(th.Tags.V, tag)
			}
		}
		if i%5 != 0 {
			th.Custom.V["v"] = values[i%len(values)]
			th.Custom.V["it's odd"] = values[(i*3)%len(values)]
		}
		out = append(out, th)
	}
	return out
}

// friendsOf is what the table friends says.
func friendsOf(id string) []string {
	if id[2] == '7' {
		return []string{"alice", "bob"}
	}
	if id[2] == '3' {
		return []string{"it's"}
	}
	return nil
}

// fill makes the tables with the world's rows.
func fill(t testing.TB, d *db.DB) []thing {
	t.Helper()
	ctx := context.Background()
	for _, q := range []string{
		`CREATE TABLE things (id TEXT PRIMARY KEY, name TEXT NOT NULL, score DOUBLE PRECISION NOT NULL, live SMALLINT NOT NULL, at BIGINT NOT NULL, tags TEXT NOT NULL, custom TEXT NOT NULL)`,
		`CREATE TABLE friends (id TEXT NOT NULL, friend TEXT NOT NULL)`,
	} {
		if _, err := d.ExecContext(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	rows := world()
	if _, err := d.NewInsert().Model(&rows).Exec(ctx); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for _, friend := range friendsOf(row.ID) {
			if _, err := d.ExecContext(ctx, "INSERT INTO friends VALUES (?, ?)", row.ID, friend); err != nil {
				t.Fatal(err)
			}
		}
	}
	return rows
}

func sqlite(t testing.TB) *db.DB {
	return open(t, "sqlite://"+filepath.Join(t.TempDir(), "x.db"))
}

func open(t testing.TB, url string) *db.DB {
	t.Helper()
	d, err := db.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// onBoth runs a test on each database.
func onBoth(t *testing.T, test func(t *testing.T, d *db.DB, rows []thing)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		d := sqlite(t)
		test(t, d, fill(t, d))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		d := open(t, testkit.Postgres(t))
		test(t, d, fill(t, d))
	})
}

// find runs a filter and returns the ids it finds, in order.
func find(d *db.DB, conditions map[string]any) ([]string, error) {
	var rows []thing
	q, err := fields.Where(d.NewSelect().Model(&rows), conditions)
	if err != nil {
		return nil, err
	}
	if err := q.Scan(context.Background()); err != nil {
		return nil, fmt.Errorf("%w in %s", err, q)
	}
	ids := []string{}
	for _, row := range rows {
		ids = append(ids, row.ID)
	}
	slices.Sort(ids)
	return ids, nil
}

func parse(t testing.TB, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

// deep nests inner n times below $and.
func deep(n int, inner string) string {
	return strings.Repeat(`{"$and":[`, n) + inner + strings.Repeat(`]}`, n)
}
