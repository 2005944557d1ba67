package web

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// UpdateUserPermissions gives a user permissions in this call, whatever their
// roles, or takes them away. The last word counts; within one request, to
// revoke wins.
func (s *Server) UpdateUserPermissions(ctx context.Context, req api.UpdateUserPermissionsRequestObject) (api.UpdateUserPermissionsResponseObject, error) {
	in := orZero(req.Body)
	call, by, err := s.target(ctx, req.Type, req.ID, CapUpdatePermissions, in.UserID, "")
	if err != nil {
		return nil, err
	}
	changes, err := grantChanges(in)
	if err != nil {
		return nil, err
	}
	if err := s.mayGrant(ctx, call, changes); err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		return api.UpdateUserPermissions200JSONResponse{}, nil
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var rows []db.CallGrantRow
		for _, capability := range slices.Sorted(maps.Keys(changes)) { // one order of locks
			rows = append(rows, db.CallGrantRow{
				CID: call.CID, UserID: in.UserID, Capability: capability, Granted: db.Bool(changes[capability]),
				ByUserID: by, ByAdmin: db.Bool(callerOf(ctx).Administers()), UpdatedAt: db.At(s.cfg.Now()),
			})
		}
		_, err := tx.NewInsert().Model(&rows).On("CONFLICT (cid, user_id, capability) DO UPDATE").
			// What an admin took a host cannot take again and thereby make it less.
			Set("by_admin = CASE WHEN cg.granted = 0 AND cg.by_admin = 1 AND EXCLUDED.granted = 0 THEN 1 ELSE EXCLUDED.by_admin END").
			Set("granted = EXCLUDED.granted").Set("by_user_id = EXCLUDED.by_user_id").Set("updated_at = EXCLUDED.updated_at").Exec(ctx)
		if err != nil {
			return fmt.Errorf("write grants of %s in %s: %w", in.UserID, call.CID, err)
		}
		if err := s.tellPermissions(ctx, tx, call, in.UserID); err != nil {
			return err
		}
		return s.auditAs(request(ctx), ctx, tx, "call.permissions", call.CID+"/"+in.UserID, changes)
	})
	return api.UpdateUserPermissions200JSONResponse{}, err
}

// grantChanges are the capabilities that the request names, in either
// spelling, and whether it grants them.
func grantChanges(in api.UpdateUserPermissionsRequest) (map[string]bool, error) {
	changes, fields := map[string]bool{}, map[string]string{}
	for _, side := range []struct {
		field   string
		names   []string
		granted bool
	}{
		{"grant_permissions", in.GrantPermissions, true}, {"revoke_permissions", in.RevokePermissions, false},
	} {
		for i, name := range side.names {
			c := canonical(name)
			if !slices.Contains(capabilities, c) {
				fields[fmt.Sprintf("%s[%d]", side.field, i)] = "must be one of " + list(capabilities)
				continue
			}
			changes[c] = side.granted
		}
	}
	if len(fields) > 0 {
		return nil, badFields(fields)
	}
	return changes, nil
}

// mayGrant refuses who would give more than they have.
func (s *Server) mayGrant(ctx context.Context, call db.CallRow, changes map[string]bool) error {
	id := callerOf(ctx)
	if id.Administers() {
		return nil
	}
	have, err := s.capabilitiesIn(ctx, id, call)
	if err != nil {
		return err
	}
	for capability, granted := range changes {
		if granted && !slices.Contains(have, capability) {
			return forbidden("user %q cannot give the permission %s, which they lack in %s", id.UserID, capability, call.CID)
		}
	}
	return nil
}

func (s *Server) tellPermissions(ctx context.Context, tx bun.Tx, call db.CallRow, userID string) error {
	user, err := s.cfg.DB.UserIn(ctx, userID, call.CID)
	if err != nil {
		return err
	}
	have, err := capabilitiesOf(ctx, s.cfg.DB, tx, auth.Identity{UserID: userID, Role: user.Role}, call)
	if err != nil {
		return err
	}
	now := s.cfg.Now().UTC()
	return db.Enqueue(ctx, tx, event.TopicPublic, event.New(event.CallPermissionsUpdated, call.CID+"/"+userID, now, event.PermissionsUpdated{
		Type: event.CallPermissionsUpdated, CreatedAt: now, CallCID: call.CID, User: user, OwnCapabilities: have,
	}))
}
