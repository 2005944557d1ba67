package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// Bounds of hooks. The longest timeout is what backends are promised at most.
const (
	maxHooks       = 20
	maxHookTypes   = 100
	minHookTimeout = 100
	maxHookTimeout = 6000
)

// hookTypeWebhook is the only kind of hook there is so far.
const hookTypeWebhook = "webhook"

// legacyHookID is the hook that the older setting webhook_url stands for.
const legacyHookID = "webhook_url"

type hookBody struct {
	ID         string    `json:"id"`
	HookType   string    `json:"hook_type"`
	Enabled    *bool     `json:"enabled"`
	EventTypes []string  `json:"event_types"`
	WebhookURL string    `json:"webhook_url"`
	TimeoutMS  int       `json:"timeout_ms"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
}

func (h hookBody) check(path string, fields map[string]string) {
	if h.HookType != hookTypeWebhook {
		fields[path+".hook_type"] = "must be webhook; other kinds are not supported by this version"
		return
	}
	u, err := url.Parse(h.WebhookURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || len(h.WebhookURL) > 2000 {
		fields[path+".webhook_url"] = "must be an http or https URL of at most 2000 bytes"
	}
	if h.ID != "" && !nameRE.MatchString(h.ID) {
		fields[path+".id"] = wantName
	}
	if h.TimeoutMS != 0 && (h.TimeoutMS < minHookTimeout || h.TimeoutMS > maxHookTimeout) {
		fields[path+".timeout_ms"] = fmt.Sprintf("must be %d to %d", minHookTimeout, maxHookTimeout)
	}
	if len(h.EventTypes) > maxHookTypes || slices.ContainsFunc(h.EventTypes, func(t string) bool { return t == "" || len(t) > 100 }) {
		fields[path+".event_types"] = fmt.Sprintf("must be at most %d names of 1 to 100 bytes", maxHookTypes)
	}
}

func (h hookBody) row(now time.Time, old map[string]db.HookRow) db.HookRow {
	row := db.HookRow{
		ID: h.ID, HookType: h.HookType, Enabled: db.Bool(h.Enabled == nil || *h.Enabled), WebhookURL: h.WebhookURL,
		TimeoutMS: h.TimeoutMS, CreatedAt: db.At(now), UpdatedAt: db.At(now),
		Settings: db.JSON[json.RawMessage]{V: json.RawMessage("{}")},
	}
	if row.ID == "" {
		row.ID = event.NewID()
	}
	if was, ok := old[row.ID]; ok {
		row.CreatedAt = was.CreatedAt
	}
	if row.TimeoutMS == 0 {
		row.TimeoutMS = maxHookTimeout
	}
	row.EventTypes.V = h.EventTypes
	if row.EventTypes.V == nil {
		row.EventTypes.V = []string{}
	}
	return row
}

func hookBodyOf(row db.HookRow) hookBody {
	enabled := bool(row.Enabled)
	types := row.EventTypes.V
	if types == nil {
		types = []string{}
	}
	return hookBody{
		ID: row.ID, HookType: row.HookType, Enabled: &enabled, EventTypes: types, WebhookURL: row.WebhookURL,
		TimeoutMS: row.TimeoutMS, CreatedAt: row.CreatedAt.Time, UpdatedAt: row.UpdatedAt.Time,
	}
}

func readHooks(ctx context.Context, tx bun.IDB) ([]db.HookRow, error) {
	var rows []db.HookRow
	err := tx.NewSelect().Model(&rows).Order("created_at", "id").Limit(maxHooks).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read hooks: %w", err)
	}
	return rows, nil
}

func (s *Server) getApp(c echo.Context) error {
	rows, err := readHooks(c.Request().Context(), s.cfg.DB)
	if err != nil {
		return err
	}
	hooks, legacy := []hookBody{}, ""
	for _, row := range rows {
		hooks = append(hooks, hookBodyOf(row))
		if row.ID == legacyHookID {
			legacy = row.WebhookURL
		}
	}
	return s.ok(c, reply{"app": reply{
		"event_hooks": hooks, "webhook_url": legacy, "enable_hook_payload_compression": false,
	}})
}

type appRequest struct {
	EventHooks  *[]hookBody `json:"event_hooks"`
	WebhookURL  *string     `json:"webhook_url"`
	Compression *bool       `json:"enable_hook_payload_compression"`
}

// hooks returns the hooks as the request wants them: event_hooks replaces the
// list, webhook_url then sets or, when empty, removes its own.
func (r appRequest) hooks(old []db.HookRow) ([]hookBody, error) {
	var hooks []hookBody
	if r.EventHooks != nil {
		hooks = *r.EventHooks
	} else {
		for _, row := range old {
			hooks = append(hooks, hookBodyOf(row))
		}
	}
	if r.WebhookURL != nil {
		hooks = slices.DeleteFunc(slices.Clone(hooks), func(h hookBody) bool { return h.ID == legacyHookID })
		if *r.WebhookURL != "" {
			hooks = append(hooks, hookBody{ID: legacyHookID, HookType: hookTypeWebhook, WebhookURL: *r.WebhookURL})
		}
	}
	fields := map[string]string{}
	if len(hooks) > maxHooks {
		fields["event_hooks"] = fmt.Sprintf("must be at most %d", maxHooks)
	}
	seen := map[string]bool{}
	for i, h := range hooks {
		path := fmt.Sprintf("event_hooks[%d]", i)
		h.check(path, fields)
		if h.ID != "" && seen[h.ID] {
			fields[path+".id"] = "stands there twice"
		}
		seen[h.ID] = true
	}
	if r.Compression != nil && *r.Compression {
		fields["enable_hook_payload_compression"] = "is not supported by this version"
	}
	if len(fields) > 0 {
		return nil, badFields(fields)
	}
	return hooks, nil
}

// checkTargets refuses addresses that events would never be sent to. What can
// only be told by asking DNS is refused when it comes to sending.
func (s *Server) checkTargets(hooks []hookBody) error {
	if s.cfg.CheckURL == nil {
		return nil
	}
	fields := map[string]string{}
	for i, h := range hooks {
		if err := s.cfg.CheckURL(h.WebhookURL); err != nil {
			fields[fmt.Sprintf("event_hooks[%d].webhook_url", i)] = "must be an address that may be reached: " + err.Error()
		}
	}
	if len(fields) > 0 {
		return badFields(fields)
	}
	return nil
}

func (s *Server) updateApp(c echo.Context) error {
	var req appRequest
	if err := decode(c, &req); err != nil {
		return err
	}
	err := s.cfg.DB.InTx(c.Request().Context(), func(ctx context.Context, tx bun.Tx) error {
		old, err := readHooks(ctx, tx)
		if err != nil {
			return err
		}
		hooks, err := req.hooks(old)
		if err != nil {
			return err
		}
		if err := s.checkTargets(hooks); err != nil {
			return err
		}
		known := map[string]db.HookRow{}
		for _, row := range old {
			known[row.ID] = row
		}
		// A list that was read and is sent back holds the settings' hook too.
		hooks = slices.DeleteFunc(slices.Clone(hooks), func(h hookBody) bool { return h.ID == db.ConfiguredHookID })
		if _, err := tx.NewDelete().Model((*db.HookRow)(nil)).Where("id <> ?", db.ConfiguredHookID).Exec(ctx); err != nil {
			return err
		}
		rows := make([]db.HookRow, len(hooks))
		for i, h := range hooks {
			rows[i] = h.row(s.cfg.Now(), known)
		}
		if len(rows) > 0 {
			if _, err := tx.NewInsert().Model(&rows).Exec(ctx); err != nil {
				return fmt.Errorf("write hooks: %w", err)
			}
		}
		return s.auditAs(c, ctx, tx, "app.update", "app", req)
	})
	if err != nil {
		return err
	}
	return s.ok(c, nil)
}
