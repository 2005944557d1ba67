package db

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"
)

// ReasonBlocked is the reason given for a user whom the call blocks.
const ReasonBlocked = "blocked in this call"

// Banned tells whether the user may not be in the call cid at the moment
// now, and why: a ban that holds everywhere (its CID is ""), a ban from this
// call, or an entry in the call's blocked users (a row without an ID). Lifted
// and expired bans do not count, and neither do shadow bans, which keep
// nobody out. With cid "" only bans that hold everywhere are looked at.
func (d *DB) Banned(ctx context.Context, userID, cid string, now time.Time) (BanRow, bool, error) {
	var bans []BanRow
	err := liveBans(d.reader(ctx).NewSelect().Model(&bans), now, "", cid).
		Where("user_id = ?", userID).Where("shadow = 0").
		Order("cid", "created_at", "id").Limit(1).Scan(ctx)
	if err != nil {
		return BanRow{}, false, fmt.Errorf("read bans of %s: %w", userID, err)
	}
	if len(bans) == 1 {
		return bans[0], true, nil
	}
	if cid == "" {
		return BanRow{}, false, nil
	}
	var call CallRow
	err = d.reader(ctx).NewSelect().Model(&call).Column("blocked_user_ids").Where("cid = ?", cid).Scan(ctx)
	if IsNotFound(err) {
		return BanRow{}, false, nil
	}
	if err != nil {
		return BanRow{}, false, fmt.Errorf("read blocked users of %s: %w", cid, err)
	}
	if slices.Contains(call.BlockedUserIDs.V, userID) {
		return BanRow{UserID: userID, CID: cid, Reason: ReasonBlocked}, true, nil
	}
	return BanRow{}, false, nil
}

// liveBans narrows a query over bans to those that hold at now and are from
// one of the calls; "" is everywhere.
func liveBans(q *bun.SelectQuery, now time.Time, cids ...string) *bun.SelectQuery {
	return q.Where("cid IN (?)", bun.List(cids)).Where("lifted_at = 0").
		Where("(expires_at = 0 OR expires_at > ?)", At(now))
}
