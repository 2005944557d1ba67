package web

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

type clock func() time.Time

// StartFrameRecording is idempotent: starting what runs is a success that
// changes nothing, the storage included.
func (s *Server) StartFrameRecording(ctx context.Context, req api.StartFrameRecordingRequestObject) (api.StartFrameRecordingResponseObject, error) {
	const operation = "StartFrameRecording"
	call, err := s.callAt(ctx, req.Type, req.ID, CapStartFrames)
	if err != nil {
		return nil, err
	}
	if err := refuseEnded(call); err != nil {
		return nil, err
	}
	storage := orZero(req.Body).RecordingExternalStorage
	if err := s.checkStorage(ctx, operation, storage); err != nil {
		return nil, err
	}
	frames, _, err := LiveSettings(call.Settings.V)
	if err != nil {
		return nil, err
	}
	if frames.Mode == ModeDisabled {
		e := badField("settings.frame_recording.mode", "is disabled for this call")
		e.Message = "frame recording is disabled"
		return nil, e.in(operation)
	}
	return api.StartFrameRecording200JSONResponse{}, s.changeFrameRecording(ctx, operation, call.CID, storage, true)
}

// StopFrameRecording is idempotent as well.
func (s *Server) StopFrameRecording(ctx context.Context, req api.StopFrameRecordingRequestObject) (api.StopFrameRecordingResponseObject, error) {
	call, err := s.callAt(ctx, req.Type, req.ID, CapStopFrames)
	if err != nil {
		return nil, err
	}
	return api.StopFrameRecording200JSONResponse{}, s.changeFrameRecording(ctx, "StopFrameRecording", call.CID, "", false)
}

func (s *Server) changeFrameRecording(ctx context.Context, operation, cid, storage string, on bool) error {
	return s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		changed, err := setFrameRecording(ctx, s.cfg.DB, tx, s.cfg.Now(), cid, on)
		if err != nil || !changed {
			return err
		}
		if on {
			_, err := tx.NewUpdate().Model((*db.CallRow)(nil)).Set("frame_storage = ?", storage).Where("cid = ?", cid).Exec(ctx)
			if err != nil {
				return fmt.Errorf("write frame storage of %s: %w", cid, err)
			}
		}
		var detail any
		if storage != "" {
			detail = map[string]string{"recording_external_storage": storage}
		}
		return s.auditAs(request(ctx), ctx, tx, operation, cid, detail)
	})
}

// checkStorage refuses the name of an external storage that does not exist.
func (s *Server) checkStorage(ctx context.Context, operation, name string) error {
	if name == "" {
		return nil
	}
	_, err := db.ExternalStorage(ctx, s.cfg.DB, name)
	if db.IsNotFound(err) {
		return badField("recording_external_storage", "must be the name of an external storage").in(operation)
	}
	return err
}

// setFrameRecording switches the call's frame recording, orders the capture
// nodes and tells backends, all in the transaction of ctx. changed is false
// when it is that way already.
func setFrameRecording(ctx context.Context, d *db.DB, tx bun.Tx, now time.Time, cid string, on bool) (changed bool, err error) {
	var row db.CallRow
	if err := tx.NewSelect().Model(&row).Column("frame_egress_id").Where("cid = ?", cid).Scan(ctx); err != nil {
		return false, fmt.Errorf("read frame recording of %s: %w", cid, err)
	}
	egress, next, typ := row.FrameEgressID, "", event.CallFrameRecordingStopped
	if on {
		egress, typ = event.NewID(), event.CallFrameRecordingStarted
		next = egress
	}
	// The condition makes two requests at once one change.
	res, err := tx.NewUpdate().Model((*db.CallRow)(nil)).Set("frame_egress_id = ?", next).Set("updated_at = ?", db.At(now)).
		Where("cid = ?", cid).Where("(frame_egress_id = '') = ?", on).Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("switch frame recording of %s: %w", cid, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	body, err := d.CallBody(ctx, cid)
	if err != nil {
		return false, err
	}
	order := event.Control{ControlID: event.NewID(), Kind: event.ControlFrameRecording, CID: cid, On: on, EgressID: egress}
	if err := db.Enqueue(ctx, tx, event.TopicControl, event.New(event.TypeControl, cid, now, order)); err != nil {
		return false, err
	}
	public := event.FrameRecordingState{Type: typ, CreatedAt: now.UTC(), CallCID: cid, Call: body, EgressID: egress}
	return true, db.Enqueue(ctx, tx, event.TopicPublic, event.New(typ, cid, now, public))
}

// CallFrames tells a capture node whether frames of the call are to be
// captured, under which egress id, and how. A call that does not exist is
// db.IsNotFound.
func CallFrames(ctx context.Context, d *db.DB, cid string) (on bool, egressID string, settings FrameRecording, err error) {
	var row db.CallRow
	if err := d.NewSelect().Model(&row).Column("frame_egress_id", "settings").Where("cid = ?", cid).Scan(ctx); err != nil {
		return false, "", FrameRecording{}, fmt.Errorf("read frame recording of %s: %w", cid, err)
	}
	settings, _, err = LiveSettings(row.Settings.V)
	return row.FrameEgressID != "", row.FrameEgressID, settings, err
}
