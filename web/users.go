package web

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/web/api"
)

// maxUsers bounds one request.
const maxUsers = 100

// userRequest is what a request says of a user.
type userRequest = api.UserRequest

func userRow(u userRequest, now time.Time) db.UserRow {
	row := db.UserRow{
		ID: u.ID, Name: u.Name, Image: u.Image, Role: u.Role, Language: u.Language,
		Invisible: db.Bool(u.Invisible), CreatedAt: db.At(now), UpdatedAt: db.At(now),
	}
	if row.Role == "" {
		row.Role = auth.RoleUser
	}
	row.Teams.V, row.BlockedUserIDs.V, row.Custom.V = append([]string{}, u.Teams...), []string{}, orEmptyMap(u.Custom)
	return row
}

// ensureUsers makes the rows of users who have none. Known users stay as
// they are.
func ensureUsers(ctx context.Context, tx bun.IDB, now time.Time, users ...userRequest) error {
	rows := make([]db.UserRow, len(users))
	for i, u := range users {
		rows[i] = userRow(u, now)
	}
	if _, err := tx.NewInsert().Model(&rows).On("CONFLICT (id) DO NOTHING").Exec(ctx); err != nil {
		return fmt.Errorf("make users: %w", err)
	}
	return nil
}

// userColumns are what an application says of its users.
var userColumns = []string{"name", "image", "role", "language", "teams", "custom", "invisible", "updated_at"}

// UpsertUsers replaces what the app says about its users; what the server
// knows by itself (creation, activity) stays.
func (s *Server) UpsertUsers(ctx context.Context, req api.UpsertUsersRequestObject) (api.UpsertUsersResponseObject, error) {
	rows, err := userRows(orZero(req.Body).Users, s.cfg.Now())
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		q := tx.NewInsert().Model(&rows).On("CONFLICT (id) DO UPDATE")
		for _, column := range userColumns {
			q = q.Set("? = EXCLUDED.?", bun.Ident(column), bun.Ident(column))
		}
		if _, err := q.Exec(ctx); err != nil {
			return fmt.Errorf("write users: %w", err)
		}
		return s.auditAs(request(ctx), ctx, tx, "users.upsert", "users", ids)
	})
	if err != nil {
		return nil, err
	}
	users, err := s.cfg.DB.UsersIn(ctx, "", ids...)
	return api.UpsertUsers200JSONResponse{Users: users}, err
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
		if path := "users." + id; u.ID != id {
			fields[path+".id"] = "must be the key it stands under"
		} else {
			checkUser(fields, path, u)
		}
		rows = append(rows, userRow(u, now))
	}
	if len(fields) > 0 {
		return nil, badFields(fields)
	}
	return rows, nil
}

// checkUser notes in fields what is wrong with a user.
func checkUser(fields map[string]string, path string, u userRequest) {
	if !validUser(u.ID) {
		fields[path] = "the id " + wantUser
	}
	if u.Role != "" && !nameRE.MatchString(u.Role) {
		fields[path+".role"] = wantName
	}
	for field, text := range map[string]struct {
		value string
		most  int
	}{"name": {u.Name, 255}, "image": {u.Image, 2000}, "language": {u.Language, 20}} {
		if len(text.value) > text.most {
			fields[path+"."+field] = fmt.Sprintf("must be at most %d bytes", text.most)
		}
	}
	if len(u.Teams) > maxTeams || strings.Contains(strings.Join(u.Teams, ""), "\x00") {
		fields[path+".teams"] = fmt.Sprintf("must be at most %d names", maxTeams)
	}
	checkCustom(fields, path+".custom", u.Custom)
}

// maxTeams bounds the teams of a user.
const maxTeams = 100
