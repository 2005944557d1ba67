package web

import (
	"context"
	"fmt"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/web/api"
)

// ListParticipants gives who is in the call now: to moderators, and to those
// who are in it themselves.
func (s *Server) ListParticipants(ctx context.Context, req api.ListParticipantsRequestObject) (api.ListParticipantsResponseObject, error) {
	cid := req.Params.Cid
	p, err := newPage(req.Params.Limit, req.Params.Next)
	if err != nil {
		return nil, err
	}
	if _, _, err := splitCID("cid", cid); err != nil {
		return nil, err
	}
	call, err := s.call(ctx, cid)
	if db.IsNotFound(err) {
		return nil, notFound("call", cid)
	}
	if err != nil {
		return nil, err
	}
	if who := callerOf(ctx); !who.Moderates() || !who.MayJoin(cid) {
		if err := s.mustBeIn(ctx, who, call); err != nil {
			return nil, err
		}
	}
	var rows []db.ParticipantRow
	q := s.cfg.DB.NewSelect().Model(&rows).Where("session_id = ?", call.CurrentSessionID).Where("left_at = 0")
	if p.after != nil {
		q = q.Where("user_session_id > ?", p.after.id)
	}
	if err := q.Order("user_session_id").Limit(int64(p.limit) + 1).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read participants of %s: %w", cid, err)
	}
	rows, next := cut(p, rows, func(r *db.ParticipantRow) cursor { return cursor{0, r.UserSessionID} })
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.UserID)
	}
	users, err := s.cfg.DB.UsersIn(ctx, cid, ids...)
	if err != nil {
		return nil, err
	}
	participants := []api.CallParticipant{}
	for _, r := range rows {
		participants = append(participants, api.CallParticipant{User: users[r.UserID], UserSessionID: r.UserSessionID, Role: r.Role, JoinedAt: r.JoinedAt.Time})
	}
	return api.ListParticipants200JSONResponse{Participants: participants, SessionID: call.CurrentSessionID, Next: next}, nil
}

// mustBeIn refuses who is not in the call's present session.
func (s *Server) mustBeIn(ctx context.Context, who auth.Identity, call db.CallRow) error {
	if err := s.mayEnter(ctx, who, call.CID); err != nil {
		return err
	}
	in, err := s.cfg.DB.NewSelect().Model((*db.ParticipantRow)(nil)).Where("session_id = ?", call.CurrentSessionID).
		Where("user_id = ?", who.UserID).Where("left_at = 0").Exists(ctx)
	if err != nil {
		return fmt.Errorf("look for %s in %s: %w", who.UserID, call.CID, err)
	}
	if !in {
		return forbidden("only participants of %s may see who is in it", call.CID)
	}
	return nil
}
