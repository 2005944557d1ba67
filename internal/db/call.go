package db

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/event"
)

// MembersInEvents bounds the members that an event of a call lists.
const MembersInEvents = 100

// EnsureCallType inserts the call type unless one of that name exists, and
// tells whether it did. Times that are unset become now.
func (d *DB) EnsureCallType(ctx context.Context, row CallTypeRow) (created bool, err error) {
	now := At(d.now())
	if row.CreatedAt.IsZero() {
		row.CreatedAt = now
	}
	if row.UpdatedAt.IsZero() {
		row.UpdatedAt = now
	}
	if row.Grants.V == nil {
		row.Grants.V = map[string][]string{}
	}
	if row.NotificationSettings.V == nil {
		row.NotificationSettings.V = map[string]any{"enabled": false}
	}
	res, err := d.reader(ctx).NewInsert().Model(&row).On("CONFLICT (name) DO NOTHING").Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("ensure call type %s: %w", row.Name, err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// TellCallCreated enqueues call.created, in the transaction that made the call.
func (d *DB) TellCallCreated(ctx context.Context, tx bun.Tx, cid string, now time.Time) error {
	body, err := d.CallBody(ctx, cid)
	if err != nil {
		return err
	}
	members, err := d.publicMembers(ctx, cid)
	if err != nil {
		return err
	}
	made := event.CallMade{Type: event.CallCreated, CreatedAt: now.UTC(), CallCID: cid, Call: body, Members: members}
	return Enqueue(ctx, tx, event.TopicPublic, event.New(made.Type, cid, now, made))
}

// TellCallChanged enqueues event.CallUpdated or event.CallDeleted, in the
// transaction of the change.
func (d *DB) TellCallChanged(ctx context.Context, tx bun.Tx, typ, cid string, now time.Time) error {
	body, err := d.CallBody(ctx, cid)
	if err != nil {
		return err
	}
	change := event.CallChange{Type: typ, CreatedAt: now.UTC(), CallCID: cid, Call: body}
	return Enqueue(ctx, tx, event.TopicPublic, event.New(typ, cid, now, change))
}

func (d *DB) publicMembers(ctx context.Context, cid string) ([]event.CallMember, error) {
	members, err := d.MembersOf(ctx, MembersInEvents, cid)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(members[cid]))
	for i, m := range members[cid] {
		ids[i] = m.UserID
	}
	users, err := d.UsersIn(ctx, cid, ids...)
	if err != nil {
		return nil, err
	}
	return PublicMembers(members[cid], users), nil
}

// EndCall notes, in the transaction of ctx, that the call is over for
// everybody, stops its frame recording, and tells backends. It leaves the
// order to close connections (event.ControlEndCall) to the caller. ended is
// false when that was noted before, or there is no such call. byUserID is who
// did it; "" or "system" for the program or the backend.
func (d *DB) EndCall(ctx context.Context, tx bun.Tx, cid, byUserID, reason string, now time.Time) (ended bool, err error) {
	// The update comes first: it holds the row until the commit.
	res, err := tx.NewUpdate().Model((*CallRow)(nil)).Set("ended_at = ?", At(now)).Set("updated_at = ?", At(now)).
		Where("cid = ?", cid).Where("ended_at = 0").Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("end call %s: %w", cid, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	if err := d.stopFrames(ctx, tx, cid, now); err != nil {
		return false, err
	}
	body, err := d.CallBody(ctx, cid)
	if err != nil {
		return false, err
	}
	members, err := d.publicMembers(ctx, cid)
	if err != nil {
		return false, err
	}
	over := event.CallEnding{Type: event.CallEnded, CreatedAt: now.UTC(), CallCID: cid, Call: body, Reason: reason, Members: members}
	if byUserID != "" && byUserID != "system" {
		by, err := d.UserIn(ctx, byUserID, cid)
		if err != nil {
			return false, err
		}
		over.User = &by
	}
	return true, Enqueue(ctx, tx, event.TopicPublic, event.New(over.Type, cid, now, over))
}

// stopFrames switches the call's frame recording off, if it is on.
func (d *DB) stopFrames(ctx context.Context, tx bun.Tx, cid string, now time.Time) error {
	var row CallRow
	if err := tx.NewSelect().Model(&row).Column("frame_egress_id").Where("cid = ?", cid).Scan(ctx); err != nil {
		return fmt.Errorf("read frame recording of %s: %w", cid, err)
	}
	if row.FrameEgressID == "" {
		return nil
	}
	if _, err := tx.NewUpdate().Model((*CallRow)(nil)).Set("frame_egress_id = ''").Where("cid = ?", cid).Exec(ctx); err != nil {
		return fmt.Errorf("stop frame recording of %s: %w", cid, err)
	}
	body, err := d.CallBody(ctx, cid)
	if err != nil {
		return err
	}
	order := event.Control{ControlID: event.NewID(), Kind: event.ControlFrameRecording, CID: cid, EgressID: row.FrameEgressID}
	if err := Enqueue(ctx, tx, event.TopicControl, event.New(event.TypeControl, cid, now, order)); err != nil {
		return err
	}
	const typ = event.CallFrameRecordingStopped
	stopped := event.FrameRecordingState{Type: typ, CreatedAt: now.UTC(), CallCID: cid, Call: body, EgressID: row.FrameEgressID}
	return Enqueue(ctx, tx, event.TopicPublic, event.New(typ, cid, now, stopped))
}
