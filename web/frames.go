package web

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/web/api"
)

// ListFrames gives the frames that still exist, newest first, with the URL
// that opens each until it is deleted.
func (s *Server) ListFrames(ctx context.Context, req api.ListFramesRequestObject) (api.ListFramesResponseObject, error) {
	in := req.Params
	p, err := newPage(in.Limit, in.Next)
	if err != nil {
		return nil, err
	}
	if in.Cid == "" && in.UserID == "" {
		return nil, badField("cid", "or user_id is required")
	}
	var rows []db.FrameRow
	q := p.apply(s.cfg.DB.NewSelect().Model(&rows).Where("deleted_at = 0"), "captured_at")
	if err := whereGiven(q, in.Cid, in.UserID).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read frames: %w", err)
	}
	rows, next := cut(p, rows, func(r *db.FrameRow) cursor { return cursor{r.CapturedAt.UnixNano(), r.ID} })
	verdicts, err := s.verdictsOf(ctx, rows)
	if err != nil {
		return nil, err
	}
	frames := []api.Frame{}
	for _, r := range rows {
		frames = append(frames, s.frameBody(r, verdicts[r.ID]))
	}
	return api.ListFrames200JSONResponse{Frames: frames, Next: next}, nil
}

// heldURLLife is the life of the URL of a frame that is kept without end.
const heldURLLife = 24 * time.Hour

func (s *Server) frameBody(r db.FrameRow, v *api.FrameVerdict) api.Frame {
	until := r.ExpiresAt.Time
	if bool(r.Hold) || until.IsZero() {
		until = s.cfg.Now().Add(heldURLLife)
	}
	return api.Frame{
		ID: r.ID, CallCid: r.CID, SessionID: r.SessionID, EgressID: r.EgressID, UserID: r.UserID,
		TrackType: r.TrackType, Codec: r.Codec, CapturedAt: r.CapturedAt.Time, URL: s.cfg.Signer.SignGet(r.ObjectKey, until),
		Sha256: r.SHA256, Width: r.Width, Height: r.Height, Bytes: r.Bytes, ExpiresAt: r.ExpiresAt.Time,
		Hold: bool(r.Hold), Verdict: v,
	}
}

// verdictsOf returns the verdicts of the frames, by frame.
func (s *Server) verdictsOf(ctx context.Context, frames []db.FrameRow) (map[string]*api.FrameVerdict, error) {
	out := map[string]*api.FrameVerdict{}
	if len(frames) == 0 {
		return out, nil
	}
	ids := make([]string, len(frames))
	for i, f := range frames {
		ids[i] = f.ID
	}
	var rows []db.VerdictRow
	err := s.cfg.DB.NewSelect().Model(&rows).Where("frame_id IN (?)", bun.List(ids)).Order("at", "id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read verdicts: %w", err)
	}
	for _, r := range rows {
		out[r.FrameID] = &api.FrameVerdict{
			State: r.State, Reason: r.Reason, Scores: jsonOr(r.Scores.V, "[]"), Models: jsonOr(r.Models.V, "[]"),
			Reused: bool(r.Reused), At: r.At.Time,
		}
	}
	return out, nil
}

// whereGiven narrows to a call and a user; either may be "".
func whereGiven(q *bun.SelectQuery, cid, userID string) *bun.SelectQuery {
	if cid != "" {
		q = q.Where("cid = ?", cid)
	}
	if userID != "" {
		q = q.Where("user_id = ?", userID)
	}
	return q
}

func jsonOr(raw json.RawMessage, empty string) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return json.RawMessage(empty)
	}
	return raw
}
