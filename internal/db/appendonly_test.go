package db

import (
	"strings"
	"testing"
	"time"

	"stillwatch/internal/testkit"
)

func TestTheAuditIsAppendOnly(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite://" + t.TempDir() + "/x.db" },
		"postgres": func(t *testing.T) string { return testkit.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := Open(t.Context(), url(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			for _, id := range []string{"a", "b"} {
				if _, err := d.NewInsert().Model(&AuditRow{ID: id, At: At(time.Now()), Actor: "x", Verb: "y", Object: "z"}).Exec(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for _, do := range []string{"UPDATE audit SET actor = 'nobody'", "DELETE FROM audit WHERE id = 'a'", "DELETE FROM audit"} {
				if _, err := d.ExecContext(t.Context(), do); err == nil || !strings.Contains(err.Error(), "append-only") {
					t.Errorf("%s: %v", do, err)
				}
			}
			if n, err := d.NewSelect().Model((*AuditRow)(nil)).Where("actor = 'x'").Count(t.Context()); err != nil || n != 2 {
				t.Errorf("%d entries, %v", n, err)
			}
		})
	}
}
