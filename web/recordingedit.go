package web

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/recording"
	"stillwatch/web/api"
)

// playable are the kinds of files that can be joined and cut.
var playable = []string{"movie", "audio", "video"}

// SpliceRecordings orders one file of several of a call.
func (s *Server) SpliceRecordings(ctx context.Context, req api.SpliceRecordingsRequestObject) (api.SpliceRecordingsResponseObject, error) {
	const operation = "SpliceRecordings"
	in := orZero(req.Body)
	by, err := s.checkEdit(ctx, operation, in.UserID, in.RecordingExternalStorage, in.Filename, in.Custom)
	if err != nil {
		return nil, err
	}
	files, err := s.playableFiles(ctx, "files", in.Files...)
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		if f.CID != in.Cid {
			return nil, badField(fmt.Sprintf("files[%d]", i), "must be a file of the call "+in.Cid)
		}
		if (f.Kind == "audio") != (files[0].Kind == "audio") {
			return nil, badField(fmt.Sprintf("files[%d]", i), "must be sound like the others, or pictures like the others")
		}
	}
	rec, err := s.recorder()
	if err != nil {
		return nil, err
	}
	id, err := rec.Splice(ctx, SpliceOrder{
		CID: in.Cid, Files: in.Files, Filename: in.Filename, Storage: in.RecordingExternalStorage, By: by, Custom: in.Custom,
	})
	if err != nil {
		return nil, refusedOrder(err)
	}
	err = s.auditAs(request(ctx), ctx, s.cfg.DB, "recording.splice", in.Cid, map[string]any{"recording_id": id, "files": in.Files})
	return api.SpliceRecordings201JSONResponse{RecordingID: id}, err
}

// TrimRecording orders a clip of a file.
func (s *Server) TrimRecording(ctx context.Context, req api.TrimRecordingRequestObject) (api.TrimRecordingResponseObject, error) {
	const operation = "TrimRecording"
	in := orZero(req.Body)
	by, err := s.checkEdit(ctx, operation, in.UserID, in.RecordingExternalStorage, in.Filename, in.Custom)
	if err != nil {
		return nil, err
	}
	files, err := s.playableFiles(ctx, "file", in.File)
	if err != nil {
		return nil, err
	}
	order := TrimOrder{
		File: in.File, From: secondsOf(in.FromSeconds), To: secondsOf(in.ToSeconds), Filename: in.Filename,
		Storage: in.RecordingExternalStorage, By: by, Custom: in.Custom,
	}
	if order.To <= order.From {
		return nil, badField("to_seconds", "must be above from_seconds")
	}
	if length := files[0].EndedAt.Sub(files[0].StartedAt.Time); order.From >= length {
		return nil, badField("from_seconds", fmt.Sprintf("must be below the file's length of %.3f seconds", length.Seconds()))
	} else if order.To > length {
		order.To = length
	}
	rec, err := s.recorder()
	if err != nil {
		return nil, err
	}
	id, err := rec.Trim(ctx, order)
	if err != nil {
		return nil, refusedOrder(err)
	}
	err = s.auditAs(request(ctx), ctx, s.cfg.DB, "recording.trim", files[0].CID, map[string]any{
		"recording_id": id, "file": in.File, "from_seconds": order.From.Seconds(), "to_seconds": order.To.Seconds(),
	})
	return api.TrimRecording201JSONResponse{RecordingID: id}, err
}

func secondsOf(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// checkEdit checks what orders for new files have in common, and says who
// gives it.
func (s *Server) checkEdit(ctx context.Context, operation, named, storage, filename string, custom map[string]any) (by string, err error) {
	if err := s.checkOrder(ctx, operation, storage, custom); err != nil {
		return "", err
	}
	if err := recording.CheckTemplate(filename); err != nil {
		return "", badField("filename", err.Error()).in(operation)
	}
	if strings.ContainsAny(filename, "/{}") {
		return "", badField("filename", "must be a name, without slashes and braces").in(operation)
	}
	return actor(request(ctx), named)
}

// playableFiles reads files in the order of ids and refuses those that cannot
// be joined or cut. field is what they are called in the request.
func (s *Server) playableFiles(ctx context.Context, field string, ids ...string) ([]db.RecordingFileRow, error) {
	var rows []db.RecordingFileRow
	err := s.cfg.DB.NewSelect().Model(&rows).Where("id IN (?)", bun.List(ids)).Where("deleted_at = 0").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read files of recordings: %w", err)
	}
	out := make([]db.RecordingFileRow, len(ids))
	for i, id := range ids {
		at := slices.IndexFunc(rows, func(r db.RecordingFileRow) bool { return r.ID == id })
		name := field
		if len(ids) > 1 {
			name = fmt.Sprintf("%s[%d]", field, i)
		}
		switch {
		case at < 0:
			return nil, badField(name, "must be the index_id of a file that exists")
		case !slices.Contains(playable, rows[at].Kind):
			return nil, badField(name, "must be a movie or sound, is "+rows[at].Kind)
		case bool(rows[at].Encrypted):
			return nil, badField(name, "must be a file that is not encrypted: this one cannot be read here")
		case len(rows[at].Items.V) > 1:
			return nil, badField(name, "must be a file of one piece, is "+rows[at].Format)
		}
		out[i] = rows[at]
	}
	return out, nil
}

// HoldRecording keeps a run's files from every deletion.
func (s *Server) HoldRecording(ctx context.Context, req api.HoldRecordingRequestObject) (api.HoldRecordingResponseObject, error) {
	in := orZero(req.Body)
	by, err := actor(request(ctx), in.UserID)
	if err != nil {
		return nil, err
	}
	row, err := s.run(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	rec, err := s.recorder()
	if err != nil {
		return nil, err
	}
	if err := rec.Hold(ctx, row.ID, in.Reason, by); err != nil {
		return nil, refusedOrder(err)
	}
	return api.HoldRecording200JSONResponse{}, nil
}

// ReleaseRecording asks for the end of a hold, or confirms it. A backend says
// who does it: it takes two.
func (s *Server) ReleaseRecording(ctx context.Context, req api.ReleaseRecordingRequestObject) (api.ReleaseRecordingResponseObject, error) {
	by, err := actor(request(ctx), orZero(req.Body).UserID)
	if err != nil {
		return nil, err
	}
	if by == systemUser {
		return nil, badField("user_id", "is required with a server token: a hold is released by two persons")
	}
	row, err := s.run(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	rec, err := s.recorder()
	if err != nil {
		return nil, err
	}
	released, err := rec.Release(ctx, row.ID, by)
	if err != nil {
		return nil, refusedOrder(err)
	}
	return api.ReleaseRecording200JSONResponse{Released: released}, nil
}

// RetryRecording goes on with a run that has failed.
func (s *Server) RetryRecording(ctx context.Context, req api.RetryRecordingRequestObject) (api.RetryRecordingResponseObject, error) {
	row, err := s.run(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	rec, err := s.recorder()
	if err != nil {
		return nil, err
	}
	if err := rec.Retry(ctx, row.ID); err != nil {
		return nil, refusedOrder(err)
	}
	return api.RetryRecording200JSONResponse{}, s.auditAs(request(ctx), ctx, s.cfg.DB, "recording.retry", "recording:"+row.ID, nil)
}
