package db

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/event"
)

// maxItemActions bounds the decisions that an item shows; the newest.
const maxItemActions = 50

// maxItemBans bounds the bans that an item shows.
const maxItemBans = 50

// ReviewItem returns an item as API answers and public events show it at the
// moment now. sql.ErrNoRows is wrapped when there is none (see IsNotFound).
func (d *DB) ReviewItem(ctx context.Context, id string, now time.Time) (event.ReviewItem, error) {
	var row ReviewItemRow
	if err := d.reader(ctx).NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); err != nil {
		return event.ReviewItem{}, fmt.Errorf("read review item %s: %w", id, err)
	}
	items, err := d.ReviewItems(ctx, []ReviewItemRow{row}, now)
	if err != nil {
		return event.ReviewItem{}, err
	}
	return items[0], nil
}

// ReviewItems is ReviewItem for many rows, with one query of each kind.
func (d *DB) ReviewItems(ctx context.Context, rows []ReviewItemRow, now time.Time) ([]event.ReviewItem, error) {
	items := make([]event.ReviewItem, 0, len(rows))
	if len(rows) == 0 {
		return items, nil
	}
	c, err := d.reviewContext(ctx, rows, now)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		item, err := reviewItem(r)
		if err != nil {
			return nil, err
		}
		c.complete(&item, r, now)
		items = append(items, item)
	}
	return items, nil
}

// reviewItem is what the row alone knows.
func reviewItem(r ReviewItemRow) (event.ReviewItem, error) {
	item := event.ReviewItem{
		ID: r.ID, CreatedAt: r.CreatedAt.Time, UpdatedAt: r.UpdatedAt.Time, EntityType: r.EntityType,
		EntityID: r.EntityID, EntityCreatorID: r.EntityCreatorID, Status: r.Status,
		RecommendedAction: r.RecommendedAction, Severity: r.Severity, FlagsCount: r.FlagsCount,
		Languages: orEmpty(r.Languages.V), Teams: orEmpty(r.Teams.V), ConfigKey: r.ConfigKey,
		ReviewedAt: r.ReviewedAt.Time, ReviewedBy: r.ReviewedBy, CompletedAt: r.CompletedAt.Time,
		LatestModeratorAction: r.LatestAction, Escalated: bool(r.Escalated), EscalatedBy: r.EscalatedBy,
		EscalatedAt: r.EscalatedAt.Time, Actions: []event.ReviewAction{}, Bans: []event.ReviewBan{},
	}
	if item.Escalated {
		item.EscalationMetadata = r.Escalation.V
	}
	if err := json.Unmarshal(r.Payload.V, &item.ModerationPayload); err != nil {
		return item, fmt.Errorf("read review item %s: %w", r.ID, err)
	}
	item.ModerationPayload = item.ModerationPayload.Filled()
	if err := json.Unmarshal(r.Flags.V, &item.Flags); err != nil {
		return item, fmt.Errorf("read flags of %s: %w", r.ID, err)
	}
	item.Flags = orEmpty(item.Flags)
	for i, f := range item.Flags {
		item.Flags[i].Labels, item.Flags[i].Result = orEmpty(f.Labels), orEmpty(f.Result)
	}
	item.FlagsCount = max(item.FlagsCount, len(item.Flags))
	return item, nil
}

// reviewContext is what stands around items.
type reviewContext struct {
	users   map[string]event.User
	calls   map[string]*event.ReviewCall
	bans    map[string][]BanRow
	banned  map[string]int
	flagged map[string]int
	decided map[string][]event.ReviewAction
	appeals map[string]AppealRow
}

func (d *DB) reviewContext(ctx context.Context, rows []ReviewItemRow, now time.Time) (c reviewContext, err error) {
	var ids, creators, people, cids []string
	for _, r := range rows {
		ids, creators, people = append(ids, r.ID), append(creators, r.EntityCreatorID), append(people, r.EntityCreatorID)
		if r.AssignedTo != "" {
			people = append(people, r.AssignedTo)
		}
		if r.EntityType == event.EntityCall {
			cids = append(cids, r.EntityID)
		}
	}
	if c.users, err = d.UsersIn(ctx, "", people...); err != nil {
		return c, err
	}
	if c.calls, err = d.reviewCalls(ctx, cids); err != nil {
		return c, err
	}
	if c.bans, err = d.reviewBans(ctx, creators, now); err != nil {
		return c, err
	}
	if c.banned, err = d.countBy(ctx, (*BanRow)(nil), "user_id", creators); err != nil {
		return c, err
	}
	if c.flagged, err = d.countBy(ctx, (*FlagRow)(nil), "entity_creator_id", creators); err != nil {
		return c, err
	}
	if c.decided, err = d.reviewActions(ctx, ids); err != nil {
		return c, err
	}
	c.appeals, err = d.reviewAppeals(ctx, ids)
	return c, err
}

