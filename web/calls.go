package web

import (
	"context"
	"fmt"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// membersInList bounds the members that a list shows of each call.
const membersInList = 25

// GetOrCreateCall answers with the call and makes it first if there is none.
// A call that has ended is answered as it is; one that was deleted is not
// made anew.
func (s *Server) GetOrCreateCall(ctx context.Context, req api.GetOrCreateCallRequestObject) (api.GetOrCreateCallResponseObject, error) {
	in, who, cid := orZero(req.Body), callerOf(ctx), req.Type+":"+req.ID
	if err := s.mayEnter(ctx, who, cid); err != nil {
		return nil, err
	}
	row, err := s.call(ctx, cid)
	created := false
	if db.IsNotFound(err) {
		n, err := newCallFrom(who, req.Type, req.ID, in.Data)
		if err != nil {
			return nil, err
		}
		if err := s.checkReach(n.override, "data.settings_override"); err != nil {
			return nil, err
		}
		if created, err = s.createCall(ctx, n); err != nil {
			return nil, err
		}
		row, err = s.existingCall(ctx, req.Type, req.ID)
		if err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	state, err := s.callState(ctx, row, in.MembersLimit)
	if err != nil {
		return nil, err
	}
	sendETag(ctx, callETag(row))
	answer := api.GetOrCreateCallResponse{
		Call: state.Call, Members: state.Members, OwnCapabilities: state.OwnCapabilities, Created: created,
	}
	if created {
		return api.GetOrCreateCall201JSONResponse(answer), nil
	}
	return api.GetOrCreateCall200JSONResponse(answer), nil
}

// GetCall answers with a call to those who may enter it.
func (s *Server) GetCall(ctx context.Context, req api.GetCallRequestObject) (api.GetCallResponseObject, error) {
	if err := s.mayEnter(ctx, callerOf(ctx), req.Type+":"+req.ID); err != nil {
		return nil, err
	}
	row, err := s.existingCall(ctx, req.Type, req.ID)
	if err != nil {
		return nil, err
	}
	answer, err := s.callAnswer(ctx, row, req.Params.MembersLimit)
	return api.GetCall200JSONResponse(answer), err
}

// mayEnter refuses a user whose token is for other calls, or who is banned.
func (s *Server) mayEnter(ctx context.Context, id auth.Identity, cid string) error {
	if id.Server {
		return nil
	}
	if !id.MayJoin(cid) {
		return forbidden("the token is not good for the call %s", cid)
	}
	return refuseBanned(ctx, s.cfg.DB, s.cfg.Now(), id.UserID, cid)
}

// call reads a call; db.IsNotFound tells that there is none, or that it was
// deleted.
func (s *Server) call(ctx context.Context, cid string) (db.CallRow, error) {
	var row db.CallRow
	err := s.cfg.DB.NewSelect().Model(&row).Where("cid = ?", cid).Where("deleted_at = 0").Scan(ctx)
	return row, err
}

// existingCall reads a call that must be there.
func (s *Server) existingCall(ctx context.Context, callType, id string) (db.CallRow, error) {
	cid := callType + ":" + id
	row, err := s.call(ctx, cid)
	if db.IsNotFound(err) {
		return row, notFound("call", cid)
	}
	if err != nil {
		return row, fmt.Errorf("read call %s: %w", cid, err)
	}
	return row, nil
}

// refuseEnded refuses to begin anything in a call that is over.
func refuseEnded(call db.CallRow) error {
	if call.EndedAt.IsZero() {
		return nil
	}
	return badInput("the call %s has ended", call.CID)
}

// callETag is the entity tag of what can be edited of a call.
func callETag(row db.CallRow) string {
	return etag(row.UpdatedAt.Time, []any{row.CID, row.Team, row.Custom.V, row.Settings.V, row.StartsAt.Time, row.EndedAt.Time})
}

// callAnswer is the answer about one call, with its ETag in the header.
func (s *Server) callAnswer(ctx context.Context, row db.CallRow, membersLimit int) (api.CallResponse, error) {
	state, err := s.callState(ctx, row, membersLimit)
	if err != nil {
		return api.CallResponse{}, err
	}
	sendETag(ctx, callETag(row))
	return api.CallResponse{Call: state.Call, Members: state.Members, OwnCapabilities: state.OwnCapabilities}, nil
}

func (s *Server) callState(ctx context.Context, row db.CallRow, membersLimit int) (api.CallState, error) {
	if membersLimit <= 0 || membersLimit > maxLimit {
		membersLimit = maxLimit
	}
	states, err := s.callStates(ctx, []db.CallRow{row}, membersLimit)
	if err != nil {
		return api.CallState{}, err
	}
	return states[0], nil
}

// callStates shows calls with their members and what the caller may do in
// each.
func (s *Server) callStates(ctx context.Context, rows []db.CallRow, membersLimit int) ([]api.CallState, error) {
	bodies, err := s.cfg.DB.CallBodies(ctx, rows...)
	if err != nil {
		return nil, err
	}
	cids := make([]string, len(rows))
	for i, row := range rows {
		cids[i] = row.CID
	}
	members, err := s.cfg.DB.MembersOf(ctx, membersLimit, cids...)
	if err != nil {
		return nil, err
	}
	ids := map[string][]string{}
	for cid, list := range members {
		for _, m := range list {
			ids[cid] = append(ids[cid], m.UserID)
		}
	}
	users, err := s.cfg.DB.UsersInCalls(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]api.CallState, len(rows))
	for i, row := range rows {
		have, err := s.capabilitiesIn(ctx, callerOf(ctx), row)
		if err != nil {
			return nil, err
		}
		out[i] = api.CallState{Call: bodies[i], Members: memberBodies(members[row.CID], users[row.CID]), OwnCapabilities: have}
	}
	return out, nil
}

// memberBodies are members as answers show them.
func memberBodies(rows []db.MemberRow, users map[string]event.User) []api.Member {
	out := make([]api.Member, 0, len(rows))
	for _, m := range db.PublicMembers(rows, users) {
		out = append(out, api.Member{
			UserID: m.UserID, Role: m.Role, User: m.User, Custom: m.Custom, CreatedAt: m.CreatedAt, UpdatedAt: m.UpdatedAt,
		})
	}
	return out
}
