package recorder

import (
	"context"
	"fmt"

	"stillwatch/internal/db"
	"stillwatch/recording"
)

// Desk takes the orders of those who may give them: the API's.
type Desk struct{ r *Recorder }

// Desk is where orders are given.
func (r *Recorder) Desk() Desk { return Desk{r} }

// Start begins a run by order, or arms the recorder for the call's next
// session. A second start of a type returns the run that is on.
func (d Desk) Start(ctx context.Context, o recording.Order) (egressID string, err error) {
	return d.r.order(ctx, o)
}

// Stop ends the runs of a type that were ordered or began by themselves. Those
// of the evidence lane are the policy's.
func (d Desk) Stop(ctx context.Context, cid, recordingType, by string) error {
	return d.r.stop(ctx, cid, recordingType, by)
}

// Splice joins files of one call into a new one.
func (d Desk) Splice(ctx context.Context, o recording.SpliceOrder) (recordingID string, err error) {
	return d.r.splice(ctx, o)
}

// Trim makes a clip of a file.
func (d Desk) Trim(ctx context.Context, o recording.TrimOrder) (recordingID string, err error) {
	return d.r.trim(ctx, o)
}

// Retry goes on with a recording that has failed.
func (d Desk) Retry(ctx context.Context, recordingID string) error {
	var run db.RecordingRow
	err := d.r.cfg.DB.NewSelect().Model(&run).Where("id = ?", recordingID).Scan(ctx)
	switch {
	case db.IsNotFound(err):
		return recording.ErrUnknown
	case err != nil:
		return fmt.Errorf("read recording %s: %w", recordingID, err)
	case run.State != db.RecordingFailed:
		return recording.ErrNotFailed
	}
	return d.r.Retry(ctx, recordingID)
}

// Hold keeps a recording's files from deletion by whatever path: retention,
// order, erasure.
func (d Desk) Hold(ctx context.Context, recordingID, reason, by string) error {
	return d.r.hold(ctx, recordingID, reason, by)
}

// Release takes all holds off a recording: the first who asks is noted, and
// somebody else confirms.
func (d Desk) Release(ctx context.Context, recordingID, by string) (released bool, err error) {
	return d.r.releaseHolds(ctx, recordingID, by)
}

// Delete removes a file and its objects now.
func (d Desk) Delete(ctx context.Context, fileID, by string) error {
	return d.r.deleteByID(ctx, fileID, by)
}
