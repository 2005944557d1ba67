package actions

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// FlagRequest asks for a look at a participant of a call, a user, or
// something of the backend's own.
type FlagRequest struct {
	UserID, CID, SessionID, ByUserID, Reason string
	Labels                                   []string
	// FrameID, ObjectKey and CapturedAt name the frame it is about, if any.
	FrameID, ObjectKey string
	CapturedAt         time.Time
	// EntityType and EntityID are what is flagged; empty: the call CID, with
	// UserID as the participant. Of a user EntityID is the user's id.
	EntityType, EntityID string
	// Type is the flag's; empty: "image" with a frame, else "user".
	Type string
	// Payload is shown with the item, Custom kept with the flag. They are
	// bounded by the caller.
	Payload event.ModerationPayload
	Custom  map[string]any
	Result  []any
	// Severity is 0 to 100; 0 takes it from Score, or 50.
	Severity int
	// Score is 0 to 1; 0 with labels counts as 0.5.
	Score float64
	// Recommend is what a moderator is advised to do; empty: to look.
	Recommend event.ActionKind
	// ConfigKey names the config that the flag came from.
	ConfigKey string
}

// entity is what is flagged.
func (r FlagRequest) entity() (typ, id string) {
	switch {
	case r.EntityType == "" || r.EntityType == event.EntityCall && r.EntityID == "":
		return event.EntityCall, r.CID
	case r.EntityType == event.EntityUser && r.EntityID == "":
		return r.EntityType, r.UserID
	}
	return r.EntityType, r.EntityID
}

func (r FlagRequest) check() error {
	typ, id := r.entity()
	switch {
	case typ == event.EntityCall && r.CID == "" && id == "":
		return &RequestError{"cid", "the call"}
	case id == "":
		return &RequestError{"entity_id", "what is flagged"}
	case typ == event.EntityCall && r.UserID == "":
		return &RequestError{"user_id", "the user"}
	case r.ByUserID == "":
		return &RequestError{"by_user_id", "who asks"}
	}
	return nil
}

// Flag puts an entity into the review queue at once and returns the item's
// id. The same request within a minute adds nothing.
func (d *Desk) Flag(ctx context.Context, r FlagRequest) (itemID string, err error) {
	if err := r.check(); err != nil {
		return "", err
	}
	r.EntityType, r.EntityID = r.entity()
	if r.EntityType == event.EntityCall {
		r.CID = r.EntityID
	}
	if r.EntityType == event.EntityUser && r.UserID == "" {
		r.UserID = r.EntityID
	}
	if len(r.Labels) > 0 && r.Score == 0 {
		r.Score = float64(manualSeverity) / 100
	}
	req := event.ActionRequested{
		Kind: event.ActionFlag, CID: r.CID, SessionID: r.SessionID, UserID: r.UserID, ByUserID: r.ByUserID, Reason: r.Reason,
		Labels: r.Labels, Score: r.Score, FrameID: r.FrameID, ObjectKey: r.ObjectKey, CapturedAt: r.CapturedAt, Recommend: r.Recommend,
	}
	err = d.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		id, again, err := d.requestOnce(ctx, req, r, func(ctx context.Context, w write) error {
			w.flagged = &r
			_, err := w.step(ctx, db.ActionStateRequested, db.ActionStateConfirmed, func(ctx context.Context) (err error) {
				itemID, err = w.flag(ctx)
				return err
			})
			return err
		})
		if err != nil || !again {
			return err
		}
		var row db.FlagRow
		if err := tx.NewSelect().Model(&row).Where("action_id = ?", id).Limit(1).Scan(ctx); err != nil {
			return fmt.Errorf("read the first flag: %w", err)
		}
		itemID = row.ItemID
		return nil
	})
	return itemID, err
}
