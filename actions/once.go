package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// repeatWithin is how long an order that comes again, the same in every word,
// counts as a client's second try.
const repeatWithin = time.Minute

// requestOnce is request, but an order that is the same as one of the last
// minute is not recorded again: again is set, and the id is the first one's.
// order is the whole order.
func (d *Desk) requestOnce(ctx context.Context, req event.ActionRequested, order any, atOnce func(context.Context, write) error) (id string, again bool, err error) {
	text, err := json.Marshal(order)
	if err != nil {
		return "", false, fmt.Errorf("marshal the order: %w", err)
	}
	req.Order = event.DeriveID("order", string(req.Kind), string(text))
	err = d.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		latest, known, err := d.repeated(ctx, tx, req)
		if err != nil || known {
			id, again = latest, known
			return err
		}
		// Two at the same moment follow the same action, derive the same id,
		// and only one of them gets it.
		id = event.DeriveID("action", req.Order, latest)
		first, err := d.cfg.DB.Once(ctx, tx, "orders", id)
		if err != nil || !first {
			again = !first
			return err
		}
		req.ActionID = id
		_, err = d.request(ctx, req, atOnce)
		return err
	})
	return id, again, err
}

// repeated looks for the same order within repeatWithin. Else it gives the
// newest action of that kind on the user, "" if there is none.
func (d *Desk) repeated(ctx context.Context, tx bun.Tx, req event.ActionRequested) (id string, known bool, err error) {
	var rows []db.ActionRow
	err = tx.NewSelect().Model(&rows).Where("user_id = ?", req.UserID).Where("kind = ?", string(req.Kind)).
		Order("requested_at DESC", "id DESC").Limit(50).Scan(ctx)
	if err != nil {
		return "", false, fmt.Errorf("read recent orders: %w", err)
	}
	since := d.cfg.Now().Add(-repeatWithin)
	for _, r := range rows {
		var past event.ActionRequested
		if r.RequestedAt.Before(since) || json.Unmarshal(r.Payload.V, &past) != nil || past.Order != req.Order {
			continue
		}
		undone, err := undone(ctx, tx, r)
		return r.ID, !undone, err
	}
	if len(rows) > 0 {
		id = rows[0].ID
	}
	return id, false, nil
}

// undone tells whether a ban was taken back: then the same order again is no
// repetition.
func undone(ctx context.Context, tx bun.Tx, r db.ActionRow) (bool, error) {
	if r.State == db.ActionStateWithheld {
		return true, nil
	}
	return tx.NewSelect().Model((*db.BanRow)(nil)).Where("action_id = ?", r.ID).Where("lifted_at > 0").Exists(ctx)
}
