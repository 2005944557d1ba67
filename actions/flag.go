package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

const (
	// manualSeverity is the severity of a flag without a score.
	manualSeverity = 50
	// maxImages bounds the pictures of a review item, and what else its
	// payload lists; the oldest go.
	maxImages = 20
	// maxFlags bounds the flags that a review item shows; flags_count and the
	// table of flags go on.
	maxFlags = 100
	// maxCustom bounds the keys of an item's custom data over all its flags.
	maxCustom = 100
)

// what is what the action flags: the order's entity, or the participant.
func (w write) what() FlagRequest {
	if w.flagged != nil {
		return *w.flagged
	}
	r := w.req
	f := FlagRequest{
		UserID: r.UserID, CID: r.CID, SessionID: r.SessionID, ByUserID: r.ByUserID, Reason: r.Reason, Labels: r.Labels, FrameID: r.FrameID,
		ObjectKey: r.ObjectKey, CapturedAt: r.CapturedAt, Score: r.Score, Recommend: r.Recommend,
	}
	f.EntityType, f.EntityID = f.entity()
	return f
}

// flag puts the entity into the review queue, marks the call and tells the
// backends. It returns the review item's id.
func (w write) flag(ctx context.Context) (string, error) {
	r := w.what()
	row, known, err := w.item(ctx, r)
	if err != nil {
		return "", err
	}
	flag := w.makeFlag(r)
	if err := w.addFlag(&row, r, flag); err != nil {
		return "", err
	}
	if err := w.saveItem(ctx, row, flag); err != nil {
		return "", err
	}
	if r.EntityType == event.EntityCall {
		_, err = w.tx.NewUpdate().Model((*db.CallRow)(nil)).Set("flagged = 1").Where("cid = ?", r.CID).Exec(ctx)
		if err != nil {
			return "", fmt.Errorf("mark call %s: %w", r.CID, err)
		}
	}
	if err := w.tellFlagged(ctx, row, r, flag, known); err != nil {
		return "", err
	}
	return row.ID, w.audit(ctx, "flag", map[string]any{
		"reason": r.Reason, "item_id": row.ID, "labels": flag.Labels, "score": r.Score, "entity_type": r.EntityType, "entity_id": r.EntityID,
	})
}

// item finds the pending review item of the entity, or makes one.
func (w write) item(ctx context.Context, r FlagRequest) (row db.ReviewItemRow, known bool, err error) {
	if row, known, err = w.openItem(ctx, r); err != nil || known {
		return row, known, err
	}
	if row, err = w.newItem(ctx, r); err != nil {
		return row, false, err
	}
	res, err := w.tx.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx)
	if err != nil {
		return row, false, fmt.Errorf("make review item %s: %w", row.ID, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return row, false, err
	}
	// Another flag made it at the same moment.
	id := row.ID
	if row, known, err = w.openItem(ctx, r); err == nil && !known {
		err = fmt.Errorf("review item %s was decided on at the same moment", id)
	}
	return row, known, err
}

