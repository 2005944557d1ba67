package web

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/recording/permission"
)

// decideRecording decides for a call's creator whether it is recorded, by what
// is set for them and for their domain: of their teams the first, in their
// order, that has permissions. Nobody else in the call is looked at.
func decideRecording(ctx context.Context, tx bun.IDB, sys permission.System, callerID string, chose bool, origin permission.Origin) (db.RecordingDecision, error) {
	in := permission.Input{Origin: origin, System: sys, Chose: chose}
	var err error
	if in.User, err = readPermission(ctx, tx, recordingScope{db.ScopeUser, callerID}); err != nil {
		return db.RecordingDecision{}, err
	}
	if in.User == nil {
		if in.Domain, err = domainPermission(ctx, tx, callerID); err != nil {
			return db.RecordingDecision{}, err
		}
	}
	d := permission.Decide(in)
	return db.RecordingDecision{
		Record: d.Record, Type: string(d.Type), Source: string(d.Source), Mandatory: d.Mandatory, Denied: d.Denied,
	}, nil
}

func domainPermission(ctx context.Context, tx bun.IDB, userID string) (*permission.Permission, error) {
	var user db.UserRow
	err := tx.NewSelect().Model(&user).Column("teams").Where("id = ?", userID).Scan(ctx)
	if db.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read teams of %s: %w", userID, err)
	}
	if len(user.Teams.V) == 0 {
		return nil, nil
	}
	var rows []db.RecordingPermissionRow
	err = tx.NewSelect().Model(&rows).Where("scope = ?", db.ScopeDomain).Where("id IN (?)", bun.List(user.Teams.V)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read recording permissions of the domains of %s: %w", userID, err)
	}
	for _, team := range user.Teams.V {
		for _, row := range rows {
			if row.ID == team {
				return &permission.Permission{Type: permission.Type(row.RecordingType), Profile: permission.Profile(row.RecordingProfile)}, nil
			}
		}
	}
	return nil, nil
}
