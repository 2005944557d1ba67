package web

import (
	"fmt"
	"time"

	"github.com/labstack/echo/v4"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

type participantBody struct {
	User          event.User `json:"user"`
	UserSessionID string     `json:"user_session_id"`
	Role          string     `json:"role"`
	JoinedAt      time.Time  `json:"joined_at"`
}

// listParticipants gives who is in the call now: to moderators, and to those
// who are in it themselves.
func (s *Server) listParticipants(c echo.Context) error {
	p, err := queryPage(c)
	if err != nil {
		return err
	}
	cid := c.QueryParam("cid")
	if _, _, err := splitCID("cid", cid); err != nil {
		return err
	}
	ctx, who := c.Request().Context(), caller(c)
	call, err := s.call(ctx, cid)
	if db.IsNotFound(err) {
		return notFound("call", cid)
	}
	if err != nil {
		return err
	}
	if !who.Moderates() || !who.MayJoin(cid) {
		if err := s.mayEnter(ctx, who, cid); err != nil {
			return err
		}
		in, err := s.cfg.DB.NewSelect().Model((*db.ParticipantRow)(nil)).Where("session_id = ?", call.CurrentSessionID).
			Where("user_id = ?", who.UserID).Where("left_at = 0").Exists(ctx)
		if err != nil {
			return fmt.Errorf("look for %s in %s: %w", who.UserID, cid, err)
		}
		if !in {
			return forbidden("only participants of %s may see who is in it", cid)
		}
	}
	var rows []db.ParticipantRow
	q := s.cfg.DB.NewSelect().Model(&rows).Where("session_id = ?", call.CurrentSessionID).Where("left_at = 0")
	if p.after != nil {
		q = q.Where("user_session_id > ?", p.after.id)
	}
	if err := q.Order("user_session_id").Limit(int64(p.limit) + 1).Scan(ctx); err != nil {
		return fmt.Errorf("read participants of %s: %w", cid, err)
	}
	rows, next := cut(p, rows, func(r *db.ParticipantRow) cursor { return cursor{0, r.UserSessionID} })
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.UserID)
	}
	users, err := s.cfg.DB.UsersIn(ctx, cid, ids...)
	if err != nil {
		return err
	}
	participants := []participantBody{}
	for _, r := range rows {
		participants = append(participants, participantBody{users[r.UserID], r.UserSessionID, r.Role, r.JoinedAt.Time})
	}
	return s.ok(c, reply{"participants": participants, "session_id": call.CurrentSessionID, "next": next})
}
