package recording

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestOverridesAreWrittenDown(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func() string{
		"sqlite":   func() string { return "sqlite://" + filepath.Join(t.TempDir(), "t.db") },
		"postgres": func() string { return testkit.Postgres(t) },
	} {
		d, err := db.Open(t.Context(), url())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		for _, action := range []string{"a1", "a2", "a1"} { // the first comes twice
			err := d.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
				return NoteOverride(ctx, tx, Override{
					CID: "default:abc", SessionID: "s1", ActionID: action, Source: "user", At: time.Unix(7, 0),
				})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		var told []db.OutboxRow
		if err := d.NewSelect().Model(&told).Where("topic = ?", event.TopicPublic).Order("seq").Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		var actions []string
		for _, row := range told {
			var body event.RecordingOverride
			if err := json.Unmarshal(row.Envelope.V.Data, &body); err != nil || body.Type != event.CallRecordingOverride || body.SessionID != "s1" || body.PermissionOf != "user" || body.Allowed != "none" {
				t.Errorf("%s: told %+v, %v", name, body, err)
			}
			actions = append(actions, body.ActionID)
		}
		if !slices.Equal(actions, []string{"a1", "a2"}) {
			t.Errorf("%s: told of %v, want each once", name, actions)
		}
		var rows []db.AuditRow
		if err := d.NewSelect().Model(&rows).Order("id").Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(rows) != 2 {
			t.Fatalf("%s: %d entries, want one a flag", name, len(rows))
		}
		for _, row := range rows {
			if row.Verb != VerbOverride || row.Object != "call:default:abc" || !strings.Contains(string(row.Detail.V), `"denied_by":"user"`) {
				t.Errorf("%s: %+v", name, row)
			}
		}
	}
}
