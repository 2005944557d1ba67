package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/recording/permission"
	"stillwatch/web/api"
)

// newCall is a call that is to be made unless it exists.
type newCall struct {
	callType, id     string
	createdBy        userRequest
	custom           map[string]any
	members          []api.MemberRequest
	override         json.RawMessage
	team, channelCID string
	startsAt         time.Time
	// chose is whether the creator wants the call recorded.
	chose     bool
	recording permission.System
}

// newCallFrom checks what only the making of a call needs.
func newCallFrom(who auth.Identity, callType, id string, data api.CallRequest) (newCall, error) {
	n := newCall{
		callType: callType, id: id, custom: data.Custom, members: data.Members, override: data.SettingsOverride,
		team: data.Team, channelCID: data.ChannelCid, startsAt: data.StartsAt, chose: data.Record,
	}
	by := data.CreatedBy
	switch {
	case !who.Server:
		// A user who could choose the settings could switch off being watched.
		if given(n.override) && !who.Administers() {
			return n, forbidden("settings_override needs a server token or the role admin")
		}
		// And one who could choose roles could take every permission.
		ranked := slices.ContainsFunc(n.members, func(m api.MemberRequest) bool { return m.Role != "" && m.Role != auth.RoleUser })
		if ranked && !who.Administers() {
			return n, forbidden("data.members[].role needs a server token or the role admin")
		}
		n.createdBy.ID = who.UserID // the role of a token ends with it
	case by != nil:
		n.createdBy = userRequest{ID: by.ID, Name: by.Name, Image: by.Image, Role: by.Role, Custom: by.Custom}
	case data.CreatedByID != "":
		n.createdBy.ID = data.CreatedByID
	default:
		n.createdBy.ID = who.UserID
	}
	return n, n.check()
}

func (n newCall) check() error {
	fields := map[string]string{}
	if n.createdBy.ID == "" {
		fields["data.created_by_id"] = "is required with a server token"
	} else if !validUser(n.createdBy.ID) {
		fields["data.created_by_id"] = wantUser
	}
	if n.createdBy.Role != "" && !nameRE.MatchString(n.createdBy.Role) {
		fields["data.created_by.role"] = wantName
	}
	checkCustom(fields, "data.created_by.custom", n.createdBy.Custom)
	checkCustom(fields, "data.custom", n.custom)
	checkMembers(fields, "data.members", n.members)
	checkInstant(fields, "data.starts_at", n.startsAt)
	if len(fields) > 0 {
		return badFields(fields)
	}
	return nil
}

// given tells whether a request has the value at all.
func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func (s *Server) createCall(ctx context.Context, n newCall) (created bool, err error) {
	n.recording = s.cfg.Recording
	return createCall(ctx, s.cfg.DB, s.cfg.Now, n)
}

// createCall makes the call with the settings of its type, frozen, unless it
// exists. With frame recording on "auto-on" the recording starts with it.
func createCall(ctx context.Context, d *db.DB, now clock, n newCall) (created bool, err error) {
	err = d.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		created = false
		settings, err := settingsFor(ctx, tx, n)
		if err != nil {
			return err
		}
		at := now()
		if err := ensureUsers(ctx, tx, at, n.people()...); err != nil {
			return err
		}
		row := n.row(db.At(at), settings)
		row.RecordingDecision.V, err = decideRecording(ctx, tx, n.recording, n.createdBy.ID, n.chose, permission.Internal)
		if err != nil {
			return err
		}
		res, err := tx.NewInsert().Model(&row).On("CONFLICT (cid) DO NOTHING").Exec(ctx)
		if err != nil {
			return fmt.Errorf("insert call %s: %w", row.CID, err)
		}
		if k, err := res.RowsAffected(); err != nil || k == 0 {
			return orDeleted(ctx, tx, row.CID, err)
		}
		created = true
		if members := n.memberRows(db.At(at)); len(members) > 0 {
			if _, err := tx.NewInsert().Model(&members).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
				return fmt.Errorf("insert members of %s: %w", row.CID, err)
			}
		}
		if err := audit(ctx, tx, at, n.createdBy.ID, "call.create", row.CID, nil); err != nil {
			return err
		}
		if err := d.TellCallCreated(ctx, tx, row.CID, at); err != nil {
			return err
		}
		if settings.FrameRecording.Mode != ModeAutoOn {
			return nil
		}
		_, err = setFrameRecording(ctx, d, tx, at, row.CID, true)
		return err
	})
	return created && err == nil, err
}

// orDeleted refuses to make a call of which a deleted one holds the name.
func orDeleted(ctx context.Context, tx bun.IDB, cid string, err error) error {
	if err != nil {
		return err
	}
	deleted, err := tx.NewSelect().Model((*db.CallRow)(nil)).Where("cid = ?", cid).Where("deleted_at > 0").Exists(ctx)
	if err == nil && deleted {
		return fail(http.StatusNotFound, CodeNotFound, "call %q was deleted; its id is free again once it is deleted hard", cid)
	}
	return err
}

// settingsFor are the settings of the call's type with the override.
func settingsFor(ctx context.Context, tx bun.IDB, n newCall) (Settings, error) {
	var ct db.CallTypeRow
	err := tx.NewSelect().Model(&ct).Where("name = ?", n.callType).Scan(ctx)
	if db.IsNotFound(err) {
		return Settings{}, notFound("call type", n.callType)
	}
	if err != nil {
		return Settings{}, fmt.Errorf("read call type %s: %w", n.callType, err)
	}
	settings, err := readSettings(ct.Settings.V)
	if err != nil {
		return settings, err
	}
	return settings.Merge(n.override, "data.settings_override")
}

func (n newCall) people() []userRequest {
	out := []userRequest{n.createdBy}
	for _, m := range n.members {
		if !slices.ContainsFunc(out, func(u userRequest) bool { return u.ID == m.UserID }) {
			out = append(out, userRequest{ID: m.UserID})
		}
	}
	return out
}

func (n newCall) row(now db.Time, settings Settings) db.CallRow {
	row := db.CallRow{
		CID: n.callType + ":" + n.id, Type: n.callType, ID: n.id, CreatedByID: n.createdBy.ID,
		Settings: settingsColumn(settings), Team: n.team, ChannelCID: n.channelCID, CreatedAt: now, UpdatedAt: now,
	}
	if !n.startsAt.IsZero() {
		row.StartsAt = db.At(n.startsAt)
	}
	row.Custom.V, row.BlockedUserIDs.V = orEmptyMap(n.custom), []string{}
	return row
}

func (n newCall) memberRows(now db.Time) []db.MemberRow {
	var out []db.MemberRow
	for _, m := range n.members {
		out = append(out, memberRow(n.callType+":"+n.id, m, now))
	}
	return out
}
