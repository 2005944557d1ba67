package web

import (
	"context"
	"fmt"
	"net/http"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
	"stillwatch/web/api"
)

// maxCallTypes bounds the list, which is given out in one piece to who asks
// for no limit.
const maxCallTypes = 100

var callTypeFields = filter.Fields{"name": {Column: "ct.name", Kind: filter.Text, Sortable: true}}

// ListCallTypes gives all call types, or a page of them by name.
func (s *Server) ListCallTypes(ctx context.Context, req api.ListCallTypesRequestObject) (api.ListCallTypesResponseObject, error) {
	limit := req.Params.Limit
	if limit == 0 {
		limit = maxCallTypes
	}
	p, err := callTypeFields.Page(nil, []filter.Sort{{Field: "name"}}, limit, req.Params.Next, "", "name")
	if err != nil {
		return nil, err
	}
	var rows []db.CallTypeRow
	if err := p.Apply(s.cfg.DB.NewSelect().Model(&rows)).Scan(ctx); err != nil {
		return nil, fmt.Errorf("list call types: %w", err)
	}
	rows, next, _ := filter.Cut(p, rows, func(row *db.CallTypeRow, _ string) any { return row.Name })
	answer := api.ListCallTypes200JSONResponse{CallTypes: map[string]api.CallTypeBody{}, Next: next}
	for _, row := range rows {
		r, err := callTypeAnswer(row)
		if err != nil {
			return nil, err
		}
		answer.CallTypes[row.Name] = api.CallTypeBody{
			Name: r.Name, Grants: r.Grants, Settings: r.Settings, NotificationSettings: r.NotificationSettings,
			CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, ExternalStorage: r.ExternalStorage,
		}
	}
	return answer, nil
}

// GetCallType reads one call type.
func (s *Server) GetCallType(ctx context.Context, req api.GetCallTypeRequestObject) (api.GetCallTypeResponseObject, error) {
	row, err := s.callType(ctx, s.cfg.DB, req.Name)
	if err != nil {
		return nil, err
	}
	answer, err := taggedCallType(ctx, row)
	return api.GetCallType200JSONResponse(answer), err
}

// CreateCallType makes a call type. What it does not name has its default.
func (s *Server) CreateCallType(ctx context.Context, req api.CreateCallTypeRequestObject) (api.CreateCallTypeResponseObject, error) {
	in := orZero(req.Body)
	if err := s.checkCallType(ctx, in.Grants, in.ExternalStorage, in.NotificationSettings); err != nil {
		return nil, err
	}
	if err := s.checkReach(in.Settings, "settings"); err != nil {
		return nil, err
	}
	settings, err := DefaultSettings().Merge(in.Settings, "settings")
	if err != nil {
		return nil, err
	}
	now := db.At(s.cfg.Now())
	row := db.CallTypeRow{
		Name: in.Name, Settings: settingsColumn(settings), Grants: db.JSON[map[string][]string]{V: in.Grants},
		ExternalStorage: in.ExternalStorage, CreatedAt: now, UpdatedAt: now,
	}
	if in.Grants == nil {
		row.Grants.V = DefaultGrants()
	}
	row.NotificationSettings.V = in.NotificationSettings
	if in.NotificationSettings == nil {
		row.NotificationSettings.V = map[string]any{"enabled": false}
	}
	if err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error { return s.insertCallType(ctx, tx, row, in) }); err != nil {
		return nil, err
	}
	answer, err := taggedCallType(ctx, row)
	return api.CreateCallType201JSONResponse(answer), err
}

func (s *Server) insertCallType(ctx context.Context, tx bun.Tx, row db.CallTypeRow, in api.CreateCallTypeRequest) error {
	n, err := tx.NewSelect().Model((*db.CallTypeRow)(nil)).Count(ctx)
	if err != nil {
		return fmt.Errorf("count call types: %w", err)
	}
	if n >= maxCallTypes {
		return badInput("there are %d call types already, the most there can be", n)
	}
	res, err := tx.NewInsert().Model(&row).On("CONFLICT (name) DO NOTHING").Exec(ctx)
	if err != nil {
		return fmt.Errorf("insert call type %s: %w", row.Name, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return fail(http.StatusConflict, CodeConflict, "call type %q exists already", row.Name)
	}
	return s.auditAs(request(ctx), ctx, tx, "call_type.create", row.Name, in)
}

// UpdateCallType changes what the request names and keeps the rest. Calls
// that exist keep the settings they were made with.
func (s *Server) UpdateCallType(ctx context.Context, req api.UpdateCallTypeRequestObject) (api.UpdateCallTypeResponseObject, error) {
	in := orZero(req.Body)
	if err := s.checkCallType(ctx, in.Grants, orZero(in.ExternalStorage), in.NotificationSettings); err != nil {
		return nil, err
	}
	if err := s.checkReach(in.Settings, "settings"); err != nil {
		return nil, err
	}
	var row db.CallTypeRow
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var err error
		if row, err = s.lockCallType(ctx, tx, req.Name, req.Params.IfMatch); err != nil {
			return err
		}
		old, err := readSettings(row.Settings.V)
		if err != nil {
			return err
		}
		settings, err := old.Merge(in.Settings, "settings")
		if err != nil {
			return err
		}
		row.Settings, row.UpdatedAt = settingsColumn(settings), db.At(s.cfg.Now())
		if in.Grants != nil {
			row.Grants.V = in.Grants
		}
		if in.NotificationSettings != nil {
			row.NotificationSettings.V = in.NotificationSettings
		}
		if in.ExternalStorage != nil {
			row.ExternalStorage = *in.ExternalStorage
		}
		_, err = tx.NewUpdate().Model(&row).WherePK().
			Column("settings", "grants", "notification_settings", "external_storage", "updated_at").Exec(ctx)
		if err != nil {
			return fmt.Errorf("update call type %s: %w", row.Name, err)
		}
		return s.auditAs(request(ctx), ctx, tx, "call_type.update", row.Name, in)
	})
	if err != nil {
		return nil, err
	}
	answer, err := taggedCallType(ctx, row)
	return api.UpdateCallType200JSONResponse(answer), err
}

