package web

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/actions"
	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// UpdateCall changes what the request names of a call. Settings count at
// once, while the call goes on; only the backend and admins may change them.
func (s *Server) UpdateCall(ctx context.Context, req api.UpdateCallRequestObject) (api.UpdateCallResponseObject, error) {
	call, err := s.callAt(ctx, req.Type, req.ID, CapUpdateCall)
	if err != nil {
		return nil, err
	}
	change, err := newCallChange(callerOf(ctx), orZero(req.Body))
	if err != nil {
		return nil, err
	}
	if err := s.checkReach(change.settings, "settings_override"); err != nil {
		return nil, err
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := lockCall(ctx, tx, &call); err != nil {
			return err
		}
		if err := ifMatch(req.Params.IfMatch, callETag(call)); err != nil {
			return err
		}
		return s.applyChange(ctx, tx, &call, change)
	})
	if err != nil {
		return nil, err
	}
	answer, err := s.callAnswer(ctx, call, 0)
	return api.UpdateCall200JSONResponse(answer), err
}

// callChange is a checked UpdateCall. Nil fields stay as they are.
type callChange struct {
	custom   map[string]any
	settings json.RawMessage
	startsAt *time.Time // the zero time takes it away
}

func newCallChange(who auth.Identity, in api.UpdateCallRequest) (callChange, error) {
	c := callChange{custom: in.Custom, settings: in.SettingsOverride}
	if given(c.settings) && !who.Administers() {
		return c, forbidden("settings_override needs a server token or the role admin")
	}
	fields := map[string]string{}
	checkCustom(fields, "custom", c.custom)
	if len(in.StartsAt) > 0 {
		var at *time.Time
		if json.Unmarshal(in.StartsAt, &at) != nil {
			fields["starts_at"] = "must be a time as in RFC 3339, or null"
		}
		c.startsAt = &time.Time{}
		if at != nil {
			c.startsAt = at
		}
		checkInstant(fields, "starts_at", *c.startsAt)
	}
	if len(fields) > 0 {
		return c, badFields(fields)
	}
	return c, nil
}

// lockCall holds the call's row until the commit and reads it anew.
func lockCall(ctx context.Context, tx bun.Tx, call *db.CallRow) error {
	// The update comes first: on PostgreSQL it is what locks the row.
	_, err := tx.NewUpdate().Model((*db.CallRow)(nil)).Set("updated_at = updated_at").Where("cid = ?", call.CID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("lock call %s: %w", call.CID, err)
	}
	err = tx.NewSelect().Model(call).WherePK().Where("deleted_at = 0").Scan(ctx)
	if db.IsNotFound(err) {
		return notFound("call", call.CID)
	}
	return err
}

func (s *Server) applyChange(ctx context.Context, tx bun.Tx, call *db.CallRow, c callChange) error {
	old, err := readSettings(call.Settings.V)
	if err != nil {
		return err
	}
	settings, err := old.Merge(c.settings, "settings_override")
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	if c.custom != nil {
		call.Custom.V = c.custom
	}
	if c.startsAt != nil {
		call.StartsAt = db.Time{}
		if !c.startsAt.IsZero() {
			call.StartsAt = db.At(*c.startsAt)
		}
	}
	call.Settings, call.UpdatedAt = settingsColumn(settings), db.At(now)
	if _, err := tx.NewUpdate().Model(call).WherePK().Column("custom", "settings", "starts_at", "updated_at").Exec(ctx); err != nil {
		return fmt.Errorf("update call %s: %w", call.CID, err)
	}
	if settings.FrameRecording != old.FrameRecording {
		if err := s.reframe(ctx, tx, *call, settings.FrameRecording); err != nil {
			return err
		}
	}
	if err := s.cfg.DB.TellCallChanged(ctx, tx, event.CallUpdated, call.CID, now); err != nil {
		return err
	}
	if err := s.auditAs(request(ctx), ctx, tx, "call.update", call.CID, changed(c)); err != nil {
		return err
	}
	// What reframe switched stands in the answer as well.
	return tx.NewSelect().Model(call).WherePK().Scan(ctx)
}

// reframe makes new settings of frame recording count in a live call.
func (s *Server) reframe(ctx context.Context, tx bun.Tx, call db.CallRow, frames FrameRecording) error {
	now := s.cfg.Now()
	if frames.Mode == ModeDisabled {
		_, err := setFrameRecording(ctx, s.cfg.DB, tx, now, call.CID, false)
		return err
	}
	order := event.Control{ControlID: event.NewID(), Kind: event.ControlSettings, CID: call.CID}
	return db.Enqueue(ctx, tx, event.TopicControl, event.New(event.TypeControl, call.CID, now, order))
}

// changed names what a change touches, for the audit.
func changed(c callChange) map[string]any {
	out := map[string]any{}
	if c.custom != nil {
		out["custom"] = true
	}
	if given(c.settings) {
		out["settings_override"] = c.settings
	}
	if c.startsAt != nil {
		out["starts_at"] = c.startsAt
	}
	return out
}

// EndCall ends a call for everybody: its connections are closed, and nobody
// may join any more. Ending one that is over is a success.
func (s *Server) EndCall(ctx context.Context, req api.EndCallRequestObject) (api.EndCallResponseObject, error) {
	call, err := s.callAt(ctx, req.Type, req.ID, CapEndCall)
	if err != nil {
		return nil, err
	}
	by := callerOf(ctx).UserID
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		now := s.cfg.Now()
		ended, err := s.cfg.DB.EndCall(ctx, tx, call.CID, by, "", now)
		if err != nil || !ended {
			return err
		}
		if err := s.orderEnd(ctx, call.CID, "the call has ended"); err != nil {
			return err
		}
		return s.auditAs(request(ctx), ctx, tx, "call.end", call.CID, nil)
	})
	return api.EndCall200JSONResponse{}, err
}

// orderEnd has every connection of the call closed; the order is repeated
// until a capture node confirms it.
func (s *Server) orderEnd(ctx context.Context, cid, reason string) error {
	by, err := actor(request(ctx), "")
	if err != nil {
		return err
	}
	_, err = s.cfg.Actions.EndCall(ctx, actions.EndCallRequest{CID: cid, ByUserID: by, Reason: reason})
	return err
}
