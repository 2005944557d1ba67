package web

import (
	"context"
	"fmt"

	"stillwatch/actions"
	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// Appeal opens an appeal of the caller against what was done to them. A ban
// keeps nobody from it.
func (s *Server) Appeal(ctx context.Context, req api.AppealRequestObject) (api.AppealResponseObject, error) {
	in := orZero(req.Body)
	user, err := self(ctx, "user_id", in.UserID)
	if err != nil {
		return nil, err
	}
	switch in.EntityType {
	case event.EntityCall:
		if _, _, err := splitCID("entity_id", in.EntityID); err != nil {
			return nil, err
		}
	case event.EntityUser:
		if in.EntityID != user {
			return nil, badField("entity_id", "must be the id of the user who appeals")
		}
	default:
		return nil, badField("entity_type", "must be call or user")
	}
	appeal, err := s.cfg.Actions.Appeal(ctx, actions.AppealRequest{
		UserID: user, EntityType: in.EntityType, EntityID: in.EntityID, Reason: in.AppealReason, Attachments: in.Attachments,
	})
	if err != nil {
		return nil, decisionError(err)
	}
	return api.Appeal201JSONResponse{AppealID: appeal.ID}, nil
}

// self is the user whom a request is about: the caller, or whom a server
// token names. A user's token speaks for nobody else.
func self(ctx context.Context, field, named string) (string, error) {
	id := callerOf(ctx)
	switch {
	case id.Server && named == "":
		return "", badField(field, "is missing")
	case id.Server && !validUser(named):
		return "", badField(field, wantUser)
	case id.Server:
		return named, nil
	case named != "" && named != id.UserID:
		return "", forbidden("the token is good for the user %q alone", id.UserID)
	}
	return id.UserID, nil
}

// GetAppeal reads an appeal: one's own, or any as a moderator.
func (s *Server) GetAppeal(ctx context.Context, req api.GetAppealRequestObject) (api.GetAppealResponseObject, error) {
	var row db.AppealRow
	err := s.cfg.DB.NewSelect().Model(&row).Where("id = ?", req.ID).Scan(ctx)
	id := callerOf(ctx)
	moderates := id.Server || id.Moderates() && len(id.CallCIDs) == 0
	if db.IsNotFound(err) || err == nil && !moderates && row.UserID != id.UserID {
		return nil, notFound("appeal", req.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("read appeal %s: %w", req.ID, err)
	}
	items, err := s.appealItems(ctx, []db.AppealRow{row})
	if err != nil {
		return nil, err
	}
	return api.GetAppeal200JSONResponse{Item: items[0]}, nil
}

func (s *Server) appealItems(ctx context.Context, rows []db.AppealRow) ([]event.Appeal, error) {
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.UserID
	}
	users, err := s.cfg.DB.UsersIn(ctx, "", ids...)
	if err != nil {
		return nil, err
	}
	out := []event.Appeal{}
	for _, r := range rows {
		out = append(out, db.PublicAppeal(r, users[r.UserID]))
	}
	return out, nil
}

// appealFields are what a list of appeals can be filtered and sorted by.
var appealFields = filter.Fields{
	"id":          {Column: "id"},
	"status":      {Column: "status"},
	"entity_type": {Column: "entity_type"},
	"entity_id":   {Column: "entity_id"},
	"user_id":     {Column: "user_id"},
	"created_at":  {Column: "created_at", Kind: filter.Instant, Sortable: true},
}

// QueryAppeals lists appeals.
func (s *Server) QueryAppeals(ctx context.Context, req api.QueryAppealsRequestObject) (api.QueryAppealsResponseObject, error) {
	in := orZero(req.Body)
	page, err := appealFields.Page(sortOf(in.Sort), newestFirst, in.Limit, in.Next, in.Prev, "id")
	if err != nil {
		return nil, err
	}
	var rows []db.AppealRow
	q, err := appealFields.Where(s.cfg.DB.NewSelect().Model(&rows), in.Filter)
	if err != nil {
		return nil, filtered("filter", err)
	}
	if err := page.Apply(q).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read appeals: %w", err)
	}
	var out api.QueryAppeals200JSONResponse
	rows, out.Next, out.Prev = filter.Cut(page, rows, func(r *db.AppealRow, field string) any {
		if field == "created_at" {
			return r.CreatedAt
		}
		return r.ID
	})
	out.Items, err = s.appealItems(ctx, rows)
	return out, err
}

// BulkActionAppeals decides on several appeals, each for itself: one that
// cannot be decided on does not hold the others up.
func (s *Server) BulkActionAppeals(ctx context.Context, req api.BulkActionAppealsRequestObject) (api.BulkActionAppealsResponseObject, error) {
	in := orZero(req.Body)
	if len(in.AppealIds) == 0 { // no body at all
		return nil, badField("appeal_ids", "is missing")
	}
	var out api.BulkActionAppeals200JSONResponse
	for _, id := range in.AppealIds {
		one := api.SubmitActionRequest{AppealID: id, ActionType: string(in.ActionType), UserID: in.UserID}
		one.MarkReviewed.DecisionReason, one.Unban.DecisionReason = in.DecisionReason, in.DecisionReason
		one.Unblock.Reason, one.Restore.Reason, one.RejectAppeal.Reason = in.DecisionReason, in.DecisionReason, in.DecisionReason
		_, err := s.submit(ctx, one, "")
		message := ""
		if err != nil {
			if e := asAPIError(err); e.Code != CodeInternal {
				message = e.Message
			} else {
				message = "internal error"
				s.log.Error("cannot decide on an appeal", "appeal", id, "error", err)
			}
		}
		out.Results = append(out.Results, struct {
			AppealID string `json:"appeal_id"`
			Error    string `json:"error,omitempty,omitzero"`
			Success  bool   `json:"success"`
		}{id, message, err == nil})
	}
	return out, nil
}
