package web

import (
	"context"
	"encoding/json"
	"fmt"

	"stillwatch/actions"
	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// maxFlagCustom bounds the custom data of a flag, as JSON in bytes.
const maxFlagCustom = 64 << 10

// Flag puts a participant of a call, a user, or an entity of the backend's
// own into the review queue.
func (s *Server) Flag(ctx context.Context, req api.FlagRequestObject) (api.FlagResponseObject, error) {
	in := orZero(req.Body)
	if err := checkFlag(in); err != nil {
		return nil, err
	}
	by, err := actor(request(ctx), in.UserID)
	if err != nil {
		return nil, err
	}
	p := in.ModerationPayload
	order := actions.FlagRequest{
		UserID: in.EntityCreatorID, ByUserID: by, Reason: in.Reason, EntityType: in.EntityType, EntityID: in.EntityID, Custom: in.Custom,
		Payload: event.ModerationPayload{Texts: p.Texts, Images: p.Images, Videos: p.Videos, Audios: p.Audios, Custom: p.Custom},
	}
	switch in.EntityType {
	case event.EntityCall:
		order.CID = in.EntityID
	case event.EntityUser:
		order.UserID = in.EntityID
	}
	item, err := s.cfg.Actions.Flag(ctx, order)
	if err != nil {
		return nil, fmt.Errorf("flag %s: %w", in.EntityID, err)
	}
	return api.Flag200JSONResponse{ItemID: item}, nil
}

func checkFlag(in api.FlagRequest) error {
	fields := map[string]string{}
	switch in.EntityType {
	case "":
		fields["entity_type"] = "is missing"
	case event.EntityCall:
		if _, _, err := splitCID("entity_id", in.EntityID); err != nil {
			fields["entity_id"] = `must be the call's "type:id"`
		}
		if in.EntityCreatorID == "" {
			fields["entity_creator_id"] = "must name the participant who is flagged"
		} else if !validUser(in.EntityCreatorID) {
			fields["entity_creator_id"] = wantUser
		}
	case event.EntityUser:
		if !validUser(in.EntityID) {
			fields["entity_id"] = "must be the user's id: " + wantUser
		}
	default:
		if in.EntityCreatorID != "" && !validUser(in.EntityCreatorID) {
			fields["entity_creator_id"] = wantUser
		}
	}
	for name, custom := range map[string]api.Custom{"custom": in.Custom, "moderation_payload.custom": in.ModerationPayload.Custom} {
		if len(untyped(custom)) > maxFlagCustom {
			fields[name] = fmt.Sprintf("must be at most %d bytes as JSON", maxFlagCustom)
		}
	}
	if len(fields) > 0 {
		return badFields(fields)
	}
	return nil
}

// flagFields are what a list of flags can be filtered and sorted by.
var flagFields = filter.Fields{
	"id":                {Column: "id"},
	"type":              {Column: "type"},
	"entity_type":       {Column: "entity_type"},
	"entity_id":         {Column: "entity_id"},
	"entity_creator_id": {Column: "entity_creator_id"},
	"user_id":           {Column: "user_id"},
	"created_at":        {Column: "created_at", Kind: filter.Instant, Sortable: true},
}

// QueryModerationFlags lists flags.
func (s *Server) QueryModerationFlags(ctx context.Context, req api.QueryModerationFlagsRequestObject) (api.QueryModerationFlagsResponseObject, error) {
	in := orZero(req.Body)
	page, err := flagFields.Page(sortOf(in.Sort), newestFirst, in.Limit, in.Next, in.Prev, "id")
	if err != nil {
		return nil, err
	}
	var rows []db.FlagRow
	q, err := flagFields.Where(s.cfg.DB.NewSelect().Model(&rows), in.Filter)
	if err != nil {
		return nil, filtered("filter", err)
	}
	if err := page.Apply(q).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read flags: %w", err)
	}
	out := api.QueryModerationFlags200JSONResponse{Flags: []api.FlagBody{}}
	rows, out.Next, out.Prev = filter.Cut(page, rows, func(r *db.FlagRow, field string) any {
		if field == "created_at" {
			return r.CreatedAt
		}
		return r.ID
	})
	for _, r := range rows {
		body, err := flagBody(r)
		if err != nil {
			return nil, err
		}
		out.Flags = append(out.Flags, body)
	}
	return out, nil
}

func flagBody(r db.FlagRow) (api.FlagBody, error) {
	body := api.FlagBody{
		ID: r.ID, Type: r.Type, EntityType: r.EntityType, EntityID: r.EntityID, EntityCreatorID: r.EntityCreatorID, Labels: r.Labels.V,
		Result: []map[string]any{}, Reason: r.Reason, UserID: r.UserID, ReviewQueueItemID: r.ItemID, Custom: r.Custom.V,
		CreatedAt: r.CreatedAt.Time, UpdatedAt: r.CreatedAt.Time,
	}
	if body.Labels == nil {
		body.Labels = []string{}
	}
	for _, one := range r.Result.V {
		raw, err := json.Marshal(one)
		if err != nil {
			return body, fmt.Errorf("read flag %s: %w", r.ID, err)
		}
		var object map[string]any
		if json.Unmarshal(raw, &object) == nil && object != nil {
			body.Result = append(body.Result, object)
		}
	}
	return body, nil
}

// GetFlagCount counts the flags of a user.
func (s *Server) GetFlagCount(ctx context.Context, req api.GetFlagCountRequestObject) (api.GetFlagCountResponseObject, error) {
	in := orZero(req.Body)
	if in.EntityCreatorID == "" { // no body at all
		return nil, badField("entity_creator_id", "is missing")
	}
	q := s.cfg.DB.NewSelect().Model((*db.FlagRow)(nil)).Where("entity_creator_id = ?", in.EntityCreatorID)
	if in.EntityType != "" {
		q = q.Where("entity_type = ?", in.EntityType)
	}
	n, err := q.Count(ctx)
	if err != nil {
		return nil, fmt.Errorf("count flags: %w", err)
	}
	return api.GetFlagCount200JSONResponse{Count: int(n)}, nil
}
