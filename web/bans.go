package web

import (
	"context"
	"fmt"
	"time"

	"stillwatch/actions"
	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
	"stillwatch/web/api"
)

// maxOffset bounds how far a list that knows no cursor is skipped into.
const maxOffset = 10_000

// Ban bans a user. The connection is closed a moment later.
func (s *Server) Ban(ctx context.Context, req api.BanRequestObject) (api.BanResponseObject, error) {
	in := orZero(req.Body)
	if in.TargetUserID == "" { // no body at all
		return nil, badField("target_user_id", "is missing")
	}
	if err := checkBan(in.IPBan, in.ChannelCid, ""); err != nil {
		return nil, err
	}
	named := in.BannedByID
	if named == "" && in.BannedBy != nil {
		named = in.BannedBy.ID
	}
	by, err := actor(request(ctx), named)
	if err != nil {
		return nil, err
	}
	_, err = s.cfg.Actions.Ban(ctx, actions.BanRequest{
		UserID: in.TargetUserID, ByUserID: by, Reason: in.Reason, CID: in.ChannelCid, Shadow: in.Shadow,
		Timeout: time.Duration(in.Timeout) * time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("ban %s: %w", in.TargetUserID, err)
	}
	return api.Ban200JSONResponse{}, nil
}

// checkBan refuses what the document cannot; at stands before the fields.
func checkBan(ipBan bool, cid, at string) error {
	fields := map[string]string{}
	if ipBan {
		fields[at+"ip_ban"] = "is not supported by this version"
	}
	if cid != "" {
		if _, _, err := splitCID("channel_cid", cid); err != nil {
			fields[at+"channel_cid"] = `must be a call's "type:id"`
		}
	}
	if len(fields) > 0 {
		return badFields(fields)
	}
	return nil
}

// Unban lifts bans. It takes its target from the query; the body only says
// who does it.
func (s *Server) Unban(ctx context.Context, req api.UnbanRequestObject) (api.UnbanResponseObject, error) {
	if err := checkBan(false, req.Params.ChannelCid, ""); err != nil {
		return nil, err
	}
	named := orZero(req.Body).UnbannedByID
	if named == "" {
		named = req.Params.CreatedBy
	}
	by, err := actor(request(ctx), named)
	if err != nil {
		return nil, err
	}
	target := req.Params.TargetUserID
	if _, err := s.cfg.Actions.Unban(ctx, actions.UnbanRequest{UserID: target, CID: req.Params.ChannelCid, ByUserID: by}); err != nil {
		return nil, fmt.Errorf("unban %s: %w", target, err)
	}
	return api.Unban200JSONResponse{}, nil
}

// bannedFields are what a list of bans can be filtered and sorted by.
var bannedFields = filter.Fields{
	"id":           {Column: "id"},
	"user_id":      {Column: "user_id"},
	"banned_by_id": {Column: "by_user_id"},
	"channel_cid":  {Column: "cid"},
	"reason":       {Column: "reason"},
	"created_at":   {Column: "created_at", Kind: filter.Instant, Sortable: true},
}

// bannedQuery is the object in the query's "payload".
type bannedQuery struct {
	Filter         map[string]any  `json:"filter_conditions"`
	Sort           []api.SortParam `json:"sort"`
	Limit          int             `json:"limit"`
	Offset         int             `json:"offset"`
	Next           string          `json:"next"`
	ExcludeExpired bool            `json:"exclude_expired_bans"`
	UserID         string          `json:"user_id"`
}

// QueryBannedUsers lists the bans that were not lifted.
func (s *Server) QueryBannedUsers(ctx context.Context, req api.QueryBannedUsersRequestObject) (api.QueryBannedUsersResponseObject, error) {
	var in bannedQuery
	if err := payload(req.Params.Payload, &in); err != nil {
		return nil, err
	}
	if in.Offset < 0 || in.Offset > maxOffset {
		return nil, badField("payload.offset", fmt.Sprintf("must be 0 to %d", maxOffset))
	}
	page, err := bannedFields.Page(sortOf(in.Sort), newestFirst, in.Limit, in.Next, "", "id")
	if err != nil {
		return nil, filtered("payload", err)
	}
	var rows []db.BanRow
	q := s.cfg.DB.NewSelect().Model(&rows).Where("lifted_at = 0")
	if in.ExcludeExpired {
		q = q.Where("(expires_at = 0 OR expires_at > ?)", db.At(s.cfg.Now()))
	}
	if q, err = bannedFields.Where(q, in.Filter); err != nil {
		return nil, filtered("payload.filter_conditions", err)
	}
	if err := page.Apply(q).Offset(int64(in.Offset)).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read bans: %w", err)
	}
	rows, next, _ := filter.Cut(page, rows, func(r *db.BanRow, field string) any {
		if field == "created_at" {
			return r.CreatedAt
		}
		return r.ID
	})
	bans, err := s.banBodies(ctx, rows)
	return api.QueryBannedUsers200JSONResponse{Bans: bans, Next: next}, err
}

func (s *Server) banBodies(ctx context.Context, rows []db.BanRow) ([]api.BanBody, error) {
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.UserID, r.ByUserID)
	}
	users, err := s.cfg.DB.UsersIn(ctx, "", ids...)
	if err != nil {
		return nil, err
	}
	out := []api.BanBody{}
	for _, r := range rows {
		body := api.BanBody{
			User: users[r.UserID], BannedBy: users[r.ByUserID], ChannelCid: r.CID, Reason: r.Reason, Shadow: bool(r.Shadow), CreatedAt: r.CreatedAt.Time,
		}
		if !r.ExpiresAt.IsZero() {
			body.Expires = &r.ExpiresAt.Time
		}
		out = append(out, body)
	}
	return out, nil
}
