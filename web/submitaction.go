package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/actions"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// decisions are the action types that can be submitted.
var decisions = []string{
	actions.DecideMarkReviewed, actions.DecideBan, actions.DecideUnban, actions.DecideBlock, actions.DecideUnblock, actions.DecideKick,
	actions.DecideEndCall, actions.DecideEscalate, actions.DecideDeEscalate, actions.DecideRestore, actions.DecideCustom, actions.DecideRejectAppeal,
}

// accepting are the decisions that accept the appeal they name.
var accepting = []string{actions.DecideUnban, actions.DecideRestore, actions.DecideUnblock, actions.DecideMarkReviewed}

// SubmitAction decides on a review item, an appeal, or both.
func (s *Server) SubmitAction(ctx context.Context, req api.SubmitActionRequestObject) (api.SubmitActionResponseObject, error) {
	out, err := s.submit(ctx, orZero(req.Body), req.Params.IfMatch)
	if err != nil {
		return nil, err
	}
	if out.Item != nil {
		sendETag(ctx, itemTag(*out.Item))
	}
	return api.SubmitAction200JSONResponse{Item: out.Item, AppealItem: out.Appeal}, nil
}

func (s *Server) submit(ctx context.Context, in api.SubmitActionRequest, match string) (actions.Outcome, error) {
	if err := checkSubmit(in); err != nil {
		return actions.Outcome{}, err
	}
	by, err := actor(request(ctx), in.UserID)
	if err != nil {
		return actions.Outcome{}, err
	}
	r := decision(in)
	r.ByUserID = by
	check := func(item event.ReviewItem) error { return ifMatch(match, itemTag(item)) }
	out, err := s.cfg.Actions.Decide(ctx, r, check, func(ctx context.Context, tx bun.Tx, r actions.Decision) error {
		return s.carryOut(ctx, tx, r, in)
	})
	switch {
	case err == nil:
		return out, nil
	case db.IsNotFound(err) && in.AppealID == "":
		return out, notFound("review item", in.ItemID)
	case db.IsNotFound(err) && in.ItemID == "":
		return out, notFound("appeal", in.AppealID)
	}
	return out, decisionError(err)
}

func checkSubmit(in api.SubmitActionRequest) error {
	fields := map[string]string{}
	if !slices.Contains(decisions, in.ActionType) {
		fields["action_type"] = "is not supported; must be one of " + strings.Join(decisions, ", ")
	}
	if in.ItemID == "" && in.AppealID == "" {
		fields["item_id"] = "is missing; name an item or an appeal"
	}
	if in.ActionType == actions.DecideRejectAppeal && in.AppealID == "" {
		fields["appeal_id"] = "is missing"
	}
	if in.AppealID != "" && in.ActionType != actions.DecideRejectAppeal && !slices.Contains(accepting, in.ActionType) {
		fields["appeal_id"] = "goes with reject_appeal, or to accept it with " + strings.Join(accepting, ", ")
	}
	if in.ActionType == actions.DecideCustom && in.Custom.ID == "" {
		fields["custom.id"] = "is missing"
	}
	if len(untyped(in.Custom.Options)) > maxFlagCustom {
		fields["custom.options"] = fmt.Sprintf("must be at most %d bytes as JSON", maxFlagCustom)
	}
	if len(fields) > 0 {
		return badFields(fields)
	}
	for name, id := range map[string]string{
		"ban.target_user_id": in.Ban.TargetUserID, "unban.target_user_id": in.Unban.TargetUserID, "block.target_user_id": in.Block.TargetUserID,
		"unblock.target_user_id": in.Unblock.TargetUserID, "kick_user.target_user_id": in.KickUser.TargetUserID,
	} {
		if id != "" && !validUser(id) {
			return badField(name, wantUser)
		}
	}
	if err := checkBan(in.Ban.IPBan, in.Ban.ChannelCid, "ban."); err != nil {
		return err
	}
	return checkBan(false, in.Unban.ChannelCid, "unban.")
}

// decision reads what is decided from the part of the request that has the
// action's name.
func decision(in api.SubmitActionRequest) actions.Decision {
	r := actions.Decision{ItemID: in.ItemID, AppealID: in.AppealID, Type: in.ActionType}
	plain := func(a api.ReasonAction) {
		if r.Reason = a.Reason; r.Reason == "" {
			r.Reason = a.DecisionReason
		}
		r.TargetUserID = a.TargetUserID
	}
	switch in.ActionType {
	case actions.DecideBan:
		r.TargetUserID, r.Reason = in.Ban.TargetUserID, in.Ban.Reason
		r.Custom = map[string]any{"timeout": in.Ban.Timeout, "shadow": in.Ban.Shadow}
	case actions.DecideUnban:
		r.TargetUserID, r.Reason = in.Unban.TargetUserID, in.Unban.DecisionReason
	case actions.DecideMarkReviewed:
		r.Reason = in.MarkReviewed.DecisionReason
	case actions.DecideEscalate:
		r.Reason = in.Escalate.Reason
		r.Escalation = &event.Escalation{Reason: in.Escalate.Reason, Notes: in.Escalate.Notes, Priority: string(in.Escalate.Priority)}
	case actions.DecideCustom:
		r.CustomID, r.Custom = in.Custom.ID, in.Custom.Options
	case actions.DecideBlock:
		plain(in.Block)
	case actions.DecideUnblock:
		plain(in.Unblock)
	case actions.DecideKick:
		plain(in.KickUser)
	case actions.DecideEndCall:
		plain(in.EndCall)
	case actions.DecideRestore:
		plain(in.Restore)
	case actions.DecideRejectAppeal:
		plain(in.RejectAppeal)
	}
	return r
}

