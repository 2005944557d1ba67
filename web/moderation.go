package web

import (
	"fmt"
	"time"

	"github.com/labstack/echo/v4"

	"stillwatch/actions"
)

// maxBanMinutes is a hundred years: longer is for ever, which is no timeout.
const maxBanMinutes = 100 * 365 * 24 * 60

// maxReason bounds what a moderator writes, in bytes.
const maxReason = 1000

type banRequest struct {
	TargetUserID string       `json:"target_user_id"`
	BannedByID   string       `json:"banned_by_id"`
	BannedBy     *userRequest `json:"banned_by"`
	Reason       string       `json:"reason"`
	Timeout      *int         `json:"timeout"`
	Shadow       bool         `json:"shadow"`
	IPBan        bool         `json:"ip_ban"`
	ChannelCID   string       `json:"channel_cid"`
}

func (r banRequest) check() error {
	fields := map[string]string{}
	if !validUser(r.TargetUserID) {
		fields["target_user_id"] = wantUser
	}
	if len(r.Reason) > maxReason {
		fields["reason"] = fmt.Sprintf("must be at most %d bytes", maxReason)
	}
	if r.Timeout != nil && (*r.Timeout < 1 || *r.Timeout > maxBanMinutes) {
		fields["timeout"] = fmt.Sprintf("must be 1 to %d minutes, or absent for a ban without end", maxBanMinutes)
	}
	if r.IPBan {
		fields["ip_ban"] = "is not supported by this version"
	}
	if r.ChannelCID != "" {
		if _, _, err := splitCID("channel_cid", r.ChannelCID); err != nil {
			fields["channel_cid"] = `must be a call's "type:id"`
		}
	}
	if len(fields) > 0 {
		return badFields(fields)
	}
	return nil
}

func (s *Server) ban(c echo.Context) error {
	var req banRequest
	if err := decode(c, &req); err != nil {
		return err
	}
	if err := req.check(); err != nil {
		return err
	}
	named := req.BannedByID
	if req.BannedBy != nil {
		named = req.BannedBy.ID
	}
	by, err := actor(c, named)
	if err != nil {
		return err
	}
	order := actions.BanRequest{UserID: req.TargetUserID, ByUserID: by, Reason: req.Reason, CID: req.ChannelCID, Shadow: req.Shadow}
	if req.Timeout != nil {
		order.Timeout = time.Duration(*req.Timeout) * time.Minute
	}
	if _, err := s.cfg.Actions.Ban(c.Request().Context(), order); err != nil {
		return fmt.Errorf("ban %s: %w", req.TargetUserID, err)
	}
	return s.ok(c, nil)
}

// unban takes its target from the query; the body only says who does it.
func (s *Server) unban(c echo.Context) error {
	var req struct {
		UnbannedByID string `json:"unbanned_by_id"`
	}
	if err := decode(c, &req); err != nil {
		return err
	}
	target, cid := c.QueryParam("target_user_id"), c.QueryParam("channel_cid")
	if !validUser(target) {
		return badField("target_user_id", wantUser)
	}
	if cid != "" {
		if _, _, err := splitCID("channel_cid", cid); err != nil {
			return err
		}
	}
	named := req.UnbannedByID
	if named == "" {
		named = c.QueryParam("created_by")
	}
	by, err := actor(c, named)
	if err != nil {
		return err
	}
	if _, err := s.cfg.Actions.Unban(c.Request().Context(), target, cid, by); err != nil {
		return fmt.Errorf("unban %s: %w", target, err)
	}
	return s.ok(c, nil)
}

type flagRequest struct {
	EntityType      string `json:"entity_type"`
	EntityID        string `json:"entity_id"`
	EntityCreatorID string `json:"entity_creator_id"`
	Reason          string `json:"reason"`
	UserID          string `json:"user_id"`
}

// entityCall is the one entity that can be flagged and reviewed: a
// participant of a call.
const entityCall = "call"

func (r flagRequest) check() error {
	fields := map[string]string{}
	if r.EntityType != entityCall {
		fields["entity_type"] = "must be " + entityCall
	}
	if _, _, err := splitCID("entity_id", r.EntityID); err != nil {
		fields["entity_id"] = `must be the call's "type:id"`
	}
	if !validUser(r.EntityCreatorID) {
		fields["entity_creator_id"] = "must be the participant who is flagged: " + wantUser
	}
	if len(r.Reason) > maxReason {
		fields["reason"] = fmt.Sprintf("must be at most %d bytes", maxReason)
	}
	if len(fields) > 0 {
		return badFields(fields)
	}
	return nil
}

func (s *Server) flag(c echo.Context) error {
	var req flagRequest
	if err := decode(c, &req); err != nil {
		return err
	}
	if err := req.check(); err != nil {
		return err
	}
	by, err := actor(c, req.UserID)
	if err != nil {
		return err
	}
	item, err := s.cfg.Actions.Flag(c.Request().Context(), actions.FlagRequest{
		UserID: req.EntityCreatorID, CID: req.EntityID, ByUserID: by, Reason: req.Reason,
	})
	if err != nil {
		return fmt.Errorf("flag %s: %w", req.EntityID, err)
	}
	return s.ok(c, reply{"item_id": item})
}