// openItem finds the pending review item of the entity. The update comes
// first: it holds the row, so that two flags at once add up, and a decision
// either comes before the flag or sees it.
func (w write) openItem(ctx context.Context, r FlagRequest) (row db.ReviewItemRow, known bool, err error) {
	res, err := w.tx.NewUpdate().Model((*db.ReviewItemRow)(nil)).Set("updated_at = ?", db.At(w.now)).
		Where("entity_type = ?", r.EntityType).Where("entity_id = ?", r.EntityID).Where("entity_creator_id = ?", r.UserID).
		Where("status = ?", event.ReviewPending).Exec(ctx)
	if err != nil {
		return row, false, fmt.Errorf("hold the review item: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return row, false, err // one that appears from here on is not held
	}
	var rows []db.ReviewItemRow
	err = w.tx.NewSelect().Model(&rows).Where("entity_type = ?", r.EntityType).Where("entity_id = ?", r.EntityID).
		Where("entity_creator_id = ?", r.UserID).Where("status = ?", event.ReviewPending).Order("created_at").Limit(1).Scan(ctx)
	if err != nil {
		return row, false, fmt.Errorf("find the review item: %w", err)
	}
	if len(rows) == 0 {
		return row, false, nil
	}
	return rows[0], true, nil
}

// newItem is a review item to be made. Its id follows from how many were
// decided on before, so that two flags at once cannot make two.
func (w write) newItem(ctx context.Context, r FlagRequest) (db.ReviewItemRow, error) {
	n, err := w.tx.NewSelect().Model((*db.ReviewItemRow)(nil)).Where("entity_id = ?", r.EntityID).Where("entity_type = ?", r.EntityType).
		Where("entity_creator_id = ?", r.UserID).Where("status <> ?", event.ReviewPending).Count(ctx)
	if err != nil {
		return db.ReviewItemRow{}, fmt.Errorf("count review items: %w", err)
	}
	parts := []string{"review", r.EntityID, r.UserID, strconv.FormatInt(int64(n), 10)}
	if r.EntityType != event.EntityCall {
		parts = append(parts, r.EntityType)
	}
	row := db.ReviewItemRow{
		ID: event.DeriveID(parts...), EntityType: r.EntityType, EntityID: r.EntityID, EntityCreatorID: r.UserID,
		Status: event.ReviewPending, RecommendedAction: string(event.ActionFlag), SessionID: r.SessionID, CreatedAt: db.At(w.now),
		UpdatedAt: db.At(w.now),
	}
	row.Payload.V, row.Flags.V = json.RawMessage("{}"), json.RawMessage("[]")
	row.Teams.V, row.Languages.V = []string{}, []string{}
	return row, nil
}

// makeFlag is the flag that the action adds.
func (w write) makeFlag(r FlagRequest) event.Flag {
	f := event.Flag{
		ID: event.DeriveID("flag", w.req.ActionID), Type: r.Type, EntityType: r.EntityType, EntityID: r.EntityID,
		Labels: r.Labels, Result: r.Result, Reason: r.Reason, UserID: r.ByUserID, Custom: r.Custom, CreatedAt: w.now, UpdatedAt: w.now,
		FrameID: r.FrameID, Score: r.Score, ActionID: w.req.ActionID,
	}
	if f.Labels == nil {
		f.Labels = []string{}
	}
	if f.Result == nil {
		f.Result = []any{}
	}
	switch {
	case f.Type != "":
	case f.FrameID != "":
		f.Type = "image"
	default:
		f.Type = "user"
	}
	return f
}

// addFlag adds the flag to the item.
func (w write) addFlag(row *db.ReviewItemRow, r FlagRequest, f event.Flag) error {
	var flags []event.Flag
	var p event.ModerationPayload
	if err := json.Unmarshal(row.Flags.V, &flags); err != nil {
		return fmt.Errorf("read flags of %s: %w", row.ID, err)
	}
	if err := json.Unmarshal(row.Payload.V, &p); err != nil {
		return fmt.Errorf("read payload of %s: %w", row.ID, err)
	}
	row.FlagsCount = max(row.FlagsCount, len(flags)) + 1
	p = w.extend(p.Filled(), r)
	flags = newest(append(flags, f), maxFlags)
	var err error
	if row.Payload.V, err = json.Marshal(p); err != nil {
		return fmt.Errorf("marshal payload of %s: %w", row.ID, err)
	}
	if row.Flags.V, err = json.Marshal(flags); err != nil {
		return fmt.Errorf("marshal flags of %s: %w", row.ID, err)
	}
	row.UpdatedAt, row.Severity = db.At(w.now), max(row.Severity, severity(r))
	if r.SessionID != "" {
		row.SessionID = r.SessionID
	}
	if r.Recommend != "" {
		row.RecommendedAction = string(r.Recommend)
	}
	if r.ConfigKey != "" {
		row.ConfigKey = r.ConfigKey
	}
	return nil
}

func severity(r FlagRequest) int {
	switch {
	case r.Severity > 0:
		return min(r.Severity, 100)
	case r.Score > 0:
		return int(math.Round(100 * r.Score))
	}
	return manualSeverity
}

// extend adds to an item's payload what the flag shows.
func (w write) extend(p event.ModerationPayload, r FlagRequest) event.ModerationPayload {
	p.Texts = newest(append(p.Texts, r.Payload.Texts...), maxImages)
	p.Videos = newest(append(p.Videos, r.Payload.Videos...), maxImages)
	p.Audios = newest(append(p.Audios, r.Payload.Audios...), maxImages)
	p.Images = append(p.Images, r.Payload.Images...)
	if r.ObjectKey != "" && w.cfg.Signer != nil {
		p.Images = append(p.Images, w.cfg.Signer.SignGet(r.ObjectKey, r.CapturedAt.Add(w.cfg.Retention)))
	}
	p.Images = newest(p.Images, maxImages)
	if len(p.Custom)+len(r.Payload.Custom) <= maxCustom {
		maps.Copy(p.Custom, r.Payload.Custom)
	}
	for key, value := range map[string]string{"session_id": r.SessionID, "frame_id": r.FrameID, "object_key": r.ObjectKey} {
		if value != "" {
			p.Custom[key] = value
		}
	}
	return p
}

func newest[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

func (w write) saveItem(ctx context.Context, row db.ReviewItemRow, f event.Flag) error {
	_, err := w.tx.NewUpdate().Model(&row).WherePK().
		Column("severity", "recommended_action", "payload", "flags", "flags_count", "session_id", "config_key", "updated_at").Exec(ctx)
	if err != nil {
		return fmt.Errorf("save review item %s: %w", row.ID, err)
	}
	flag := db.FlagRow{
		ID: f.ID, ItemID: row.ID, Type: f.Type, EntityType: f.EntityType, EntityID: f.EntityID, EntityCreatorID: row.EntityCreatorID,
		Reason: f.Reason, UserID: f.UserID, FrameID: f.FrameID, Score: f.Score, ActionID: f.ActionID, CreatedAt: db.At(f.CreatedAt),
	}
	flag.Labels.V, flag.Result.V, flag.Custom.V = f.Labels, f.Result, f.Custom
	if flag.Custom.V == nil {
		flag.Custom.V = map[string]any{}
	}
	if _, err := w.tx.NewInsert().Model(&flag).Exec(ctx); err != nil {
		return fmt.Errorf("save flag of %s: %w", row.ID, err)
	}
	return nil
}

// tellFlagged tells the backends of the flag and of its item.
func (w write) tellFlagged(ctx context.Context, row db.ReviewItemRow, r FlagRequest, flag event.Flag, known bool) error {
	item, err := w.cfg.DB.ReviewItem(ctx, row.ID, w.now)
	if err != nil {
		return err
	}
	if r.UserID != "" {
		user, by, err := w.people(ctx)
		if err != nil {
			return err
		}
		custom := map[string]any{}
		maps.Copy(custom, r.Custom)
		maps.Copy(custom, w.custom())
		custom["review_queue_item_id"] = item.ID
		err = w.public(ctx, event.UserFlagged, event.UserFlag{
			Type: event.UserFlagged, CreatedAt: w.now, User: by, TargetUser: user, Reason: r.Reason,
			TotalFlags: item.EntityCreator.FlaggedCount, ReviewQueueItemID: item.ID, Custom: custom,
		})
		if err != nil {
			return err
		}
	}
	err = w.public(ctx, event.ModerationFlagged, event.Flagged{
		Type: event.ModerationFlagged, CreatedAt: w.now, ContentType: r.EntityType, ObjectID: r.EntityID,
	})
	if err != nil {
		return err
	}
	typ := event.ReviewItemNew
	if known {
		typ = event.ReviewItemUpdated
	}
	return w.public(ctx, typ, event.ReviewItemChange{
		Type: typ, CreatedAt: w.now, ReviewQueueItem: thin(item), Flags: []event.Flag{flag}, Custom: map[string]any{},
	})
}

// thin leaves out of an event what makes an item large; the API has it all.
func thin(item event.ReviewItem) event.ReviewItem {
	item.Flags, item.Actions = newest(item.Flags, 20), newest(item.Actions, 20)
	return item
}
