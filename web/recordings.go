package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"stillwatch/internal/db"
	"stillwatch/recording"
	"stillwatch/web/api"
)

// maxRecordingCustom bounds what comes back with every event about a
// recording, as JSON: an event has 20 kB for everything.
const maxRecordingCustom = 4 << 10

// StartRecording is idempotent: starting what runs is a success that changes
// nothing. Before anybody is in the call it counts for the next session.
func (s *Server) StartRecording(ctx context.Context, req api.StartRecordingRequestObject) (api.StartRecordingResponseObject, error) {
	return api.StartRecording200JSONResponse{}, s.startRecording(ctx, req.Type, req.ID, string(req.RecordingType), orZero(req.Body))
}

// StopRecording is idempotent as well.
func (s *Server) StopRecording(ctx context.Context, req api.StopRecordingRequestObject) (api.StopRecordingResponseObject, error) {
	return api.StopRecording200JSONResponse{}, s.stopRecording(ctx, req.Type, req.ID, string(req.RecordingType))
}

// StartCompositeRecording is StartRecording by its older path.
func (s *Server) StartCompositeRecording(ctx context.Context, req api.StartCompositeRecordingRequestObject) (api.StartCompositeRecordingResponseObject, error) {
	return api.StartCompositeRecording200JSONResponse{}, s.startRecording(ctx, req.Type, req.ID, recording.TypeComposite, orZero(req.Body))
}

// StopCompositeRecording is StopRecording by its older path.
func (s *Server) StopCompositeRecording(ctx context.Context, req api.StopCompositeRecordingRequestObject) (api.StopCompositeRecordingResponseObject, error) {
	return api.StopCompositeRecording200JSONResponse{}, s.stopRecording(ctx, req.Type, req.ID, recording.TypeComposite)
}

func (s *Server) startRecording(ctx context.Context, callType, id, kind string, in api.StartFullRecordingRequest) error {
	const operation = "StartRecording"
	call, err := s.callAt(ctx, callType, id, CapStartRecording)
	if err != nil {
		return err
	}
	if err := refuseEnded(call); err != nil {
		return err
	}
	if err := s.checkOrder(ctx, operation, in.RecordingExternalStorage, in.Custom); err != nil {
		return err
	}
	if err := s.checkDestination(operation, in.Destination); err != nil {
		return err
	}
	if err := mayRecord(call, kind, operation); err != nil {
		return err
	}
	by, err := actor(request(ctx), in.UserID)
	if err != nil {
		return err
	}
	rec, err := s.recorder()
	if err != nil {
		return err
	}
	egress, err := rec.Start(ctx, RecordingOrder{
		CID: call.CID, Type: kind, Storage: in.RecordingExternalStorage, Destination: in.Destination, DestinationMode: string(in.DestinationMode),
		By: by, Custom: in.Custom, Server: callerOf(ctx).Server,
	})
	if err != nil {
		return refusedOrder(err)
	}
	return s.auditAs(request(ctx), ctx, s.cfg.DB, operation, call.CID, map[string]string{
		"recording_type": kind, "egress_id": egress, "recording_external_storage": in.RecordingExternalStorage, "by": by,
	})
}

// mayRecord refuses to record what the call's permissions deny, or what its
// settings have switched off.
func mayRecord(call db.CallRow, kind, operation string) error {
	decided := call.RecordingDecision.V
	plan, err := PlanOf(call.Settings.V, decided)
	if err != nil {
		return err
	}
	if decided.Denied {
		return forbidden("the recording permissions of the %s keep the call %s from being recorded", decided.Source, call.CID).in(operation)
	}
	if mode, field := modeOf(plan, kind); mode == recording.ModeDisabled {
		e := badField("settings."+field+".mode", "is disabled for this call")
		e.Message = kind + " recording is disabled"
		return e.in(operation)
	}
	return nil
}

// checkOrder checks what all orders about recordings have.
func (s *Server) checkOrder(ctx context.Context, operation, storage string, custom map[string]any) error {
	if err := s.checkStorage(ctx, operation, storage); err != nil {
		return err
	}
	if raw, err := json.Marshal(custom); err != nil || len(raw) > maxRecordingCustom {
		return badField("custom", fmt.Sprintf("must be at most %d bytes as JSON", maxRecordingCustom))
	}
	return nil
}

// checkDestination refuses an address that would never be reached.
func (s *Server) checkDestination(operation, destination string) error {
	if destination == "" {
		return nil
	}
	if err := recording.CheckDestination(destination); err != nil {
		return badField("destination", err.Error()).in(operation)
	}
	if s.cfg.CheckURL == nil {
		return nil
	}
	if err := s.cfg.CheckURL(destination); err != nil {
		return badField("destination", "must be an address that may be reached: "+err.Error()).in(operation)
	}
	return nil
}

// stopRecording keeps callers from stopping what their profile makes
// mandatory; a backend may.
func (s *Server) stopRecording(ctx context.Context, callType, id, kind string) error {
	const operation = "StopRecording"
	call, err := s.callAt(ctx, callType, id, CapStopRecording)
	if err != nil {
		return err
	}
	if call.RecordingDecision.V.Mandatory && !callerOf(ctx).Server {
		return forbidden("the recording of %s is mandatory: only a server token may stop it", call.CID).in(operation)
	}
	rec, err := s.recorder()
	if err != nil {
		return err
	}
	by, err := actor(request(ctx), "")
	if err != nil {
		return err
	}
	if err := rec.Stop(ctx, call.CID, kind, by); err != nil {
		return refusedOrder(err)
	}
	return s.auditAs(request(ctx), ctx, s.cfg.DB, operation, call.CID, map[string]string{"recording_type": kind})
}

// DeleteRecording deletes the files of that name in a session of a call, with
// their objects. What is held stays.
func (s *Server) DeleteRecording(ctx context.Context, req api.DeleteRecordingRequestObject) (api.DeleteRecordingResponseObject, error) {
	cid := req.Type + ":" + req.ID
	var rows []db.RecordingFileRow
	err := s.cfg.DB.NewSelect().Model(&rows).Where("cid = ?", cid).Where("session_id = ?", req.Session).
		Where("filename = ?", req.Filename).Where("deleted_at = 0").Order("created_at", "id").Limit(maxLimit).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read recording %s of %s: %w", req.Filename, cid, err)
	}
	if len(rows) == 0 {
		return nil, notFound("recording", req.Filename)
	}
	for _, r := range rows {
		if r.Hold {
			return nil, fail(http.StatusConflict, CodeConflict, "the recording %q is held", req.Filename)
		}
	}
	rec, err := s.recorder()
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if err := rec.Delete(ctx, r.ID, actorOf(ctx)); err != nil {
			return nil, refusedOrder(err)
		}
	}
	return api.DeleteRecording200JSONResponse{}, nil
}
