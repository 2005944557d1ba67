package web

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/recording/permission"
	"stillwatch/web/api"
)

// recordingScope names the user or the domain whose permissions are meant.
type recordingScope struct{ scope, id string }

// ownScope is the caller; a server token names a user.
func ownScope(ctx context.Context, userID string) (recordingScope, error) {
	id := callerOf(ctx)
	switch {
	case !id.Server && userID != "" && userID != id.UserID:
		return recordingScope{}, forbidden("user %q may read and set their own recording permissions only", id.UserID)
	case !id.Server || userID == "":
		userID = id.UserID
	}
	if userID == "" {
		return recordingScope{}, badField("user_id", "is required with a server token")
	}
	return recordingScope{db.ScopeUser, userID}, wholeToken(id)
}

// domainScope is a domain that the caller administers: a team of theirs.
func (s *Server) domainScope(ctx context.Context, domain string) (recordingScope, error) {
	scope, id := recordingScope{db.ScopeDomain, domain}, callerOf(ctx)
	if id.Server {
		return scope, nil
	}
	if err := wholeToken(id); err != nil {
		return scope, err
	}
	user, err := s.cfg.DB.User(ctx, id.UserID)
	if err != nil {
		return scope, err
	}
	if (id.Role != RoleDomainAdmin && id.Role != auth.RoleAdmin) || !slices.Contains(user.Teams, domain) {
		return scope, forbidden("user %q is no administrator of the domain %q", id.UserID, domain)
	}
	return scope, nil
}

// wholeToken refuses a token for some calls: permissions are about all.
func wholeToken(id auth.Identity) error {
	if !id.Server && len(id.CallCIDs) > 0 {
		return forbidden("the token is good for some calls only: this needs one without call_cids")
	}
	return nil
}

// readPermission returns nil where none is set.
func readPermission(ctx context.Context, tx bun.IDB, sc recordingScope) (*permission.Permission, error) {
	var row db.RecordingPermissionRow
	err := tx.NewSelect().Model(&row).Where("scope = ?", sc.scope).Where("id = ?", sc.id).Scan(ctx)
	if db.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read recording permissions of %s %s: %w", sc.scope, sc.id, err)
	}
	return &permission.Permission{Type: permission.Type(row.RecordingType), Profile: permission.Profile(row.RecordingProfile)}, nil
}

func (s *Server) permissionOf(ctx context.Context, sc recordingScope) (out api.RecordingPermissionsResponse, err error) {
	p, err := readPermission(ctx, s.cfg.DB, sc)
	if err != nil {
		return out, err
	}
	if p == nil {
		return out, notFound("recording permissions of "+sc.scope, sc.id)
	}
	return permissionBody(*p), nil
}

func permissionBody(p permission.Permission) api.RecordingPermissionsResponse {
	return api.RecordingPermissionsResponse{Recording: api.RecordingPermission{
		RecordingType:    api.RecordingPermissionRecordingType(p.Type),
		RecordingProfile: api.RecordingPermissionRecordingProfile(p.Profile),
	}}
}

// writePermission sets what is named; a part that is empty stays as it is.
// Without both parts there must be something to change.
func (s *Server) writePermission(ctx context.Context, sc recordingScope, p permission.Permission) (out api.RecordingPermissionsResponse, err error) {
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if p.Type == "" || p.Profile == "" {
			old, err := readPermission(ctx, tx, sc)
			if err != nil {
				return err
			}
			if old == nil {
				return notFound("recording permissions of "+sc.scope, sc.id)
			}
			if p.Type == "" {
				p.Type = old.Type
			}
			if p.Profile == "" {
				p.Profile = old.Profile
			}
		}
		if !p.Type.Valid() || !p.Profile.Valid() {
			return badField("recording", "must have a recordingType and a recordingProfile")
		}
		by, err := actor(request(ctx), "")
		if err != nil {
			return err
		}
		row := db.RecordingPermissionRow{
			Scope: sc.scope, ID: sc.id, RecordingType: string(p.Type), RecordingProfile: string(p.Profile),
			ByUserID: by, UpdatedAt: db.At(s.cfg.Now()),
		}
		q := tx.NewInsert().Model(&row).On("CONFLICT (scope, id) DO UPDATE")
		for _, column := range []string{"recording_type", "recording_profile", "by_user_id", "updated_at"} {
			q = q.Set("? = EXCLUDED.?", bun.Ident(column), bun.Ident(column))
		}
		if _, err := q.Exec(ctx); err != nil {
			return fmt.Errorf("write recording permissions of %s %s: %w", sc.scope, sc.id, err)
		}
		return s.auditAs(request(ctx), ctx, tx, "recording_permissions.set", sc.scope+":"+sc.id, p)
	})
	return permissionBody(p), err
}

