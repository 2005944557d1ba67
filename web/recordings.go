package web

import (
	"context"
	"net/http"

	"stillwatch/internal/db"
	"stillwatch/web/api"
)

// Full recordings are not in this version. Who may, and whether the call
// allows it, is checked all the same, so that a backend learns its mistakes.

// StartRecording refuses: by permission, by the call's settings, or because
// there is no recorder.
func (s *Server) StartRecording(ctx context.Context, req api.StartRecordingRequestObject) (api.StartRecordingResponseObject, error) {
	return nil, s.startRecording(ctx, req.Type, req.ID, string(req.RecordingType))
}

// StopRecording stops a recording. There is none, so that it changes nothing.
func (s *Server) StopRecording(ctx context.Context, req api.StopRecordingRequestObject) (api.StopRecordingResponseObject, error) {
	return api.StopRecording200JSONResponse{}, s.stopRecording(ctx, req.Type, req.ID)
}

// StartCompositeRecording is StartRecording by its older path.
func (s *Server) StartCompositeRecording(ctx context.Context, req api.StartCompositeRecordingRequestObject) (api.StartCompositeRecordingResponseObject, error) {
	return nil, s.startRecording(ctx, req.Type, req.ID, "composite")
}

// StopCompositeRecording is StopRecording by its older path.
func (s *Server) StopCompositeRecording(ctx context.Context, req api.StopCompositeRecordingRequestObject) (api.StopCompositeRecordingResponseObject, error) {
	return api.StopCompositeRecording200JSONResponse{}, s.stopRecording(ctx, req.Type, req.ID)
}

func (s *Server) startRecording(ctx context.Context, callType, id, kind string) error {
	const operation = "StartRecording"
	call, err := s.callAt(ctx, callType, id, CapStartRecording)
	if err != nil {
		return err
	}
	settings, err := readSettings(call.Settings.V)
	if err != nil {
		return err
	}
	mode, field := settings.Recording.Mode, "recording"
	switch kind {
	case "individual":
		mode, field = settings.IndividualRecording.Mode, "individual_recording"
	case "raw":
		mode, field = settings.RawRecording.Mode, "raw_recording"
	}
	if mode == ModeDisabled {
		e := badField("settings."+field+".mode", "is disabled for this call")
		e.Message = kind + " recording is disabled"
		return e.in(operation)
	}
	return fail(http.StatusNotImplemented, CodeNoRecording, "recording is not available in this version").in(operation)
}

// stopRecording keeps callers from stopping what their profile makes
// mandatory; a backend may.
func (s *Server) stopRecording(ctx context.Context, callType, id string) error {
	call, err := s.callAt(ctx, callType, id, CapStopRecording)
	if err != nil {
		return err
	}
	if call.RecordingDecision.V.Mandatory && !callerOf(ctx).Server {
		return forbidden("the recording of %s is mandatory: only a server token may stop it", call.CID).in("StopRecording")
	}
	return nil
}

// ListRecordings lists the recordings of a call that the caller may enter.
// There are none in this version.
func (s *Server) ListRecordings(ctx context.Context, req api.ListRecordingsRequestObject) (api.ListRecordingsResponseObject, error) {
	cid := req.Type + ":" + req.ID
	if err := s.mayEnter(ctx, callerOf(ctx), cid); err != nil {
		return nil, err
	}
	if _, err := s.call(ctx, cid); db.IsNotFound(err) {
		return nil, notFound("call", cid)
	} else if err != nil {
		return nil, err
	}
	return api.ListRecordings200JSONResponse{Recordings: []api.CallRecording{}}, nil
}

// DeleteRecording finds nothing to delete in this version.
func (s *Server) DeleteRecording(_ context.Context, req api.DeleteRecordingRequestObject) (api.DeleteRecordingResponseObject, error) {
	return nil, notFound("recording", req.Filename)
}
