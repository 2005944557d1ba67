package recorder

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
)

// sealed tells whether what is stored of a run is encrypted to a key: then
// what was made of it on the way is not kept for longer than it is worked on.
func sealed(run db.RecordingRow) bool {
	t := task{run: run}
	return t.readPlan() == nil && t.plan.EncryptTo != ""
}

// cleanSealed removes what was made of a sealed recording that has failed, as
// long as there is something to make it of again. A retry that comes at the
// same time waits, and then begins from there.
func (r *Recorder) cleanSealed(ctx context.Context, recordingID string) error {
	// Mostly it has not failed, and a sweep writes nothing.
	failed, err := r.cfg.DB.NewSelect().Model((*db.RecordingRow)(nil)).Where("id = ?", recordingID).Where("state = ?", db.RecordingFailed).Exists(ctx)
	if err != nil {
		return fmt.Errorf("read recording %s: %w", recordingID, err)
	}
	if !failed {
		return nil
	}
	return r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		// The update comes first: on PostgreSQL it is what locks the row.
		_, err := tx.NewUpdate().Model((*db.RecordingRow)(nil)).Set("updated_at = updated_at").Where("id = ?", recordingID).Exec(ctx)
		if err != nil {
			return fmt.Errorf("lock recording %s: %w", recordingID, err)
		}
		var run db.RecordingRow
		err = tx.NewSelect().Model(&run).Where("id = ?", recordingID).Where("state = ?", db.RecordingFailed).Scan(ctx)
		if db.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read recording %s: %w", recordingID, err)
		}
		if !sealed(run) || !r.canBegin(ctx, tx, run) {
			return nil
		}
		return r.clean(run.ID)
	})
}

// canBegin tells whether a recording can be made again from its packets: those
// that lie here, or those that are handed over.
func (r *Recorder) canBegin(ctx context.Context, tx bun.IDB, run db.RecordingRow) bool {
	if row, err := shared(ctx, tx, run.SessionID, db.HandoverReady); err != nil || row != nil {
		return err == nil
	}
	_, err := r.openRaw(run.SessionID)
	return err == nil
}
