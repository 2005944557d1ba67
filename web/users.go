package web

import (
	"context"
	"fmt"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/uptrace/bun"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
)

// maxUsers bounds one request.
const maxUsers = 100

type userRequest struct {
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Image     string         `json:"image"`
	Role      string         `json:"role"`
	Language  string         `json:"language"`
	Teams     []string       `json:"teams"`
	Custom    map[string]any `json:"custom"`
	Invisible bool           `json:"invisible"`
}

func (u userRequest) row(now time.Time) db.UserRow {
	row := db.UserRow{
		ID: u.ID, Name: u.Name, Image: u.Image, Role: u.Role, Language: u.Language,
		Invisible: db.Bool(u.Invisible), CreatedAt: db.At(now), UpdatedAt: db.At(now),
	}
	if row.Role == "" {
		row.Role = auth.RoleUser
	}
	row.Teams.V, row.BlockedUserIDs.V, row.Custom.V = u.Teams, []string{}, u.Custom
	if row.Teams.V == nil {
		row.Teams.V = []string{}
	}
	if row.Custom.V == nil {
		row.Custom.V = map[string]any{}
	}
	return row
}

// ensureUsers makes the rows of users who have none. Known users stay as
// they are.
func ensureUsers(ctx context.Context, tx bun.IDB, now time.Time, users ...userRequest) error {
	rows := make([]db.UserRow, len(users))
	for i, u := range users {
		rows[i] = u.row(now)
	}
	if _, err := tx.NewInsert().Model(&rows).On("CONFLICT (id) DO NOTHING").Exec(ctx); err != nil {
		return fmt.Errorf("make users: %w", err)
	}
	return nil
}

// upsertUsers replaces what the app says about its users; what the server
// knows by itself (creation, activity) stays.
func (s *Server) upsertUsers(c echo.Context) error {
	var req struct {
		Users map[string]userRequest `json:"users"`
	}
	if err := decode(c, &req); err != nil {
		return err
	}
	rows, err := userRows(req.Users, s.cfg.Now())
	if err != nil {
		return err
	}
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	err = s.cfg.DB.InTx(c.Request().Context(), func(ctx context.Context, tx bun.Tx) error {
		q := tx.NewInsert().Model(&rows).On("CONFLICT (id) DO UPDATE")
		for _, column := range []string{"name", "image", "role", "language", "teams", "custom", "invisible", "updated_at"} {
			q = q.Set("? = EXCLUDED.?", bun.Ident(column), bun.Ident(column))
		}
		if _, err := q.Exec(ctx); err != nil {
			return fmt.Errorf("write users: %w", err)
		}
		return s.auditAs(c, ctx, tx, "users.upsert", "users", ids)
	})
	if err != nil {
		return err
	}
	users, err := s.cfg.DB.UsersIn(c.Request().Context(), "", ids...)
	if err != nil {
		return err
	}
	return s.ok(c, reply{"users": users})
}

func userRows(users map[string]userRequest, now time.Time) ([]db.UserRow, error) {
	fields := map[string]string{}
	if len(users) == 0 || len(users) > maxUsers {
		fields["users"] = fmt.Sprintf("must name 1 to %d users", maxUsers)
	}
	var rows []db.UserRow
	for id, u := range users {
		if u.ID == "" {
			u.ID = id
		}
		path := "users." + id
		switch {
		case u.ID != id:
			fields[path+".id"] = "must be the key it stands under"
		case !validUser(id):
			fields[path] = "the id " + wantUser
		case u.Role != "" && !nameRE.MatchString(u.Role):
			fields[path+".role"] = wantName
		case len(u.Name) > 255:
			fields[path+".name"] = "must be at most 255 bytes"
		}
		rows = append(rows, u.row(now))
	}
	if len(fields) > 0 {
		return nil, badFields(fields)
	}
	return rows, nil
}
