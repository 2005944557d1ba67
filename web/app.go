package web

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/web/api"
)

// maxHooks is how many hooks there may be, that of the settings not counted.
const maxHooks = 20

// legacyHookID is the hook that the older setting webhook_url stands for.
const legacyHookID = "webhook_url"

// GetApp gives the settings. Secrets are not among them.
func (s *Server) GetApp(ctx context.Context, _ api.GetAppRequestObject) (api.GetAppResponseObject, error) {
	state, err := readApp(ctx, s.cfg.DB)
	if err != nil {
		return nil, err
	}
	body, err := state.body()
	if err != nil {
		return nil, err
	}
	sendETag(ctx, state.etag())
	return api.GetApp200JSONResponse{App: body}, nil
}

// appState is all that the settings consist of.
type appState struct {
	settings db.AppSettingsRow
	hooks    []db.HookRow
}

func readApp(ctx context.Context, tx bun.IDB) (st appState, err error) {
	if st.settings, err = db.AppSettings(ctx, tx); err != nil {
		return st, err
	}
	if err := tx.NewSelect().Model(&st.hooks).Order("created_at", "id").Limit(maxHooks + 1).Scan(ctx); err != nil {
		return st, fmt.Errorf("read hooks: %w", err)
	}
	return st, nil
}

// etag tells two states apart. Of the hooks it takes what the API sets: what
// is known of their deliveries changes all the time.
func (st appState) etag() string {
	at, content := st.settings.UpdatedAt.Time, []any{st.settings.HookCompression}
	for _, h := range st.hooks {
		if h.UpdatedAt.After(at) {
			at = h.UpdatedAt.Time
		}
		content = append(content, h.ID, h.HookType, h.Enabled, h.WebhookURL, h.TimeoutMS, h.EventTypes.V, h.Settings.V)
	}
	return etag(at, content)
}

// lockApp makes updates of the settings wait for one another.
func lockApp(ctx context.Context, tx bun.Tx) error {
	row := db.AppSettingsRow{ID: 1}
	_, err := tx.NewInsert().Model(&row).On("CONFLICT (id) DO UPDATE").Set("updated_at = app.updated_at").Exec(ctx)
	if err != nil {
		return fmt.Errorf("lock settings: %w", err)
	}
	return nil
}

func (st appState) body() (api.App, error) {
	app := api.App{EventHooks: []api.EventHook{}, EnableHookPayloadCompression: bool(st.settings.HookCompression)}
	for _, row := range st.hooks {
		hook, err := hookBody(row)
		if err != nil {
			return app, err
		}
		app.EventHooks = append(app.EventHooks, hook)
		if row.ID == legacyHookID {
			app.WebhookURL = row.WebhookURL
		}
	}
	return app, nil
}

// UpdateApp changes what the request names. event_hooks replaces the list of
// hooks; a hook keeps its id, what waits for it, and the secrets that the
// request leaves out.
func (s *Server) UpdateApp(ctx context.Context, req api.UpdateAppRequestObject) (api.UpdateAppResponseObject, error) {
	in := api.UpdateAppRequest{}
	if req.Body != nil {
		in = *req.Body
	}
	var tag string
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := lockApp(ctx, tx); err != nil {
			return err
		}
		st, err := readApp(ctx, tx)
		if err != nil {
			return err
		}
		if err := ifMatch(req.Params.IfMatch, st.etag()); err != nil {
			return err
		}
		edit := hookEdit{s: s, old: st.hooks, fields: map[string]string{}}
		rows, err := edit.rows(in)
		if err != nil {
			return err
		}
		if err := s.writeHooks(ctx, tx, st.hooks, rows); err != nil {
			return err
		}
		if in.EnableHookPayloadCompression != nil {
			if err := s.writeCompression(ctx, tx, *in.EnableHookPayloadCompression); err != nil {
				return err
			}
		}
		if st, err = readApp(ctx, tx); err != nil {
			return err
		}
		tag = st.etag()
		return s.auditAs(request(ctx), ctx, tx, "app.update", "app", appDetail(in, rows))
	})
	if err != nil {
		return nil, err
	}
	sendETag(ctx, tag)
	return api.UpdateApp200JSONResponse{}, nil
}

// writeHooks makes the table hold rows, besides the hook of the settings.
// Rows are changed in place: they have columns that are not the API's.
func (s *Server) writeHooks(ctx context.Context, tx bun.Tx, old, rows []db.HookRow) error {
	keep := []string{db.ConfiguredHookID}
	for _, row := range rows {
		keep = append(keep, row.ID)
	}
	if _, err := tx.NewDelete().Model((*db.HookRow)(nil)).Where("id NOT IN (?)", bun.List(keep)).Exec(ctx); err != nil {
		return fmt.Errorf("remove hooks: %w", err)
	}
	for _, row := range rows {
		if !slices.ContainsFunc(old, func(o db.HookRow) bool { return o.ID == row.ID }) {
			if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
				return fmt.Errorf("add hook: %w", err)
			}
			continue
		}
		_, err := tx.NewUpdate().Model(&row).WherePK().
			Column("hook_type", "enabled", "event_types", "webhook_url", "timeout_ms", "settings", "updated_at").Exec(ctx)
		if err != nil {
			return fmt.Errorf("change hook: %w", err)
		}
	}
	return nil
}

func (s *Server) writeCompression(ctx context.Context, tx bun.Tx, on bool) error {
	row := db.AppSettingsRow{ID: 1, HookCompression: db.Bool(on), UpdatedAt: db.At(s.cfg.Now())}
	_, err := tx.NewInsert().Model(&row).On("CONFLICT (id) DO UPDATE").
		Set("hook_compression = EXCLUDED.hook_compression").Set("updated_at = EXCLUDED.updated_at").Exec(ctx)
	if err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// appDetail is what the audit keeps of an update: which hooks there are then,
// without addresses, which may hold secrets.
func appDetail(in api.UpdateAppRequest, rows []db.HookRow) any {
	type hook struct {
		ID       string `json:"id"`
		HookType string `json:"hook_type"`
		Enabled  bool   `json:"enabled"`
	}
	detail := struct {
		Hooks       []hook `json:"event_hooks"`
		Compression *bool  `json:"enable_hook_payload_compression,omitempty"`
	}{[]hook{}, in.EnableHookPayloadCompression}
	for _, r := range rows {
		detail.Hooks = append(detail.Hooks, hook{r.ID, r.HookType, bool(r.Enabled)})
	}
	return detail
}
