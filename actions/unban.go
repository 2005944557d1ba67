package actions

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// Unban lifts the bans of a user that hold in the call cid alone, or, with
// cid empty, those that hold everywhere. It tells how many there were; when
// there was none it changes and tells nothing. Expired bans are left alone.
func (d *Desk) Unban(ctx context.Context, userID, cid, byUserID string) (lifted int, err error) {
	if userID == "" {
		return 0, &RequestError{"user_id", "the user"}
	}
	if byUserID == "" {
		return 0, &RequestError{"by_user_id", "who asks"}
	}
	err = d.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		now := d.cfg.Now().UTC()
		res, err := tx.NewUpdate().Model((*db.BanRow)(nil)).
			Set("lifted_at = ?", db.At(now)).Set("lifted_by = ?", byUserID).
			Where("user_id = ?", userID).Where("cid = ?", cid).Where("lifted_at = 0").
			Where("(expires_at = 0 OR expires_at > ?)", db.At(now)).Exec(ctx)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if lifted = int(n); err != nil || n == 0 {
			return err
		}
		w := write{Desk: d, tx: tx, now: now, req: event.ActionRequested{
			ActionID: event.NewID(), UserID: userID, CID: cid, ByUserID: byUserID,
		}}
		return w.tellUnbanned(ctx, lifted)
	})
	if err != nil {
		return 0, fmt.Errorf("unban %s: %w", userID, err)
	}
	return lifted, nil
}

func (w write) tellUnbanned(ctx context.Context, lifted int) error {
	user, by, err := w.people(ctx)
	if err != nil {
		return err
	}
	total, err := w.tx.NewSelect().Model((*db.BanRow)(nil)).Where("user_id = ?", w.req.UserID).Count(ctx)
	if err != nil {
		return fmt.Errorf("count bans: %w", err)
	}
	err = w.public(ctx, event.UserUnbanned, event.UserBan{
		Type: event.UserUnbanned, CreatedAt: w.now, User: user, CreatedBy: by, TotalBans: int(total),
		CID: w.req.CID, Custom: map[string]any{},
	})
	if err != nil {
		return err
	}
	return w.audit(ctx, "unban", map[string]any{"lifted": lifted})
}
