package web

import (
	"context"
	"fmt"

	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
	"stillwatch/web/api"
)

var participantFields = filter.Fields{
	"user_session_id": {Column: "p.user_session_id", Kind: filter.Text, Sortable: true},
	"user_id":         {Column: "p.user_id", Kind: filter.Text},
	"role":            {Column: "p.role", Kind: filter.Text},
	"joined_at":       {Column: "p.joined_at", Kind: filter.Instant, Sortable: true},
}

// QueryCallParticipants lists who is in the call now: to moderators, and to
// those who are in it themselves. TotalParticipants counts all of them.
func (s *Server) QueryCallParticipants(ctx context.Context, req api.QueryCallParticipantsRequestObject) (api.QueryCallParticipantsResponseObject, error) {
	in, who := orZero(req.Body), callerOf(ctx)
	call, err := s.existingCall(ctx, req.Type, req.ID)
	if err != nil {
		return nil, err
	}
	if !who.Moderates() || !who.MayJoin(call.CID) {
		if err := s.mustBeIn(ctx, who, call); err != nil {
			return nil, err
		}
	}
	p, err := participantFields.Page(nil, []filter.Sort{{Field: "joined_at"}}, req.Params.Limit, in.Next, "", "user_session_id")
	if err != nil {
		return nil, err
	}
	var rows []db.ParticipantRow
	present := s.cfg.DB.NewSelect().Model(&rows).Where("p.session_id = ?", call.CurrentSessionID).Where("p.left_at = 0")
	total, err := present.Clone().Count(ctx)
	if err != nil {
		return nil, fmt.Errorf("count participants of %s: %w", call.CID, err)
	}
	q, err := participantFields.Where(present, in.FilterConditions)
	if err != nil {
		return nil, filtered("filter_conditions", err)
	}
	if err := p.Apply(q).Scan(ctx); err != nil {
		return nil, fmt.Errorf("query participants of %s: %w", call.CID, err)
	}
	rows, next, _ := filter.Cut(p, rows, func(row *db.ParticipantRow, field string) any {
		if field == "joined_at" {
			return row.JoinedAt
		}
		return row.UserSessionID
	})
	state, err := s.callState(ctx, call, 0)
	if err != nil {
		return nil, err
	}
	participants, err := s.participantBodies(ctx, call.CID, rows)
	return api.QueryCallParticipants200JSONResponse{
		Call: state.Call, Members: state.Members, OwnCapabilities: state.OwnCapabilities,
		Participants: participants, TotalParticipants: int(total), Next: next,
	}, err
}

func (s *Server) participantBodies(ctx context.Context, cid string, rows []db.ParticipantRow) ([]api.CallParticipant, error) {
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.UserID
	}
	users, err := s.cfg.DB.UsersIn(ctx, cid, ids...)
	out := make([]api.CallParticipant, len(rows))
	for i, r := range rows {
		out[i] = api.CallParticipant{User: users[r.UserID], UserSessionID: r.UserSessionID, Role: r.Role, JoinedAt: r.JoinedAt.Time}
	}
	return out, err
}
