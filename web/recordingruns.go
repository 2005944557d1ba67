package web

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/web/api"
)

// maxRunDetails bounds the files and the steps of one answer about a run.
const maxRunDetails = 1000

// QueryRecordings lists the runs of all calls, newest first.
func (s *Server) QueryRecordings(ctx context.Context, req api.QueryRecordingsRequestObject) (api.QueryRecordingsResponseObject, error) {
	in := req.Params
	p, err := newPage(in.Limit, in.Next)
	if err != nil {
		return nil, err
	}
	var rows []db.RecordingRow
	q := s.cfg.DB.NewSelect().Model(&rows)
	for _, where := range []struct{ column, value string }{
		{"cid", in.Cid}, {"session_id", in.SessionID}, {"type", string(in.RecordingType)}, {"lane", string(in.Lane)}, {"state", string(in.State)},
	} {
		if where.value != "" {
			q = q.Where("? = ?", bun.Ident(where.column), where.value)
		}
	}
	q = overlapping(q, "stopped_at", in.Since, in.Until)
	if err := p.apply(q, "started_at").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read recordings: %w", err)
	}
	rows, next := cut(p, rows, func(r *db.RecordingRow) cursor { return cursor{r.StartedAt.UnixNano(), r.ID} })
	runs, err := s.runBodies(ctx, rows)
	return api.QueryRecordings200JSONResponse{Recordings: runs, Next: next}, err
}

// GetRecording shows a run with all that is known of it.
func (s *Server) GetRecording(ctx context.Context, req api.GetRecordingRequestObject) (api.GetRecordingResponseObject, error) {
	row, err := s.run(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	runs, err := s.runBodies(ctx, []db.RecordingRow{row})
	if err != nil {
		return nil, err
	}
	out := api.GetRecording200JSONResponse{Recording: runs[0], Jobs: []api.RecordingJob{}, Holds: []api.RecordingHold{}}
	var files []db.RecordingFileRow
	err = s.cfg.DB.NewSelect().Model(&files).Where("recording_id = ?", row.ID).Where("deleted_at = 0").
		Order("started_at", "id").Limit(maxRunDetails).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read files of recording %s: %w", row.ID, err)
	}
	if out.Files, err = s.fileBodies(ctx, files); err != nil {
		return nil, err
	}
	var jobs []db.RecordingJobRow
	err = s.cfg.DB.NewSelect().Model(&jobs).Where("recording_id = ?", row.ID).Order("created_at", "kind", "n").Limit(maxRunDetails).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read jobs of recording %s: %w", row.ID, err)
	}
	for _, j := range jobs {
		out.Jobs = append(out.Jobs, api.RecordingJob{
			ID: j.ID, Kind: j.Kind, N: j.N, State: api.RecordingJobState(j.State), Worker: j.Worker, Attempts: j.Attempts, Error: j.Error,
			CreatedAt: j.CreatedAt.Time, UpdatedAt: j.UpdatedAt.Time,
		})
	}
	var holds []db.RecordingHoldRow
	if err := s.cfg.DB.NewSelect().Model(&holds).Where("recording_id = ?", row.ID).Order("placed_at", "id").Limit(maxRunDetails).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read holds of recording %s: %w", row.ID, err)
	}
	for _, h := range holds {
		out.Holds = append(out.Holds, api.RecordingHold{
			ID: h.ID, Reason: h.Reason, PlacedBy: h.PlacedBy, PlacedAt: h.PlacedAt.Time,
			ReleaseAskedBy: h.ReleaseAskedBy, ReleaseAskedAt: instantOrNil(h.ReleaseAskedAt),
			ReleasedBy: h.ReleasedBy, ReleasedAt: instantOrNil(h.ReleasedAt),
		})
	}
	return out, nil
}

func (s *Server) run(ctx context.Context, id string) (db.RecordingRow, error) {
	var row db.RecordingRow
	err := s.cfg.DB.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	if db.IsNotFound(err) {
		return row, notFound("recording", id)
	}
	if err != nil {
		return row, fmt.Errorf("read recording %s: %w", id, err)
	}
	return row, nil
}

func (s *Server) runBodies(ctx context.Context, rows []db.RecordingRow) ([]api.RecordingRun, error) {
	runs, ids := []api.RecordingRun{}, []string{}
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	held, err := s.held(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		run := api.RecordingRun{
			ID: r.ID, CallCid: r.CID, SessionID: r.SessionID, RecordingType: api.RecordingRunRecordingType(r.Type),
			Lane: api.RecordingRunLane(r.Lane), State: api.RecordingRunState(r.State), Storage: r.Storage, Custom: orEmptyMap(r.Custom.V),
			RequestedBy: r.RequestedBy, Mandatory: bool(r.Mandatory), Flagged: bool(r.Flagged), Hold: held[r.ID],
			StartedAt: r.StartedAt.Time, StoppedAt: instantOrNil(r.StoppedAt), FinishedAt: instantOrNil(r.FinishedAt),
			CreatedAt: r.CreatedAt.Time, UpdatedAt: r.UpdatedAt.Time, Node: r.Node, Plan: recording.Public(r.Plan.V),
		}
		if r.State == db.RecordingOn {
			run.WaitsUntil = instantOrNil(r.ArmedUntil)
		}
		if r.ErrorCode != 0 || r.Error != "" {
			run.Error = &event.RecordingError{Code: r.ErrorCode, Message: r.Error}
		}
		runs = append(runs, run)
	}
	return runs, nil
}

// held tells which of the runs are held.
func (s *Server) held(ctx context.Context, ids []string) (map[string]bool, error) {
	out := map[string]bool{}
	if len(ids) == 0 {
		return out, nil
	}
	var found []string
	err := s.cfg.DB.NewSelect().Model((*db.RecordingHoldRow)(nil)).Column("recording_id").Distinct().
		Where("recording_id IN (?)", bun.List(ids)).Where("released_at = 0").Scan(ctx, &found)
	if err != nil {
		return nil, fmt.Errorf("read holds: %w", err)
	}
	for _, id := range found {
		out[id] = true
	}
	return out, nil
}
