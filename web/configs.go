package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
	"stillwatch/moderation"
	"stillwatch/web/api"
)

// UpsertConfig makes a config, or replaces the one of the key.
func (s *Server) UpsertConfig(ctx context.Context, req api.UpsertConfigRequestObject) (api.UpsertConfigResponseObject, error) {
	in := orZero(req.Body)
	by, err := actor(request(ctx), in.UserID)
	if err != nil {
		return nil, err
	}
	config, err := configOf(in)
	if err != nil {
		return nil, err
	}
	var row db.ConfigRow
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		row, err = s.saveConfig(ctx, tx, config, in.Team, string(req.Params.IfMatch), by)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("save config %q: %w", config.Key, err)
	}
	body, err := configBody(row)
	if err != nil {
		return nil, err
	}
	sendETag(ctx, configTag(row))
	return api.UpsertConfig200JSONResponse(api.ModerationConfigResponse{Config: body, Warnings: s.unknownLabels(configLabels(config))}), nil
}

// configOf is the config that a request describes, checked.
func configOf(body api.ModerationConfigRequest) (moderation.CallConfig, error) {
	var config moderation.CallConfig
	if err := unmarshal(untyped(body), "", &config); err != nil {
		return config, err
	}
	if config.Image != nil {
		config.Image.Enabled = body.ImageConfig.Enabled == nil || *body.ImageConfig.Enabled
	}
	config, bad := config.Checked()
	if bad != nil {
		return config, badFields(bad)
	}
	return config, nil
}

func configLabels(c moderation.CallConfig) (out []string) {
	if c.Image != nil {
		for _, r := range c.Image.Rules {
			out = append(out, r.Label)
		}
	}
	return out
}

func (s *Server) saveConfig(ctx context.Context, tx bun.Tx, config moderation.CallConfig, team, match, by string) (db.ConfigRow, error) {
	now := s.cfg.Now().UTC()
	row, err := lockedConfig(ctx, tx, config.Key)
	known := !db.IsNotFound(err)
	switch {
	case !known && match != "":
		return row, fail(http.StatusPreconditionFailed, CodeConflict, "there is no config %q yet", config.Key)
	case !known:
		row = db.ConfigRow{Key: config.Key, CreatedAt: db.At(now)}
		n, err := tx.NewSelect().Model((*db.ConfigRow)(nil)).Count(ctx)
		if err != nil {
			return row, err
		}
		if n >= maxRules {
			return row, badInput("there are %d configs already; delete one first", maxRules)
		}
	case err != nil:
		return row, err
	default:
		if err := ifMatch(match, configTag(row)); err != nil {
			return row, err
		}
	}
	row.Team, row.Body.V, row.UpdatedAt = team, untyped(config), db.At(after(row.UpdatedAt.Time, now))
	if known {
		_, err = tx.NewUpdate().Model(&row).WherePK().Exec(ctx)
	} else {
		_, err = tx.NewInsert().Model(&row).Exec(ctx)
	}
	if err != nil {
		return row, err
	}
	return row, audit(ctx, tx, now, by, "config.upsert", "moderation_config:"+row.Key, config)
}

// lockedConfig reads a config that nobody else can change until the commit.
func lockedConfig(ctx context.Context, tx bun.Tx, key string) (row db.ConfigRow, err error) {
	_, err = tx.NewUpdate().Model((*db.ConfigRow)(nil)).Set("updated_at = updated_at").Where("key = ?", key).Exec(ctx)
	if err != nil {
		return row, err
	}
	err = tx.NewSelect().Model(&row).Where("key = ?", key).Scan(ctx)
	return row, err
}

// configTag covers the team as well, which the policy does not read.
func configTag(row db.ConfigRow) string {
	return etag(row.UpdatedAt.Time, []any{row.Team, row.Body.V})
}

func configBody(row db.ConfigRow) (api.ModerationConfigBody, error) {
	var body api.ModerationConfigBody
	if err := json.Unmarshal(row.Body.V, &body); err != nil {
		return body, fmt.Errorf("read config %s: %w", row.Key, err)
	}
	body.Key, body.Team, body.CreatedAt, body.UpdatedAt = row.Key, row.Team, row.CreatedAt.Time, row.UpdatedAt.Time
	return body, nil
}

// GetConfig reads one config.
func (s *Server) GetConfig(ctx context.Context, req api.GetConfigRequestObject) (api.GetConfigResponseObject, error) {
	var row db.ConfigRow
	err := s.cfg.DB.NewSelect().Model(&row).Where("key = ?", req.Key).Scan(ctx)
	if db.IsNotFound(err) {
		return nil, notFound("moderation config", req.Key)
	}
	if err != nil {
		return nil, fmt.Errorf("read config %s: %w", req.Key, err)
	}
	body, err := configBody(row)
	if err != nil {
		return nil, err
	}
	sendETag(ctx, configTag(row))
	return api.GetConfig200JSONResponse(api.ModerationConfigResponse{Config: body, Warnings: []string{}}), nil
}

// DeleteConfig deletes a config.
func (s *Server) DeleteConfig(ctx context.Context, req api.DeleteConfigRequestObject) (api.DeleteConfigResponseObject, error) {
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row, err := lockedConfig(ctx, tx, req.Key)
		if db.IsNotFound(err) {
			return notFound("moderation config", req.Key)
		}
		if err != nil {
			return err
		}
		if err := ifMatch(string(req.Params.IfMatch), configTag(row)); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model(&row).WherePK().Exec(ctx); err != nil {
			return err
		}
		return s.auditAs(request(ctx), ctx, tx, "config.delete", "moderation_config:"+row.Key, row.Body.V)
	})
	if err != nil {
		return nil, fmt.Errorf("delete config %s: %w", req.Key, err)
	}
	return api.DeleteConfig200JSONResponse{}, nil
}

var configFields = filter.Fields{
	"key":        {Column: "key", Sortable: true},
	"created_at": {Column: "created_at", Kind: filter.Instant, Sortable: true},
	"updated_at": {Column: "updated_at", Kind: filter.Instant},
}

// QueryConfigs lists configs.
func (s *Server) QueryConfigs(ctx context.Context, req api.QueryConfigsRequestObject) (api.QueryConfigsResponseObject, error) {
	q := orZero(req.Body)
	page, err := configFields.Page(sortOf(q.Sort), newestFirst, q.Limit, q.Next, q.Prev, "key")
	if err != nil {
		return nil, err
	}
	var rows []db.ConfigRow
	sel, err := configFields.Where(s.cfg.DB.NewSelect().Model(&rows), q.Filter)
	if err != nil {
		return nil, filtered("filter", err)
	}
	if err := page.Apply(sel).Scan(ctx); err != nil {
		return nil, fmt.Errorf("list configs: %w", err)
	}
	out := api.ModerationConfigsResponse{Configs: []api.ModerationConfigBody{}}
	rows, out.Next, out.Prev = filter.Cut(page, rows, func(r *db.ConfigRow, field string) any {
		if field == "created_at" {
			return r.CreatedAt
		}
		return r.Key
	})
	for _, row := range rows {
		body, err := configBody(row)
		if err != nil {
			return nil, err
		}
		out.Configs = append(out.Configs, body)
	}
	return api.QueryConfigs200JSONResponse(out), nil
}