// DeleteCallType deletes a call type. Its calls live on with their settings.
func (s *Server) DeleteCallType(ctx context.Context, req api.DeleteCallTypeRequestObject) (api.DeleteCallTypeResponseObject, error) {
	if req.Name == DefaultCallType {
		return nil, badInput("the call type %q cannot be deleted", req.Name)
	}
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row, err := s.lockCallType(ctx, tx, req.Name, req.Params.IfMatch)
		if err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model(&row).WherePK().Exec(ctx); err != nil {
			return fmt.Errorf("delete call type %s: %w", req.Name, err)
		}
		return s.auditAs(request(ctx), ctx, tx, "call_type.delete", req.Name, nil)
	})
	return api.DeleteCallType200JSONResponse{}, err
}

func (s *Server) callType(ctx context.Context, tx bun.IDB, name string) (db.CallTypeRow, error) {
	var row db.CallTypeRow
	err := tx.NewSelect().Model(&row).Where("name = ?", name).Scan(ctx)
	if db.IsNotFound(err) {
		return row, notFound("call type", name)
	}
	return row, err
}

// lockCallType holds the row until the commit, so that two updates merge, and
// checks the caller's idea of it.
func (s *Server) lockCallType(ctx context.Context, tx bun.Tx, name, wanted string) (db.CallTypeRow, error) {
	_, err := tx.NewUpdate().Model((*db.CallTypeRow)(nil)).Set("updated_at = updated_at").Where("name = ?", name).Exec(ctx)
	if err != nil {
		return db.CallTypeRow{}, fmt.Errorf("lock call type %s: %w", name, err)
	}
	row, err := s.callType(ctx, tx, name)
	if err != nil {
		return row, err
	}
	return row, ifMatch(wanted, callTypeETag(row))
}

// checkCallType refuses grants that cannot be, notification settings that are
// too large, and the name of a storage that there is none of.
func (s *Server) checkCallType(ctx context.Context, grants map[string][]string, storage string, notifications map[string]any) error {
	fields := checkGrants(grants)
	checkCustom(fields, "notification_settings", notifications)
	if storage != "" {
		switch _, err := db.ExternalStorage(ctx, s.cfg.DB, storage); {
		case db.IsNotFound(err):
			fields["external_storage"] = "must be the name of an external storage"
		case err != nil:
			return err
		}
	}
	if len(fields) > 0 {
		return badFields(fields)
	}
	return nil
}

func callTypeETag(row db.CallTypeRow) string {
	return etag(row.UpdatedAt.Time, []any{row.Name, row.Settings.V, row.Grants.V, row.NotificationSettings.V, row.ExternalStorage, row.Policy})
}

func taggedCallType(ctx context.Context, row db.CallTypeRow) (api.CallTypeResponse, error) {
	sendETag(ctx, callTypeETag(row))
	return callTypeAnswer(row)
}

func callTypeAnswer(row db.CallTypeRow) (api.CallTypeResponse, error) {
	settings, err := readSettings(row.Settings.V)
	if err != nil {
		return api.CallTypeResponse{}, err
	}
	grants := map[string][]string{}
	for role, list := range row.Grants.V {
		grants[role] = append([]string{}, list...)
	}
	return api.CallTypeResponse{
		Name: row.Name, Grants: grants, Settings: untyped(settings), NotificationSettings: orEmptyMap(row.NotificationSettings.V),
		CreatedAt: row.CreatedAt.Time, UpdatedAt: row.UpdatedAt.Time, ExternalStorage: row.ExternalStorage,
	}, nil
}
