package web

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/web/api"
)

// UpdateUsers sets and unsets single fields of users, all or none of them.
func (s *Server) UpdateUsers(ctx context.Context, req api.UpdateUsersRequestObject) (api.UpdateUsersResponseObject, error) {
	in := orZero(req.Body).Users
	if len(in) == 0 || len(in) > maxUsers {
		return nil, badField("users", fmt.Sprintf("must name 1 to %d users", maxUsers))
	}
	ids := make([]string, len(in))
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for i, u := range in {
			ids[i] = u.ID
			if err := s.updateUser(ctx, tx, u, fmt.Sprintf("users[%d]", i)); err != nil {
				return err
			}
		}
		return s.auditAs(request(ctx), ctx, tx, "users.update", "users", ids)
	})
	if err != nil {
		return nil, err
	}
	users, err := s.cfg.DB.UsersIn(ctx, "", ids...)
	return api.UpdateUsers200JSONResponse{Users: users}, err
}

func (s *Server) updateUser(ctx context.Context, tx bun.Tx, u api.UpdateUserRequest, path string) error {
	// The update comes first: it locks the row, so that two updates merge.
	if _, err := tx.NewUpdate().Model((*db.UserRow)(nil)).Set("updated_at = updated_at").Where("id = ?", u.ID).Exec(ctx); err != nil {
		return fmt.Errorf("lock user %s: %w", u.ID, err)
	}
	var row db.UserRow
	err := tx.NewSelect().Model(&row).Where("id = ?", u.ID).Scan(ctx)
	if db.IsNotFound(err) {
		return notFound("user", u.ID)
	}
	if err != nil {
		return fmt.Errorf("read user %s: %w", u.ID, err)
	}
	said := userRequest{
		ID: row.ID, Name: row.Name, Image: row.Image, Role: row.Role, Language: row.Language,
		Invisible: bool(row.Invisible), Teams: row.Teams.V, Custom: orEmptyMap(row.Custom.V),
	}
	if err := patchUser(&said, u, path); err != nil {
		return err
	}
	fields := map[string]string{}
	if checkUser(fields, path+".set", said); len(fields) > 0 {
		return badFields(fields)
	}
	next := userRow(said, s.cfg.Now())
	if _, err := tx.NewUpdate().Model(&next).WherePK().Column(userColumns...).Exec(ctx); err != nil {
		return fmt.Errorf("update user %s: %w", u.ID, err)
	}
	return nil
}

// patchUser applies set and unset. Names that a user does not have as fields
// are keys of custom.
func patchUser(u *userRequest, patch api.UpdateUserRequest, path string) error {
	for name, value := range patch.Set {
		if name == "id" {
			return badField(path+".set.id", "cannot be changed")
		}
		target := userField(u, name)
		if target == nil {
			u.Custom[name] = value
			continue
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		reflect.ValueOf(target).Elem().SetZero() // a map would be merged
		if err := unmarshal(raw, path+".set."+name, target); err != nil {
			return err
		}
		u.Custom = orEmptyMap(u.Custom)
	}
	for _, name := range patch.Unset {
		if target := userField(u, name); target != nil {
			reflect.ValueOf(target).Elem().SetZero()
			u.Custom = orEmptyMap(u.Custom)
		} else {
			delete(u.Custom, name)
		}
	}
	return nil
}

// userField points to the field of that name, nil for what belongs in custom.
func userField(u *userRequest, name string) any {
	switch name {
	case "name":
		return &u.Name
	case "image":
		return &u.Image
	case "role":
		return &u.Role
	case "language":
		return &u.Language
	case "invisible":
		return &u.Invisible
	case "teams":
		return &u.Teams
	case "custom":
		return &u.Custom
	}
	return nil
}
