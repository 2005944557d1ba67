package db

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/event"
)

// MemberRow is a row of call_members.
type MemberRow struct {
	bun.BaseModel `bun:"table:call_members,alias:cm"`
	CID           string `bun:"cid,pk"`
	UserID        string `bun:",pk"`
	Role          string
	Custom        JSON[map[string]any]
	CreatedAt     Time
	UpdatedAt     Time
}

// MembersOf returns up to limit members of each call, the oldest first.
func (d *DB) MembersOf(ctx context.Context, limit int, cids ...string) (map[string][]MemberRow, error) {
	out := make(map[string][]MemberRow, len(cids))
	if len(cids) == 0 {
		return out, nil
	}
	var rows []MemberRow
	q := d.reader(ctx).NewSelect().Model(&rows).Where("cid IN (?)", bun.List(cids)).Order("cid", "created_at", "user_id")
	if len(cids) == 1 {
		q = q.Limit(int64(limit))
	} else {
		ranked := d.reader(ctx).NewSelect().Model((*MemberRow)(nil)).ColumnExpr("cm.*").
			ColumnExpr("row_number() OVER (PARTITION BY cid ORDER BY created_at, user_id) AS place").Where("cid IN (?)", bun.List(cids))
		q = d.reader(ctx).NewSelect().Model(&rows).ModelTableExpr("(?) AS cm", ranked).
			Where("place <= ?", limit).Order("cid", "created_at", "user_id")
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("read members of calls: %w", err)
	}
	for _, row := range rows {
		out[row.CID] = append(out[row.CID], row)
	}
	return out, nil
}

// MemberRole returns the role that the user has as a member of the call; ""
// when they are none.
func (d *DB) MemberRole(ctx context.Context, cid, userID string) (string, error) {
	var row MemberRow
	err := d.reader(ctx).NewSelect().Model(&row).Column("role").Where("cid = ?", cid).Where("user_id = ?", userID).Scan(ctx)
	if err != nil && !IsNotFound(err) {
		return "", fmt.Errorf("read member %s of %s: %w", userID, cid, err)
	}
	return row.Role, nil
}

// PublicMembers are the members as API answers and public events show them.
func PublicMembers(rows []MemberRow, users map[string]event.User) []event.CallMember {
	out := make([]event.CallMember, len(rows))
	for i, row := range rows {
		out[i] = event.CallMember{
			UserID: row.UserID, Role: row.Role, User: users[row.UserID], Custom: row.Custom.V,
			CreatedAt: row.CreatedAt.Time, UpdatedAt: row.UpdatedAt.Time,
		}
		if out[i].Custom == nil {
			out[i].Custom = map[string]any{}
		}
	}
	return out
}
