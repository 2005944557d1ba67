package web

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/uptrace/bun"

	"stillwatch/internal/db"
)

// maxCallTypes bounds the list, which is given out in one piece.
const maxCallTypes = 200

type callTypeRequest struct {
	Name            string              `json:"name"`
	Grants          map[string][]string `json:"grants"`
	Settings        json.RawMessage     `json:"settings"`
	ExternalStorage string              `json:"external_storage"`
}

func (r callTypeRequest) check() error {
	if fields := checkGrants(r.Grants); len(fields) > 0 {
		return badFields(fields)
	}
	if r.ExternalStorage != "" {
		return badField("external_storage", "is not supported by this version")
	}
	return nil
}

func callTypeReply(row db.CallTypeRow) (reply, error) {
	settings, err := readSettings(row.Settings.V)
	if err != nil {
		return nil, err
	}
	grants := row.Grants.V
	if grants == nil {
		grants = map[string][]string{}
	}
	r := reply{
		"name": row.Name, "grants": grants, "settings": settings,
		"notification_settings": map[string]any{"enabled": false},
		"created_at":            row.CreatedAt.Time, "updated_at": row.UpdatedAt.Time,
	}
	if row.ExternalStorage != "" {
		r["external_storage"] = row.ExternalStorage
	}
	return r, nil
}

func (s *Server) callType(ctx context.Context, tx bun.IDB, name string) (db.CallTypeRow, error) {
	var row db.CallTypeRow
	err := tx.NewSelect().Model(&row).Where("name = ?", name).Scan(ctx)
	if db.IsNotFound(err) {
		return row, notFound("call type", name)
	}
	return row, err
}

func (s *Server) listCallTypes(c echo.Context) error {
	var rows []db.CallTypeRow
	if err := s.cfg.DB.NewSelect().Model(&rows).Order("name").Limit(maxCallTypes).Scan(c.Request().Context()); err != nil {
		return err
	}
	types := map[string]reply{}
	for _, row := range rows {
		r, err := callTypeReply(row)
		if err != nil {
			return err
		}
		types[row.Name] = r
	}
	return s.ok(c, reply{"call_types": types})
}

func (s *Server) getCallType(c echo.Context) error {
	row, err := s.callType(c.Request().Context(), s.cfg.DB, c.Param("name"))
	if err != nil {
		return err
	}
	r, err := callTypeReply(row)
	if err != nil {
		return err
	}
	return s.ok(c, r)
}

func (s *Server) createCallType(c echo.Context) error {
	var req callTypeRequest
	if err := decode(c, &req); err != nil {
		return err
	}
	if !nameRE.MatchString(req.Name) {
		return badField("name", wantName)
	}
	if err := req.check(); err != nil {
		return err
	}
	settings, err := DefaultSettings().Merge(req.Settings, "settings")
	if err != nil {
		return err
	}
	if req.Grants == nil {
		req.Grants = DefaultGrants()
	}
	now := db.At(s.cfg.Now())
	row := db.CallTypeRow{
		Name: req.Name, Settings: settingsColumn(settings), Grants: db.JSON[map[string][]string]{V: req.Grants},
		CreatedAt: now, UpdatedAt: now,
	}
	err = s.cfg.DB.InTx(c.Request().Context(), func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().Model((*db.CallTypeRow)(nil)).Count(ctx)
		if err != nil {
			return err
		}
		if n >= maxCallTypes {
			return badInput("there are %d call types already, the most there can be", n)
		}
		res, err := tx.NewInsert().Model(&row).On("CONFLICT (name) DO NOTHING").Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return fail(http.StatusConflict, CodeConflict, "call type %q exists already", req.Name)
		}
		return s.auditAs(c, ctx, tx, "call_type.create", req.Name, req)
	})
	if err != nil {
		return err
	}
	r, err := callTypeReply(row)
	if err != nil {
		return err
	}
	return s.answer(c, http.StatusCreated, r)
}

// updateCallType changes what the request names and keeps the rest. Calls
// that exist keep the settings they were made with.
func (s *Server) updateCallType(c echo.Context) error {
	var req callTypeRequest
	if err := decode(c, &req); err != nil {
		return err
	}
	if err := req.check(); err != nil {
		return err
	}
	var row db.CallTypeRow
	err := s.cfg.DB.InTx(c.Request().Context(), func(ctx context.Context, tx bun.Tx) error {
		now := db.At(s.cfg.Now())
		// The write comes first: it locks the row, so that two updates merge.
		_, err := tx.NewUpdate().Model(&row).Set("updated_at = ?", now).Where("name = ?", c.Param("name")).Exec(ctx)
		if err != nil {
			return err
		}
		if row, err = s.callType(ctx, tx, c.Param("name")); err != nil {
			return err
		}
		old, err := readSettings(row.Settings.V)
		if err != nil {
			return err
		}
		settings, err := old.Merge(req.Settings, "settings")
		if err != nil {
			return err
		}
		row.Settings = settingsColumn(settings)
		if req.Grants != nil {
			row.Grants.V = req.Grants
		}
		if _, err := tx.NewUpdate().Model(&row).WherePK().Column("settings", "grants").Exec(ctx); err != nil {
			return err
		}
		return s.auditAs(c, ctx, tx, "call_type.update", row.Name, req)
	})
	if err != nil {
		return err
	}
	r, err := callTypeReply(row)
	if err != nil {
		return err
	}
	return s.ok(c, r)
}

func (s *Server) deleteCallType(c echo.Context) error {
	name := c.Param("name")
	if name == DefaultCallType {
		return badInput("the call type %q cannot be deleted", name)
	}
	err := s.cfg.DB.InTx(c.Request().Context(), func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewDelete().Model((*db.CallTypeRow)(nil)).Where("name = ?", name).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return notFound("call type", name)
		}
		return s.auditAs(c, ctx, tx, "call_type.delete", name, nil)
	})
	if err != nil {
		return err
	}
	return s.ok(c, nil)
}
