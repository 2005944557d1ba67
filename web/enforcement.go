package web

import (
	"context"
	"slices"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/uptrace/bun"

	"stillwatch/actions"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// Public types of the two events below.
const (
	callBlockedUser   = "call.blocked_user"
	callUnblockedUser = "call.unblocked_user"
)

type blockEvent struct {
	Type          string      `json:"type"`
	CreatedAt     time.Time   `json:"created_at"`
	CallCID       string      `json:"call_cid"`
	User          event.User  `json:"user"`
	BlockedByUser *event.User `json:"blocked_by_user,omitempty"`
}

type targetRequest struct {
	UserID     string       `json:"user_id"`
	Block      bool         `json:"block"`
	KickedByID string       `json:"kicked_by_id"`
	KickedBy   *userRequest `json:"kicked_by"`
}

// target reads the request, its call and who asks, and checks the permission.
func (s *Server) target(c echo.Context, capability string) (req targetRequest, call db.CallRow, by string, err error) {
	if err = decode(c, &req); err != nil {
		return
	}
	if !validUser(req.UserID) {
		err = badField("user_id", wantUser)
		return
	}
	if call, err = s.existingCall(c); err != nil {
		return
	}
	if err = s.permit(c.Request().Context(), caller(c), call, capability); err != nil {
		return
	}
	named := req.KickedByID
	if req.KickedBy != nil {
		named = req.KickedBy.ID
	}
	by, err = actor(c, named)
	return
}

// blockUser keeps the user out of this call and closes their connections.
func (s *Server) blockUser(c echo.Context) error {
	req, call, by, err := s.target(c, CapBlock)
	if err != nil {
		return err
	}
	err = s.cfg.DB.InTx(c.Request().Context(), func(ctx context.Context, tx bun.Tx) error {
		changed, err := s.setBlocked(ctx, tx, call.CID, req.UserID, by, true)
		if err != nil || !changed {
			return err
		}
		if err := s.kick(ctx, call, req.UserID, by, db.ReasonBlocked); err != nil {
			return err
		}
		return s.auditAs(c, ctx, tx, "call.block", call.CID+"/"+req.UserID, nil)
	})
	if err != nil {
		return err
	}
	return s.ok(c, nil)
}

func (s *Server) unblockUser(c echo.Context) error {
	req, call, by, err := s.target(c, CapBlock)
	if err != nil {
		return err
	}
	err = s.cfg.DB.InTx(c.Request().Context(), func(ctx context.Context, tx bun.Tx) error {
		changed, err := s.setBlocked(ctx, tx, call.CID, req.UserID, by, false)
		if err != nil || !changed {
			return err
		}
		return s.auditAs(c, ctx, tx, "call.unblock", call.CID+"/"+req.UserID, nil)
	})
	if err != nil {
		return err
	}
	return s.ok(c, nil)
}

// kickUser closes the user's connections. They may come back, unless "block"
// keeps them out.
func (s *Server) kickUser(c echo.Context) error {
	req, call, by, err := s.target(c, CapKick)
	if err != nil {
		return err
	}
	if req.Block {
		if err := s.permit(c.Request().Context(), caller(c), call, CapBlock); err != nil {
			return err
		}
	}
	err = s.cfg.DB.InTx(c.Request().Context(), func(ctx context.Context, tx bun.Tx) error {
		if req.Block {
			if _, err := s.setBlocked(ctx, tx, call.CID, req.UserID, by, true); err != nil {
				return err
			}
		}
		if err := s.kick(ctx, call, req.UserID, by, "removed by a moderator"); err != nil {
			return err
		}
		return s.auditAs(c, ctx, tx, "call.kick", call.CID+"/"+req.UserID, map[string]bool{"block": req.Block})
	})
	if err != nil {
		return err
	}
	return s.ok(c, nil)
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
		return false, err
	}
	if err := tx.NewSelect().Model(&row).Where("cid = ?", cid).Scan(ctx); err != nil {
		return false, err
	}
	if slices.Contains(row.BlockedUserIDs.V, userID) == blocked {
		return false, nil
	}
	typ := callBlockedUser
	if blocked {
		row.BlockedUserIDs.V = append(row.BlockedUserIDs.V, userID)
	} else {
		typ = callUnblockedUser
		row.BlockedUserIDs.V = slices.DeleteFunc(row.BlockedUserIDs.V, func(id string) bool { return id == userID })
	}
	if _, err := tx.NewUpdate().Model(&row).WherePK().Column("blocked_user_ids").Exec(ctx); err != nil {
		return false, err
	}
	users, err := s.cfg.DB.UsersIn(ctx, cid, userID, by)
	if err != nil {
		return false, err
	}
	ev := blockEvent{Type: typ, CreatedAt: now.UTC(), CallCID: cid, User: users[userID]}
	if blocked {
		u := users[by]
		ev.BlockedByUser = &u
	}
	return true, db.Enqueue(ctx, tx, event.TopicPublic, event.New(typ, cid+"/"+userID, now, ev))
}
