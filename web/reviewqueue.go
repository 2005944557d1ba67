package web

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

type reviewQueueRequest struct {
	Filter map[string]string `json:"filter"`
	Sort   []struct {
		Field     string `json:"field"`
		Direction int    `json:"direction"`
	} `json:"sort"`
	Limit     int    `json:"limit"`
	Next      string `json:"next"`
	StatsOnly bool   `json:"stats_only"`
}

// reviewFilters are the fields of an item that a filter may name.
var reviewFilters = []string{"entity_creator_id", "entity_id", "entity_type", "id", "recommended_action", "status"}

func (r reviewQueueRequest) check() error {
	fields := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(r.Filter)) {
		if !slices.Contains(reviewFilters, name) {
			fields["filter."+name] = "is not supported; filter by " + list(reviewFilters)
		}
	}
	for i, sort := range r.Sort {
		if sort.Field != "created_at" || sort.Direction != -1 {
			fields[fmt.Sprintf("sort[%d]", i)] = "is not supported; the order is created_at, -1"
		}
	}
	if len(fields) > 0 {
		return badFields(fields)
	}
	return nil
}

func (s *Server) queryReviewQueue(c echo.Context) error {
	var req reviewQueueRequest
	if err := decode(c, &req); err != nil {
		return err
	}
	if err := req.check(); err != nil {
		return err
	}
	p, err := newPage(req.Limit, req.Next)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	r := reply{
		"items": []reviewItem{}, "next": "", "prev": "", "action_config": reply{},
		"default_action_config": reply{}, "filter_config": reply{},
	}
	if r["stats"], err = s.reviewStats(ctx); err != nil {
		return err
	}
	if req.StatsOnly {
		return s.ok(c, r)
	}
	var rows []db.ReviewItemRow
	q := p.apply(s.cfg.DB.NewSelect().Model(&rows), "created_at")
	for name, value := range req.Filter {
		q = q.Where("? = ?", bun.Ident(name), value)
	}
	if err := q.Scan(ctx); err != nil {
		return fmt.Errorf("read review items: %w", err)
	}
	rows, next := cut(p, rows, func(r *db.ReviewItemRow) cursor { return cursor{r.CreatedAt.UnixNano(), r.ID} })
	items, err := s.reviewItems(ctx, rows)
	if err != nil {
		return err
	}
	r["items"], r["next"] = items, next
	return s.ok(c, r)
}

// reviewStats counts the items by status.
func (s *Server) reviewStats(ctx context.Context) (map[string]int, error) {
	var rows []struct {
		Status string
		N      int
	}
	err := s.cfg.DB.NewSelect().Model((*db.ReviewItemRow)(nil)).Column("status").ColumnExpr("count(*) AS n").Group("status").Limit(maxLimit).Scan(ctx, &rows)
	stats := map[string]int{}
	for _, row := range rows {
		stats[row.Status] = row.N
	}
	return stats, err
}

// reviewItem is an item as the API shows it. Lists that later versions fill
// are empty, never null.
type reviewItem struct {
	ID                string          `json:"id"`
	CreatedAt         time.Time       `json:"created_at"`
	UpdatedAt         time.Time       `json:"updated_at"`
	EntityType        string          `json:"entity_type"`
	EntityID          string          `json:"entity_id"`
	EntityCreatorID   string          `json:"entity_creator_id"`
	EntityCreator     entityCreator   `json:"entity_creator"`
	Payload           json.RawMessage `json:"moderation_payload"`
	Status            string          `json:"status"`
	RecommendedAction string          `json:"recommended_action"`
	Severity          int             `json:"severity"`
	Languages         []string        `json:"languages"`
	AITextSeverity    string          `json:"ai_text_severity"`
	Call              *itemCall       `json:"call,omitempty"`
	Flags             []any           `json:"flags"`
	Actions           []any           `json:"actions"`
	Bans              []any           `json:"bans"`
	FlagsCount        int             `json:"flags_count"`
	Escalated         bool            `json:"escalated"`
}

