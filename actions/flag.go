package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

const (
	// manualSeverity is the severity of a flag without a score.
	manualSeverity = 50
	// maxImages bounds the pictures of a review item; the oldest go.
	maxImages = 20
	// maxFlags bounds the flags of a review item; flags_count goes on.
	maxFlags = 100
)

// flag puts the participant into the review queue, marks the call and tells
// the backends. It returns the review item's id.
func (w write) flag(ctx context.Context) (string, error) {
	item, known, err := w.openItem(ctx)
	if err != nil {
		return "", err
	}
	if !known {
		if item, err = w.newItem(ctx); err != nil {
			return "", err
		}
	}
	flag := w.addFlag(&item)
	if err := w.saveItem(ctx, item, known); err != nil {
		return "", err
	}
	_, err = w.tx.NewUpdate().Model((*db.CallRow)(nil)).Set("flagged = 1").Where("cid = ?", w.req.CID).Exec(ctx)
	if err != nil {
		return "", fmt.Errorf("mark call %s: %w", w.req.CID, err)
	}
	if err := w.tellFlagged(ctx, item, flag, known); err != nil {
		return "", err
	}
	return item.ID, w.audit(ctx, "flag", map[string]any{"reason": w.req.Reason, "item_id": item.ID, "labels": w.req.Labels, "score": w.req.Score})
}

// openItem finds the pending review item of the participant in the call.
func (w write) openItem(ctx context.Context) (item event.ReviewItem, known bool, err error) {
	var rows []db.ReviewItemRow
	err = w.tx.NewSelect().Model(&rows).Where("entity_id = ?", w.req.CID).Where("entity_creator_id = ?", w.req.UserID).
		Where("status = ?", event.ReviewPending).Order("created_at").Limit(1).Scan(ctx)
	if err != nil {
		return item, false, fmt.Errorf("find the review item: %w", err)
	}
	if len(rows) == 0 {
		return item, false, nil
	}
	item, err = ReviewItem(rows[0])
	return item, err == nil, err
}

// newItem makes a review item. Its id follows from how many the participant
// had before, so that two executors cannot both make one.
func (w write) newItem(ctx context.Context) (event.ReviewItem, error) {
	n, err := w.tx.NewSelect().Model((*db.ReviewItemRow)(nil)).Where("entity_id = ?", w.req.CID).
		Where("entity_creator_id = ?", w.req.UserID).Count(ctx)
	if err != nil {
		return event.ReviewItem{}, fmt.Errorf("count review items: %w", err)
	}
	return event.ReviewItem{
		ID:         event.DeriveID("review", w.req.CID, w.req.UserID, strconv.FormatInt(int64(n), 10)),
		EntityType: event.EntityCall, EntityID: w.req.CID, EntityCreatorID: w.req.UserID,
		Status: event.ReviewPending, RecommendedAction: string(event.ActionFlag), CreatedAt: w.now,
		ModerationPayload: event.ModerationPayload{
			Texts: []string{}, Images: []string{}, Videos: []string{}, Audios: []string{}, Custom: map[string]any{},
		},
	}, nil
}

// addFlag adds the action's flag to the item.
func (w write) addFlag(item *event.ReviewItem) event.Flag {
	severity, typ := manualSeverity, "user"
	if w.req.FrameID != "" {
		typ = "image"
	}
	if len(w.req.Labels) > 0 {
		severity = int(math.Round(100 * w.req.Score))
	}
	labels := w.req.Labels
	if labels == nil {
		labels = []string{}
	}
	f := event.Flag{
		Type: typ, EntityType: event.EntityCall, EntityID: w.req.CID, Labels: labels, Result: []any{},
		Reason: w.req.Reason, UserID: w.req.ByUserID, CreatedAt: w.now, UpdatedAt: w.now,
		FrameID: w.req.FrameID, Score: w.req.Score, ActionID: w.req.ActionID,
	}
	item.UpdatedAt, item.Severity = w.now, max(item.Severity, severity)
	item.FlagsCount++
	item.Flags = newest(append(item.Flags, f), maxFlags)
	if w.req.Recommend != "" {
		item.RecommendedAction = string(w.req.Recommend)
	}
	p := &item.ModerationPayload
	p.Custom["session_id"], p.Custom["flags_count"] = w.req.SessionID, item.FlagsCount
	if w.req.FrameID != "" {
		p.Custom["frame_id"], p.Custom["object_key"] = w.req.FrameID, w.req.ObjectKey
	}
	if w.req.ObjectKey != "" && w.cfg.Signer != nil {
		url := w.cfg.Signer.SignGet(w.req.ObjectKey, w.req.CapturedAt.Add(w.cfg.Retention))
		p.Images = newest(append(p.Images, url), maxImages)
	}
	return f
}

