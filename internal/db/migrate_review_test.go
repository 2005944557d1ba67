package db

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/testkit"
)

// TestFlagsMove: the flags that stood in an item's row alone have a table.
func TestFlagsMove(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (*bun.DB, error){
		"sqlite":   func(t *testing.T) (*bun.DB, error) { return openSQLite(filepath.Join(t.TempDir(), "x.db")) },
		"postgres": func(t *testing.T) (*bun.DB, error) { return openPostgres(testkit.Postgres(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := open(t)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { raw.Close() })
			testFlagsMove(t, raw)
		})
	}
}

func testFlagsMove(t *testing.T, raw *bun.DB) {
	p, err := migrator(raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for _, insert := range []string{
		`INSERT INTO review_items (id, entity_type, entity_id, entity_creator_id, status, severity, payload, flags, created_at, updated_at)
		VALUES ('i1', 'call', 'default:abc', 'bob', 'pending', 80, '{"images":["/s/a"],"custom":{"session_id":"s1"}}',
			'[{"type":"image","labels":["nudity"],"reason":"r","user_id":"system","frame_id":"f1","score":0.97,"action_id":"a1"},{"type":"user","action_id":"a2"}]', 5, 6),
			('i2', 'call', 'default:abc', 'eve', 'pending', 0, '{}', '[]', 5, 6)`,
		`INSERT INTO actions (id, kind, cid, user_id, by_user_id, reason, payload, state, requested_at)
		VALUES ('a1', 'flag', 'default:abc', 'bob', 'system', 'r', '{}', 'confirmed', 7), ('a2', 'flag', 'default:abc', 'bob', 'mo', '', '{}', 'confirmed', 9)`,
	} {
		if _, err := raw.ExecContext(t.Context(), insert); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows []FlagRow
	if err := raw.NewSelect().Model(&rows).Order("created_at").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 {
		t.Fatalf("moved %+v", rows)
	}
	first, second := rows[0], rows[1]
	if first.ItemID != "i1" || first.Type != "image" || first.Labels.V[0] != "nudity" || first.Score != 0.97 || first.FrameID != "f1" || first.CreatedAt.UnixNano() != 7 {
		t.Errorf("moved %+v", first)
	}
	if second.UserID != "mo" || second.EntityCreatorID != "bob" || len(second.Labels.V) != 0 {
		t.Errorf("moved %+v", second)
	}
	d := &DB{DB: raw, now: time.Now}
	item, err := d.ReviewItem(context.Background(), "i1", time.Now())
	if err != nil || item.FlagsCount != 2 || item.EntityCreator.FlaggedCount != 2 || len(item.Flags) != 2 || item.Flags[0].Result == nil {
		t.Errorf("%+v, %v", item, err)
	}
	var row ReviewItemRow
	if err := raw.NewSelect().Model(&row).Where("id = 'i1'").Scan(t.Context()); err != nil || row.SessionID != "s1" {
		t.Errorf("session %q, %v", row.SessionID, err)
	}
}