// complete fills in what the row alone does not know.
func (c reviewContext) complete(item *event.ReviewItem, r ReviewItemRow, now time.Time) {
	creator := r.EntityCreatorID
	item.EntityCreator = event.EntityCreator{User: c.users[creator], BanCount: c.banned[creator], FlaggedCount: c.flagged[creator]}
	if r.EntityType == event.EntityCall {
		item.Call = c.calls[r.EntityID]
	}
	item.EntityCreator.Banned, item.EntityCreator.ShadowBanned = false, false
	for _, b := range c.bans[creator] {
		if b.CID == "" { // as of now, which need not be the database's
			item.EntityCreator.Banned = item.EntityCreator.Banned || !bool(b.Shadow)
			item.EntityCreator.ShadowBanned = item.EntityCreator.ShadowBanned || bool(b.Shadow)
		}
		if b.CID == "" || b.CID == r.EntityID {
			item.Bans = append(item.Bans, event.ReviewBan{
				ID: b.ID, TargetUserID: b.UserID, BannedByID: b.ByUserID, ChannelCID: b.CID, Reason: b.Reason,
				Shadow: bool(b.Shadow), Expires: b.ExpiresAt.Time, CreatedAt: b.CreatedAt.Time,
			})
		}
	}
	if list := c.decided[r.ID]; list != nil {
		item.Actions = list
	}
	if r.AssignedTo != "" && r.LockExpiresAt.After(now) {
		u := c.users[r.AssignedTo]
		item.AssignedTo, item.LockExpiresAt = &u, r.LockExpiresAt.Time
	}
	if a, ok := c.appeals[r.ID]; ok {
		appeal := PublicAppeal(a, c.users[creator])
		item.Appeal = &appeal
	}
}

func (d *DB) reviewCalls(ctx context.Context, cids []string) (map[string]*event.ReviewCall, error) {
	out := map[string]*event.ReviewCall{}
	if len(cids) == 0 {
		return out, nil
	}
	var rows []CallRow
	if err := d.reader(ctx).NewSelect().Model(&rows).Where("cid IN (?)", bun.List(cids)).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read calls of review items: %w", err)
	}
	for _, r := range rows {
		out[r.CID] = &event.ReviewCall{CID: r.CID, ID: r.ID, Type: r.Type, BlockedUserIDs: orEmpty(r.BlockedUserIDs.V)}
	}
	return out, nil
}

func (d *DB) reviewBans(ctx context.Context, userIDs []string, now time.Time) (map[string][]BanRow, error) {
	var rows []BanRow
	err := d.reader(ctx).NewSelect().Model(&rows).Where("user_id IN (?)", bun.List(userIDs)).Where("lifted_at = 0").
		Where("(expires_at = 0 OR expires_at > ?)", At(now)).Order("created_at", "id").Limit(maxItemBans * 20).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read bans of review items: %w", err)
	}
	out := map[string][]BanRow{}
	for _, r := range rows {
		if len(out[r.UserID]) < maxItemBans {
			out[r.UserID] = append(out[r.UserID], r)
		}
	}
	return out, nil
}

// countBy counts the rows of a table for each of the values of a column.
func (d *DB) countBy(ctx context.Context, model any, column string, values []string) (map[string]int, error) {
	var rows []struct {
		Value string
		N     int
	}
	err := d.reader(ctx).NewSelect().Model(model).ColumnExpr("? AS value, count(*) AS n", bun.Ident(column)).
		Where("? IN (?)", bun.Ident(column), bun.List(values)).GroupExpr("?", bun.Ident(column)).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("count %s of %T: %w", column, model, err)
	}
	out := map[string]int{}
	for _, r := range rows {
		out[r.Value] = r.N
	}
	return out, nil
}

// reviewActions reads the newest decisions on each item, oldest of them first.
func (d *DB) reviewActions(ctx context.Context, itemIDs []string) (map[string][]event.ReviewAction, error) {
	var rows []ReviewActionRow
	err := d.reader(ctx).NewSelect().Model(&rows).Where("item_id IN (?)", bun.List(itemIDs)).
		Order("at DESC", "id DESC").Limit(maxItemActions * 20).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read decisions on review items: %w", err)
	}
	out := map[string][]event.ReviewAction{}
	for _, r := range rows {
		if len(out[r.ItemID]) < maxItemActions {
			out[r.ItemID] = append(out[r.ItemID], PublicReviewAction(r))
		}
	}
	for _, list := range out {
		slices.Reverse(list)
	}
	return out, nil
}

// PublicReviewAction is the row in the public shape.
func PublicReviewAction(r ReviewActionRow) event.ReviewAction {
	a := event.ReviewAction{
		ID: r.ID, Type: r.Type, UserID: r.UserID, TargetUserID: r.TargetUserID, Reason: r.Reason,
		Custom: r.Custom.V, CreatedAt: r.At.Time,
	}
	if a.Custom == nil {
		a.Custom = map[string]any{}
	}
	return a
}

// reviewAppeals reads the newest appeal of each item.
func (d *DB) reviewAppeals(ctx context.Context, itemIDs []string) (map[string]AppealRow, error) {
	var rows []AppealRow
	err := d.reader(ctx).NewSelect().Model(&rows).Where("item_id IN (?)", bun.List(itemIDs)).Order("created_at", "id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read appeals of review items: %w", err)
	}
	out := map[string]AppealRow{}
	for _, r := range rows {
		out[r.ItemID] = r
	}
	return out, nil
}

// PublicAppeal is the row in the public shape.
func PublicAppeal(r AppealRow, user event.User) event.Appeal {
	return event.Appeal{
		ID: r.ID, AppealReason: r.Reason, Attachments: orEmpty(r.Attachments.V), EntityType: r.EntityType, EntityID: r.EntityID,
		Status: r.Status, DecisionReason: r.DecisionReason, User: user, ReviewedBy: r.ReviewedBy,
		ReviewQueueItemID: r.ItemID, CreatedAt: r.CreatedAt.Time, UpdatedAt: r.UpdatedAt.Time,
	}
}
