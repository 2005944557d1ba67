package recorder

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// armedFor is how long after a session's end somebody may come back to the call
// for an order of that session to hold on.
const armedFor = time.Hour

// armAgain keeps an order whose session ended without its being stopped, as
// when everybody lost the connection or the server began anew: the call's next
// session takes it on. A run that began by itself does so again.
func (r *Recorder) armAgain(ctx context.Context, tx bun.Tx, run db.RecordingRow, end time.Time) error {
	until := end.Add(armedFor)
	if run.Lane != db.LaneBusiness || run.ID == event.DeriveID("recording", run.SessionID, run.Type) || !until.After(r.cfg.Now()) {
		return nil
	}
	var call db.CallRow
	err := tx.NewSelect().Model(&call).Where("cid = ?", run.CID).Where("ended_at = 0").Where("deleted_at = 0").Scan(ctx)
	if db.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read call %s: %w", run.CID, err)
	}
	plan, err := r.cfg.Plan(call.Settings.V, call.RecordingDecision.V)
	if err != nil {
		return err
	}
	if modes(plan)[run.Type] == recording.ModeAutoOn {
		return nil
	}
	now := db.At(r.cfg.Now())
	on, err := tx.NewSelect().Model((*db.RecordingRow)(nil)).Where("cid = ?", run.CID).Where("type = ?", run.Type).
		Where("lane = ?", db.LaneBusiness).Where("state = ?", db.RecordingOn).Where("session_id <> ?", run.SessionID).
		Where("(armed_until = 0 OR armed_until > ?)", now).Exists(ctx)
	if err != nil {
		return fmt.Errorf("look for other orders of %s: %w", run.CID, err)
	}
	if on { // it was ordered anew meanwhile
		return nil
	}
	next := run
	next.ID, next.SessionID, next.Node, next.State = event.DeriveID("recording again", run.ID), "", r.cfg.Node, db.RecordingOn
	next.StartedAt, next.CreatedAt, next.UpdatedAt, next.ArmedUntil = now, now, now, db.At(until)
	next.StoppedAt, next.FinishedAt, next.Flagged = db.Time{}, db.Time{}, false
	if _, err := tx.NewInsert().Model(&next).On("CONFLICT (id) DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("keep order %s of %s: %w", run.ID, run.CID, err)
	}
	return nil
}

// tellAgain tells of the orders of an earlier session that this one takes on.
func (l *live) tellAgain(ctx context.Context, tx bun.Tx, now db.Time) error {
	var runs []db.RecordingRow
	err := tx.NewSelect().Model(&runs).Where("cid = ?", l.info.CID).Where("session_id = ''").Where("state = ?", db.RecordingOn).
		Where("armed_until > ?", now).Scan(ctx)
	if err != nil {
		return fmt.Errorf("look for orders of earlier sessions: %w", err)
	}
	for _, run := range runs {
		if err := tellState(ctx, tx, event.CallRecordingStarted, run, now.Time); err != nil {
			return err
		}
	}
	return nil
}

// dropAgain lets a new order take the place of one of an earlier session.
func (r *Recorder) dropAgain(ctx context.Context, tx bun.Tx, cid, typ string) error {
	var runs []db.RecordingRow
	err := tx.NewSelect().Model(&runs).Where("cid = ?", cid).Where("type = ?", typ).Where("session_id = ''").
		Where("state = ?", db.RecordingOn).Where("armed_until > 0").Scan(ctx)
	if err != nil {
		return fmt.Errorf("look for orders of earlier sessions: %w", err)
	}
	for i := range runs {
		if err := r.endRun(ctx, tx, &runs[i], r.cfg.Now()); err != nil {
			return err
		}
	}
	return nil
}
