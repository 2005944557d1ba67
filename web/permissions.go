package web

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
)

// Capabilities: what the grants of a call type give to a role, and
// user_permissions to a user.
const (
	CapStartFrames       = "start-frame-record-call"
	CapStopFrames        = "stop-frame-record-call"
	CapStartRecording    = "start-record-call"
	CapStopRecording     = "stop-record-call"
	CapBlock             = "block-users"
	CapKick              = "kick-user"
	CapMute              = "mute-users"
	CapEndCall           = "end-call"
	CapUpdateCall        = "update-call"
	CapUpdateMember      = "update-call-member"
	CapUpdatePermissions = "update-call-permissions"
	CapSendEvent         = "send-event"
)

// permissionTable says of every capability its other spelling, by which it may
// be named as well, and what it lets one do; in the order of the ids.
var permissionTable = []struct{ id, name, doc string }{
	{CapBlock, "BlockUser", "Keep users out of the call, and let them in again."},
	{CapEndCall, "EndCall", "End the call for everybody."},
	{CapKick, "KickUser", "Close a user's connections to the call."},
	{CapMute, "MuteUsers", "Stop forwarding tracks of users."},
	{CapSendEvent, "SendEvent", "Send custom events of the call."},
	{CapStartFrames, "StartFrameRecording", "Start to take stills of the call."},
	{CapStartRecording, "StartRecording", "Start a full recording of the call."},
	{CapStopFrames, "StopFrameRecording", "Stop to take stills of the call."},
	{CapStopRecording, "StopRecording", "Stop a full recording of the call."},
	{CapUpdateCall, "UpdateCall", "Change the call's custom data and its start."},
	{CapUpdateMember, "UpdateCallMember", "Change who is a member of the call."},
	{CapUpdatePermissions, "UpdateCallPermissions", "Give users permissions in the call that one has oneself, and take them away."},
}

var (
	capabilities []string // sorted
	spellings    = map[string]string{}
)

func init() {
	for _, p := range permissionTable {
		capabilities = append(capabilities, p.id)
		spellings[p.id], spellings[p.name] = p.id, p.id
	}
	slices.Sort(capabilities)
}

// canonical is the capability of that name in either spelling, or the name
// itself where we know none.
func canonical(capability string) string {
	if c, ok := spellings[capability]; ok {
		return c
	}
	return capability
}

// RoleHost is the member's role for who leads a call.
const RoleHost = "host"

// DefaultGrants are those of a call type that was made without any.
func DefaultGrants() map[string][]string {
	return map[string][]string{
		auth.RoleAdmin:     slices.Clone(capabilities),
		auth.RoleModerator: {CapBlock, CapEndCall, CapKick, CapMute, CapStartFrames, CapStopFrames},
		RoleHost: {
			CapEndCall, CapKick, CapMute, CapSendEvent, CapStartFrames, CapStopFrames,
			CapUpdateCall, CapUpdateMember, CapUpdatePermissions,
		},
		auth.RoleUser: {},
	}
}

// checkGrants returns what is wrong, by field.
func checkGrants(grants map[string][]string) map[string]string {
	fields := map[string]string{}
	if len(grants) > 100 {
		fields["grants"] = "must name at most 100 roles"
	}
	for role, caps := range grants {
		if !nameRE.MatchString(role) {
			fields["grants"] = fmt.Sprintf("names the role %q, which %s", role, wantName)
		}
		if len(caps) > 100 {
			fields["grants."+role] = "must list at most 100 capabilities"
		}
		for _, c := range caps {
			if len(c) == 0 || len(c) > 100 {
				fields["grants."+role] = "must list capabilities of 1 to 100 bytes"
			}
		}
	}
	return fields
}

// capabilitiesIn lists, sorted, what the caller may do in the call.
func (s *Server) capabilitiesIn(ctx context.Context, id auth.Identity, call db.CallRow) ([]string, error) {
	return capabilitiesOf(ctx, s.cfg.DB, s.cfg.DB, id, call)
}

// capabilitiesOf is what the call type grants to the user's role and to their
// role as a member, and what the user was given in this call; less what was
// taken from them there, which wins over every role. Only the backend and
// admins take from moderators and admins.
func capabilitiesOf(ctx context.Context, d *db.DB, tx bun.IDB, id auth.Identity, call db.CallRow) ([]string, error) {
	if id.Server {
		return slices.Clone(capabilities), nil
	}
	if !id.MayJoin(call.CID) {
		return []string{}, nil
	}
	var row db.CallTypeRow
	err := tx.NewSelect().Model(&row).Where("name = ?", call.Type).Scan(ctx)
	if err != nil && !db.IsNotFound(err) {
		return nil, fmt.Errorf("read grants of %s: %w", call.Type, err)
	}
	var own []db.CallGrantRow
	if err := tx.NewSelect().Model(&own).Where("cid = ?", call.CID).Where("user_id = ?", id.UserID).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read grants of %s in %s: %w", id.UserID, call.CID, err)
	}
	have := map[string]bool{}
	asMember, err := d.MemberRole(ctx, call.CID, id.UserID)
	if err != nil {
		return nil, err
	}
	for _, role := range []string{id.Role, asMember} {
		for _, c := range row.Grants.V[role] {
			have[canonical(c)] = true
		}
	}
	for _, g := range own {
		// A host must not disarm those who watch the call.
		if !bool(g.Granted) && !bool(g.ByAdmin) && id.Moderates() {
			continue
		}
		have[g.Capability] = bool(g.Granted)
	}
	out := []string{}
	for _, c := range capabilities {
		if have[c] {
			out = append(out, c)
		}
	}
	return out, nil
}

// permit refuses a caller who is kept out of the call or lacks the capability
// in it.
func (s *Server) permit(ctx context.Context, id auth.Identity, call db.CallRow, capability string) error {
	if err := s.mayEnter(ctx, id, call.CID); err != nil {
		return err
	}
	have, err := s.capabilitiesIn(ctx, id, call)
	if err != nil {
		return err
	}
	if !slices.Contains(have, capability) {
		return forbidden("user %q with role %q lacks the permission %s in %s", id.UserID, id.Role, capability, call.CID)
	}
	return nil
}