type entityCreator struct {
	event.User
	BanCount            int `json:"ban_count"`
	FlaggedCount        int `json:"flagged_count"`
	DeletedContentCount int `json:"deleted_content_count"`
}

type itemCall struct {
	CID            string   `json:"cid"`
	ID             string   `json:"id"`
	Type           string   `json:"type"`
	Recording      bool     `json:"recording"`
	BlockedUserIDs []string `json:"blocked_user_ids"`
}

func (s *Server) reviewItems(ctx context.Context, rows []db.ReviewItemRow) ([]reviewItem, error) {
	var creators, cids []string
	for _, r := range rows {
		creators = append(creators, r.EntityCreatorID)
		if r.EntityType == entityCall {
			cids = append(cids, r.EntityID)
		}
	}
	users, err := s.cfg.DB.UsersIn(ctx, "", creators...)
	if err != nil {
		return nil, err
	}
	calls, err := s.itemCalls(ctx, cids)
	if err != nil {
		return nil, err
	}
	bans, flags, err := s.records(ctx, creators)
	if err != nil {
		return nil, err
	}
	items := []reviewItem{}
	for _, r := range rows {
		item := reviewItem{
			ID: r.ID, CreatedAt: r.CreatedAt.Time, UpdatedAt: r.UpdatedAt.Time,
			EntityType: r.EntityType, EntityID: r.EntityID, EntityCreatorID: r.EntityCreatorID,
			EntityCreator: entityCreator{users[r.EntityCreatorID], bans[r.EntityCreatorID], flags[r.EntityCreatorID], 0},
			Payload:       r.Payload.V, Status: r.Status, RecommendedAction: r.RecommendedAction, Severity: r.Severity,
			Languages: []string{}, Call: calls[r.EntityID], Flags: []any{}, Actions: []any{}, Bans: []any{},
		}
		if err := json.Unmarshal(r.Flags.V, &item.Flags); err != nil {
			return nil, fmt.Errorf("read flags of %s: %w", r.ID, err)
		}
		if item.Flags == nil {
			item.Flags = []any{}
		}
		item.FlagsCount = len(item.Flags)
		items = append(items, item)
	}
	return items, nil
}

func (s *Server) itemCalls(ctx context.Context, cids []string) (map[string]*itemCall, error) {
	out := map[string]*itemCall{}
	if len(cids) == 0 {
		return out, nil
	}
	var rows []db.CallRow
	if err := s.cfg.DB.NewSelect().Model(&rows).Where("cid IN (?)", bun.List(cids)).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read calls of review items: %w", err)
	}
	for _, r := range rows {
		blocked := r.BlockedUserIDs.V
		if blocked == nil {
			blocked = []string{}
		}
		out[r.CID] = &itemCall{CID: r.CID, ID: r.ID, Type: r.Type, BlockedUserIDs: blocked}
	}
	return out, nil
}

// records counts the bans and flags of each user.
func (s *Server) records(ctx context.Context, userIDs []string) (bans, flags map[string]int, err error) {
	bans, flags = map[string]int{}, map[string]int{}
	if len(userIDs) == 0 {
		return bans, flags, nil
	}
	count := func(model any, column string, into map[string]int) error {
		var rows []struct {
			UserID string
			N      int
		}
		err := s.cfg.DB.NewSelect().Model(model).ColumnExpr("? AS user_id, count(*) AS n", bun.Ident(column)).
			Where("? IN (?)", bun.Ident(column), bun.List(userIDs)).GroupExpr("?", bun.Ident(column)).Scan(ctx, &rows)
		for _, r := range rows {
			into[r.UserID] = r.N
		}
		return err
	}
	if err := count((*db.BanRow)(nil), "user_id", bans); err != nil {
		return nil, nil, fmt.Errorf("count bans: %w", err)
	}
	if err := count((*db.ReviewItemRow)(nil), "entity_creator_id", flags); err != nil {
		return nil, nil, fmt.Errorf("count flags: %w", err)
	}
	return bans, flags, nil
}
