package db

import (
	"path/filepath"
	"testing"

	"github.com/uptrace/bun"

	"stillwatch/internal/testkit"
)

// TestMembersMove: what the first version kept in a call's row has a table of
// its own now.
func TestMembersMove(t *testing.T) {
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
			testMembersMove(t, raw)
		})
	}
}

func testMembersMove(t *testing.T, raw *bun.DB) {
	p, err := migrator(raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	const insert = `INSERT INTO calls (cid, type, id, settings, members, created_at, updated_at) VALUES (?, 'default', ?, '{}', ?, 7, 8)`
	for cid, members := range map[string]string{
		"default:a": `[{"user_id":"ann","role":"host","custom":{"seat":"it's 3"},"created_at":"2026-01-05T10:00:00Z"},{"user_id":"bob","role":"user"},{"user_id":"bob","role":"host"}]`,
		"default:b": `[]`,
	} {
		if _, err := raw.ExecContext(t.Context(), insert, cid, cid[8:], members); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows []MemberRow
	if err := raw.NewSelect().Model(&rows).Order("user_id").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 {
		t.Fatalf("moved %+v", rows)
	}
	ann, bob := rows[0], rows[1]
	if ann.CID != "default:a" || ann.Role != "host" || ann.Custom.V["seat"] != "it's 3" || ann.CreatedAt.UnixNano() != 7 {
		t.Errorf("moved %+v", ann)
	}
	if bob.UserID != "bob" || bob.Role != "user" || len(bob.Custom.V) != 0 {
		t.Errorf("moved %+v", bob)
	}
	var call CallRow
	if err := raw.NewSelect().Model(&call).Where("cid = 'default:a'").Scan(t.Context()); err != nil || !call.DeletedAt.IsZero() || call.UpdatedAt.UnixNano() != 8 {
		t.Errorf("call %+v, %v", call, err)
	}
	// The way back, and forth again.
	if _, err := p.DownTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
}