// carryOut does what was decided by the doors that the direct operations use.
func (s *Server) carryOut(ctx context.Context, tx bun.Tx, r actions.Decision, in api.SubmitActionRequest) error {
	inCall := func() error {
		if r.CID == "" {
			return badField("action_type", "needs an item that is about a call")
		}
		return nil
	}
	switch r.Type {
	case actions.DecideBan, actions.DecideUnban, actions.DecideBlock, actions.DecideUnblock, actions.DecideKick, actions.DecideRestore:
		if r.TargetUserID == "" {
			return badField(r.Type+".target_user_id", "is missing, and the item has no creator")
		}
	}
	switch r.Type {
	case actions.DecideBlock, actions.DecideUnblock, actions.DecideKick, actions.DecideEndCall:
		if err := inCall(); err != nil {
			return err
		}
	}
	switch r.Type {
	case actions.DecideBan:
		if in.Ban.ChannelBanOnly && in.Ban.ChannelCid == "" {
			if err := inCall(); err != nil {
				return err
			}
		}
		return s.submitBan(ctx, r, in.Ban)
	case actions.DecideUnban:
		return s.submitUnban(ctx, r, in.Unban.ChannelCid)
	case actions.DecideRestore:
		if err := s.submitUnban(ctx, r, ""); err != nil || r.CID == "" {
			return err
		}
		_, err := s.setBlocked(ctx, tx, r.CID, r.TargetUserID, r.ByUserID, false)
		return ignoreNotFound(err)
	case actions.DecideBlock:
		changed, err := s.setBlocked(ctx, tx, r.CID, r.TargetUserID, r.ByUserID, true)
		if err != nil || !changed {
			return err
		}
		return s.kick(ctx, db.CallRow{CID: r.CID}, r.TargetUserID, r.ByUserID, db.ReasonBlocked)
	case actions.DecideUnblock:
		_, err := s.setBlocked(ctx, tx, r.CID, r.TargetUserID, r.ByUserID, false)
		return err
	case actions.DecideKick:
		return s.kick(ctx, db.CallRow{CID: r.CID}, r.TargetUserID, r.ByUserID, r.Reason)
	case actions.DecideEndCall:
		_, err := s.cfg.Actions.EndCall(ctx, actions.EndCallRequest{CID: r.CID, ByUserID: r.ByUserID, Reason: r.Reason})
		return err
	}
	return nil
}

func (s *Server) submitBan(ctx context.Context, r actions.Decision, in api.BanAction) error {
	cid := in.ChannelCid
	if cid == "" && in.ChannelBanOnly {
		cid = r.CID
	}
	_, err := s.cfg.Actions.Ban(ctx, actions.BanRequest{
		UserID: r.TargetUserID, ByUserID: r.ByUserID, Reason: r.Reason, CID: cid, Shadow: in.Shadow,
		Timeout: time.Duration(in.Timeout) * time.Minute, ItemID: r.ItemID,
	})
	return err
}

// submitUnban lifts the bans from one call, or those that hold everywhere
// and those from the item's call.
func (s *Server) submitUnban(ctx context.Context, r actions.Decision, cid string) error {
	cids := []string{cid}
	if cid == "" && r.CID != "" {
		cids = append(cids, r.CID)
	}
	for _, cid := range cids {
		_, err := s.cfg.Actions.Unban(ctx, actions.UnbanRequest{
			UserID: r.TargetUserID, CID: cid, ByUserID: r.ByUserID, Reason: r.Reason, ItemID: r.ItemID,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func ignoreNotFound(err error) error {
	if db.IsNotFound(err) {
		return nil
	}
	return err
}

// decisionError maps what package actions refuses a decision for.
func decisionError(err error) error {
	var locked *actions.LockedError
	var decided *actions.DecidedError
	var open *actions.OpenAppealError
	var nothing *actions.NothingDoneError
	switch {
	case errors.As(err, &locked):
		return fail(http.StatusConflict, CodeConflict, "%s", locked)
	case errors.As(err, &decided):
		return fail(http.StatusConflict, CodeConflict, "%s", decided)
	case errors.As(err, &open):
		return fail(http.StatusConflict, CodeConflict, "%s", open)
	case errors.As(err, &nothing):
		return fail(http.StatusNotFound, CodeNotFound, "%s", nothing)
	}
	return err
}