func permissionFrom(r api.RecordingPermission) permission.Permission {
	return permission.Permission{Type: permission.Type(r.RecordingType), Profile: permission.Profile(r.RecordingProfile)}
}

func permissionPatch(r api.RecordingPermissionsPatch) permission.Permission {
	return permission.Permission{Type: permission.Type(r.Recording.RecordingType), Profile: permission.Profile(r.Recording.RecordingProfile)}
}

// GetRecordingPermissions gives the caller's own. There are none by default.
func (s *Server) GetRecordingPermissions(ctx context.Context, req api.GetRecordingPermissionsRequestObject) (api.GetRecordingPermissionsResponseObject, error) {
	sc, err := ownScope(ctx, req.Params.UserID)
	if err != nil {
		return nil, err
	}
	out, err := s.permissionOf(ctx, sc)
	return api.GetRecordingPermissions200JSONResponse(out), err
}

// SetRecordingPermissions sets the caller's own.
func (s *Server) SetRecordingPermissions(ctx context.Context, req api.SetRecordingPermissionsRequestObject) (api.SetRecordingPermissionsResponseObject, error) {
	sc, err := ownScope(ctx, req.Params.UserID)
	if err != nil {
		return nil, err
	}
	out, err := s.writePermission(ctx, sc, permissionFrom(orZero(req.Body).Recording))
	return api.SetRecordingPermissions200JSONResponse(out), err
}

// UpdateRecordingPermissions changes one of the two fields, or both.
func (s *Server) UpdateRecordingPermissions(ctx context.Context, req api.UpdateRecordingPermissionsRequestObject) (api.UpdateRecordingPermissionsResponseObject, error) {
	sc, err := ownScope(ctx, req.Params.UserID)
	if err != nil {
		return nil, err
	}
	out, err := s.writePermission(ctx, sc, permissionPatch(orZero(req.Body)))
	return api.UpdateRecordingPermissions200JSONResponse(out), err
}

// GetDomainRecordingPermissions gives a domain's to its administrators.
func (s *Server) GetDomainRecordingPermissions(ctx context.Context, req api.GetDomainRecordingPermissionsRequestObject) (api.GetDomainRecordingPermissionsResponseObject, error) {
	sc, err := s.domainScope(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	out, err := s.permissionOf(ctx, sc)
	return api.GetDomainRecordingPermissions200JSONResponse(out), err
}

// SetDomainRecordingPermissions sets a domain's.
func (s *Server) SetDomainRecordingPermissions(ctx context.Context, req api.SetDomainRecordingPermissionsRequestObject) (api.SetDomainRecordingPermissionsResponseObject, error) {
	sc, err := s.domainScope(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	out, err := s.writePermission(ctx, sc, permissionFrom(orZero(req.Body).Recording))
	return api.SetDomainRecordingPermissions200JSONResponse(out), err
}

// UpdateDomainRecordingPermissions changes a domain's.
func (s *Server) UpdateDomainRecordingPermissions(ctx context.Context, req api.UpdateDomainRecordingPermissionsRequestObject) (api.UpdateDomainRecordingPermissionsResponseObject, error) {
	sc, err := s.domainScope(ctx, req.ID)
	if err != nil {
		return nil, err
	}
	out, err := s.writePermission(ctx, sc, permissionPatch(orZero(req.Body)))
	return api.UpdateDomainRecordingPermissions200JSONResponse(out), err
}
