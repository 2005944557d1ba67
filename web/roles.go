package web

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/web/api"
)

// RoleDomainAdmin is the role of who sets the recording permissions of a
// domain that they belong to.
const RoleDomainAdmin = "domain_admin"

// maxRoles bounds the list of roles.
const maxRoles = 500

// ListPermissions lists what grants can name, by both spellings.
func (s *Server) ListPermissions(context.Context, api.ListPermissionsRequestObject) (api.ListPermissionsResponseObject, error) {
	out := []api.PermissionBody{}
	for _, p := range permissionTable {
		out = append(out, api.PermissionBody{ID: p.id, Name: p.name, Action: p.name, Description: p.doc})
	}
	return api.ListPermissions200JSONResponse{Permissions: out}, nil
}

// ListRoles lists the roles that mean something to the server, and those that
// users have or call types speak of.
func (s *Server) ListRoles(ctx context.Context, _ api.ListRolesRequestObject) (api.ListRolesResponseObject, error) {
	custom := map[string]bool{}
	var ofUsers []string
	err := s.cfg.DB.NewSelect().Model((*db.UserRow)(nil)).ColumnExpr("DISTINCT role").Order("role").Limit(maxRoles).Scan(ctx, &ofUsers)
	if err != nil {
		return nil, fmt.Errorf("read roles of users: %w", err)
	}
	for _, role := range ofUsers {
		custom[role] = true
	}
	var types []db.CallTypeRow
	if err := s.cfg.DB.NewSelect().Model(&types).Column("grants").Limit(maxCallTypes).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read roles of call types: %w", err)
	}
	for _, row := range types {
		for role := range row.Grants.V {
			custom[role] = true
		}
	}
	for _, role := range []string{auth.RoleUser, auth.RoleModerator, auth.RoleAdmin, RoleHost, RoleDomainAdmin} {
		custom[role] = false
	}
	out := []api.RoleBody{}
	for _, role := range slices.Sorted(maps.Keys(custom)) {
		out = append(out, api.RoleBody{Name: role, Custom: custom[role]})
	}
	return api.ListRoles200JSONResponse{Roles: out}, nil
}
