package actions

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// UnbanRequest asks to lift bans.
type UnbanRequest struct {
	UserID, ByUserID, Reason string
	// CID lifts the bans that hold in that call alone; empty means those that
	// hold everywhere.
	CID string
	// ItemID is the review item on which it was decided, and recorded.
	ItemID string
}

// Unban lifts bans, and withholds those that were asked for and not carried
// out yet. It tells how many there were; when there was none it changes and
// tells nothing. Expired bans are left alone.
func (d *Desk) Unban(ctx context.Context, r UnbanRequest) (lifted int, err error) {
	if r.UserID == "" {
		return 0, &RequestError{"user_id", "the user"}
	}
	if r.ByUserID == "" {
		return 0, &RequestError{"by_user_id", "who asks"}
	}
	err = d.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		w := write{Desk: d, tx: tx, now: d.cfg.Now().UTC(), req: event.ActionRequested{
			ActionID: event.NewID(), UserID: r.UserID, CID: r.CID, ByUserID: r.ByUserID, Reason: r.Reason, ReviewQueueItemID: r.ItemID,
		}}
		withheld, err := w.withholdBans(ctx)
		if err != nil {
			return err
		}
		if lifted, err = w.liftBans(ctx); err != nil {
			return err
		}
		if lifted == 0 && withheld == 0 {
			return nil
		}
		if r.ItemID == "" {
			if err := w.recordUnban(ctx); err != nil {
				return err
			}
		}
		if lifted > 0 {
			if err := w.tellUnbanned(ctx); err != nil {
				return err
			}
		}
		lifted += withheld
		return w.audit(ctx, "unban", map[string]any{"lifted": lifted - withheld, "withheld": withheld, "reason": r.Reason})
	})
	if err != nil {
		return 0, fmt.Errorf("unban %s: %w", r.UserID, err)
	}
	return lifted, nil
}

// withholdBans ends the bans that wait to be carried out. It comes before
// the lifting: an executor that has one in hand commits first, and its ban is
// lifted with the others. Bans by the policy hold everywhere.
func (w write) withholdBans(ctx context.Context) (int, error) {
	q := w.tx.NewUpdate().Model((*db.ActionRow)(nil)).Set("state = ?", db.ActionStateWithheld).
		Where("kind = ?", string(event.ActionBan)).Where("user_id = ?", w.req.UserID).Where("state = ?", db.ActionStateRequested)
	if w.req.CID == "" {
		q = q.Where("(cid = '' OR decision_id <> '')")
	} else {
		q = q.Where("cid = ?", w.req.CID).Where("decision_id = ''")
	}
	res, err := q.Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("withhold bans: %w", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func (w write) liftBans(ctx context.Context) (int, error) {
	res, err := w.tx.NewUpdate().Model((*db.BanRow)(nil)).
		Set("lifted_at = ?", db.At(w.now)).Set("lifted_by = ?", w.req.ByUserID).
		Where("user_id = ?", w.req.UserID).Where("cid = ?", w.req.CID).Where("lifted_at = 0").
		Where("(expires_at = 0 OR expires_at > ?)", db.At(w.now)).Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("lift bans: %w", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// recordUnban puts an unban beside the queue among the decisions of people,
// where the policy's executor finds it.
func (w write) recordUnban(ctx context.Context) error {
	row := db.ReviewActionRow{
		ID: w.req.ActionID, Type: DecideUnban, UserID: w.req.ByUserID, TargetUserID: w.req.UserID, CID: w.req.CID,
		Reason: w.req.Reason, At: db.At(w.now),
	}
	row.Custom.V = map[string]any{}
	if _, err := w.tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return fmt.Errorf("record the unban: %w", err)
	}
	return nil
}

func (w write) tellUnbanned(ctx context.Context) error {
	user, by, err := w.people(ctx)
	if err != nil {
		return err
	}
	total, err := w.tx.NewSelect().Model((*db.BanRow)(nil)).Where("user_id = ?", w.req.UserID).Count(ctx)
	if err != nil {
		return fmt.Errorf("count bans: %w", err)
	}
	return w.public(ctx, event.UserUnbanned, event.UserBan{
		Type: event.UserUnbanned, CreatedAt: w.now, User: user, CreatedBy: by, Reason: w.req.Reason, TotalBans: int(total),
		ReviewQueueItemID: w.req.ReviewQueueItemID, CID: w.req.CID, Custom: map[string]any{},
	})
}
