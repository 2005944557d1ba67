package web

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"stillwatch/actions"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// callAt reads the call of the route, for a caller who has the capability.
func (s *Server) callAt(ctx context.Context, callType, id, capability string) (db.CallRow, error) {
	cid := callType + ":" + id
	row, err := s.call(ctx, cid)
	if db.IsNotFound(err) {
		return row, notFound("call", cid)
	}
	if err != nil {
		return row, fmt.Errorf("read call %s: %w", cid, err)
	}
	return row, s.permit(ctx, callerOf(ctx), row, capability)
}

// target is callAt for what is done to a user, with who does it.
func (s *Server) target(ctx context.Context, callType, id, capability, userID, named string) (call db.CallRow, by string, err error) {
	if !validUser(userID) {
		return call, "", badField("user_id", wantUser)
	}
	if call, err = s.callAt(ctx, callType, id, capability); err != nil {
		return call, "", err
	}
	by, err = actor(request(ctx), named)
	return call, by, err
}

// BlockUser keeps the user out of this call and closes their connections.
func (s *Server) BlockUser(ctx context.Context, req api.BlockUserRequestObject) (api.BlockUserResponseObject, error) {
	in := orZero(req.Body)
	call, by, err := s.target(ctx, req.Type, req.ID, CapBlock, in.UserID, "")
	if err != nil {
		return nil, err
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		changed, err := s.setBlocked(ctx, tx, call.CID, in.UserID, by, true)
		if err != nil || !changed {
			return err
		}
		if err := s.kick(ctx, call, in.UserID, by, db.ReasonBlocked); err != nil {
			return err
		}
		return s.auditAs(request(ctx), ctx, tx, "call.block", call.CID+"/"+in.UserID, nil)
	})
	return api.BlockUser200JSONResponse{}, err
}

// UnblockUser lets a user whom the call keeps out come back.
func (s *Server) UnblockUser(ctx context.Context, req api.UnblockUserRequestObject) (api.UnblockUserResponseObject, error) {
	in := orZero(req.Body)
	call, by, err := s.target(ctx, req.Type, req.ID, CapBlock, in.UserID, "")
	if err != nil {
		return nil, err
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		changed, err := s.setBlocked(ctx, tx, call.CID, in.UserID, by, false)
		if err != nil || !changed {
			return err
		}
		return s.auditAs(request(ctx), ctx, tx, "call.unblock", call.CID+"/"+in.UserID, nil)
	})
	return api.UnblockUser200JSONResponse{}, err
}

// KickUser closes the user's connections. They may come back, unless "block"
// keeps them out.
func (s *Server) KickUser(ctx context.Context, req api.KickUserRequestObject) (api.KickUserResponseObject, error) {
	in := orZero(req.Body)
	named := in.KickedByID
	if in.KickedBy != nil {
		named = in.KickedBy.ID
	}
	call, by, err := s.target(ctx, req.Type, req.ID, CapKick, in.UserID, named)
	if err != nil {
		return nil, err
	}
	if in.Block {
		if err := s.permit(ctx, callerOf(ctx), call, CapBlock); err != nil {
			return nil, err
		}
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if in.Block {
			if _, err := s.setBlocked(ctx, tx, call.CID, in.UserID, by, true); err != nil {
				return err
			}
		}
		if err := s.kick(ctx, call, in.UserID, by, "removed by a moderator"); err != nil {
			return err
		}
		return s.auditAs(request(ctx), ctx, tx, "call.kick", call.CID+"/"+in.UserID, map[string]bool{"block": in.Block})
	})
	return api.KickUser200JSONResponse{}, err
}

func (s *Server) kick(ctx context.Context, call db.CallRow, userID, by, reason string) error {
	_, err := s.cfg.Actions.Kick(ctx, actions.KickRequest{UserID: userID, CID: call.CID, ByUserID: by, Reason: reason})
	return err
}

// setBlocked changes the call's list of blocked users and tells backends.
func (s *Server) setBlocked(ctx context.Context, tx bun.Tx, cid, userID, by string, blocked bool) (changed bool, err error) {
	now := s.cfg.Now()
	var row db.CallRow
	// The write comes first: it locks the row, so that two changes add up.
	if _, err := tx.NewUpdate().Model(&row).Set("updated_at = ?", db.At(now)).Where("cid = ?", cid).Exec(ctx); err != nil {
		return false, fmt.Errorf("lock call %s: %w", cid, err)
	}
	if err := tx.NewSelect().Model(&row).Where("cid = ?", cid).Scan(ctx); err != nil {
		return false, fmt.Errorf("read call %s: %w", cid, err)
	}
	if slices.Contains(row.BlockedUserIDs.V, userID) == blocked {
		return false, nil
	}
	if blocked {
		row.BlockedUserIDs.V = append(row.BlockedUserIDs.V, userID)
	} else {
		row.BlockedUserIDs.V = slices.DeleteFunc(row.BlockedUserIDs.V, func(id string) bool { return id == userID })
	}
	if _, err := tx.NewUpdate().Model(&row).WherePK().Column("blocked_user_ids").Exec(ctx); err != nil {
		return false, fmt.Errorf("write blocked users of %s: %w", cid, err)
	}
	users, err := s.cfg.DB.UsersIn(ctx, cid, userID, by)
	if err != nil {
		return false, err
	}
	user, actor := users[userID], users[by]
	ev := event.New(event.CallUnblockedUser, cid+"/"+userID, now, event.UnblockedUser{
		Type: event.CallUnblockedUser, CreatedAt: now.UTC(), CallCID: cid, User: user,
	})
	if blocked {
		ev = event.New(event.CallBlockedUser, cid+"/"+userID, now, event.BlockedUser{
			Type: event.CallBlockedUser, CreatedAt: now.UTC(), CallCID: cid, User: user, BlockedByUser: &actor,
		})
	}
	return true, db.Enqueue(ctx, tx, event.TopicPublic, ev)
}

// orZero is the body of a request, or an empty one where there is none.
func orZero[T any](body *T) T {
	if body == nil {
		return *new(T)
	}
	return *body
}