func newest[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

func (w write) saveItem(ctx context.Context, item event.ReviewItem, known bool) error {
	row, err := reviewItemRow(item)
	if err != nil {
		return err
	}
	if known {
		_, err = w.tx.NewUpdate().Model(&row).WherePK().
			Column("severity", "recommended_action", "payload", "flags", "updated_at").Exec(ctx)
	} else {
		_, err = w.tx.NewInsert().Model(&row).Exec(ctx)
	}
	if err != nil {
		return fmt.Errorf("save review item %s: %w", item.ID, err)
	}
	return nil
}

func (w write) tellFlagged(ctx context.Context, item event.ReviewItem, flag event.Flag, known bool) error {
	user, by, err := w.people(ctx)
	if err != nil {
		return err
	}
	total, err := w.tx.NewSelect().Model((*db.ActionRow)(nil)).Where("user_id = ?", w.req.UserID).
		Where("kind = ?", event.ActionFlag).Where("state = ?", db.ActionStateConfirmed).Count(ctx)
	if err != nil {
		return fmt.Errorf("count flags: %w", err)
	}
	custom := w.custom()
	custom["review_queue_item_id"] = item.ID
	err = w.public(ctx, event.UserFlagged, event.UserFlag{
		Type: event.UserFlagged, CreatedAt: w.now, User: by, TargetUser: user, Reason: w.req.Reason, TotalFlags: int(total), Custom: custom,
	})
	if err != nil {
		return err
	}
	typ := event.ReviewItemNew
	if known {
		typ = event.ReviewItemUpdated
	}
	return w.public(ctx, typ, event.ReviewItemChange{
		Type: typ, CreatedAt: w.now, ReviewQueueItem: item, Flags: []event.Flag{flag}, Custom: map[string]any{},
	})
}

// ReviewItem reads a review item from its row.
func ReviewItem(row db.ReviewItemRow) (event.ReviewItem, error) {
	item := event.ReviewItem{
		ID: row.ID, CreatedAt: row.CreatedAt.Time, UpdatedAt: row.UpdatedAt.Time, EntityType: row.EntityType,
		EntityID: row.EntityID, EntityCreatorID: row.EntityCreatorID, Status: row.Status,
		RecommendedAction: row.RecommendedAction, Severity: row.Severity,
	}
	if err := json.Unmarshal(row.Payload.V, &item.ModerationPayload); err != nil {
		return item, fmt.Errorf("read review item %s: %w", row.ID, err)
	}
	if err := json.Unmarshal(row.Flags.V, &item.Flags); err != nil {
		return item, fmt.Errorf("read flags of %s: %w", row.ID, err)
	}
	item.FlagsCount = len(item.Flags)
	if n, ok := item.ModerationPayload.Custom["flags_count"].(float64); ok {
		item.FlagsCount = int(n)
	}
	return item, nil
}

func reviewItemRow(item event.ReviewItem) (db.ReviewItemRow, error) {
	payload, err := json.Marshal(item.ModerationPayload)
	if err != nil {
		return db.ReviewItemRow{}, err
	}
	flags, err := json.Marshal(item.Flags)
	if err != nil {
		return db.ReviewItemRow{}, err
	}
	return db.ReviewItemRow{
		ID: item.ID, EntityType: item.EntityType, EntityID: item.EntityID, EntityCreatorID: item.EntityCreatorID,
		Status: item.Status, RecommendedAction: item.RecommendedAction, Severity: item.Severity,
		Payload: db.JSON[json.RawMessage]{V: payload}, Flags: db.JSON[json.RawMessage]{V: flags},
		CreatedAt: db.At(item.CreatedAt), UpdatedAt: db.At(item.UpdatedAt),
	}, nil
}
