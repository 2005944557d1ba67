package web

import (
	"context"
	"fmt"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

type clock func() time.Time

type recordingRequest struct {
	ExternalStorage string `json:"recording_external_storage"`
}

func (s *Server) startFrameRecording(c echo.Context) error {
	return s.changeFrameRecording(c, "StartFrameRecording", CapStartFrames, true)
}

func (s *Server) stopFrameRecording(c echo.Context) error {
	return s.changeFrameRecording(c, "StopFrameRecording", CapStopFrames, false)
}

// changeFrameRecording is idempotent: starting what runs and stopping what
// does not is a success that changes nothing.
func (s *Server) changeFrameRecording(c echo.Context, operation, capability string, on bool) error {
	var req recordingRequest
	if err := decode(c, &req); err != nil {
		return err
	}
	if req.ExternalStorage != "" {
		return badField("recording_external_storage", "is not supported by this version").in(operation)
	}
	call, err := s.existingCall(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	if err := s.permit(ctx, caller(c), call, capability); err != nil {
		return err
	}
	frames, err := FrameSettings(call.Settings.V)
	if err != nil {
		return err
	}
	if on && frames.Mode == ModeDisabled {
		e := badField("settings.frame_recording.mode", "is disabled for this call")
		e.Message = "frame recording is disabled"
		return e.in(operation)
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		changed, err := setFrameRecording(ctx, s.cfg.DB, tx, s.cfg.Now(), call.CID, on)
		if err != nil || !changed {
			return err
		}
		return s.auditAs(c, ctx, tx, operation, call.CID, nil)
	})
	if err != nil {
		return err
	}
	return s.ok(c, nil)
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
	settings, err = FrameSettings(row.Settings.V)
	return row.FrameEgressID != "", row.FrameEgressID, settings, err
}
