package web

import (
	"context"
	"fmt"
	"slices"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
)

// Capabilities: what the grants of a call type give to a role.
const (
	CapStartFrames    = "start-frame-record-call"
	CapStopFrames     = "stop-frame-record-call"
	CapStartRecording = "start-record-call"
	CapStopRecording  = "stop-record-call"
	CapBlock          = "block-users"
	CapKick           = "kick-user"
)

var capabilities = []string{CapBlock, CapKick, CapStartFrames, CapStartRecording, CapStopFrames, CapStopRecording}

// spellings are other names of capabilities that grants may use.
var spellings = map[string]string{
	"StartFrameRecording": CapStartFrames,
	"StopFrameRecording":  CapStopFrames,
	"StartRecording":      CapStartRecording,
	"StopRecording":       CapStopRecording,
	"BlockUser":           CapBlock,
	"KickUser":            CapKick,
}

func canonical(capability string) string {
	if c, ok := spellings[capability]; ok {
		return c
	}
	return capability
}

// DefaultGrants are those of a call type that was made without any.
func DefaultGrants() map[string][]string {
	return map[string][]string{
		auth.RoleAdmin:     slices.Clone(capabilities),
		auth.RoleModerator: {CapBlock, CapKick, CapStartFrames, CapStopFrames},
		"host":             {CapKick, CapStartFrames, CapStopFrames},
		auth.RoleUser:      {},
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

// capabilitiesIn lists, sorted, what the caller may do in the call: what the
// call type grants to the caller's role and to their role as a member.
func (s *Server) capabilitiesIn(ctx context.Context, id auth.Identity, call db.CallRow) ([]string, error) {
	if id.Server {
		return slices.Clone(capabilities), nil
	}
	if !id.MayJoin(call.CID) {
		return []string{}, nil
	}
	var row db.CallTypeRow
	err := s.cfg.DB.NewSelect().Model(&row).Where("name = ?", call.Type).Scan(ctx)
	if err != nil && !db.IsNotFound(err) {
		return nil, fmt.Errorf("read grants of %s: %w", call.Type, err)
	}
	roles := []string{id.Role}
	for _, m := range call.Members.V {
		if m.UserID == id.UserID {
			roles = append(roles, m.Role)
		}
	}
	have := []string{}
	for _, role := range roles {
		for _, c := range row.Grants.V[role] {
			if c = canonical(c); slices.Contains(capabilities, c) {
				have = append(have, c)
			}
		}
	}
	slices.Sort(have)
	return slices.Compact(have), nil
}

// permit refuses a caller who lacks the capability in the call.
func (s *Server) permit(ctx context.Context, id auth.Identity, call db.CallRow, capability string) error {
	if !id.MayJoin(call.CID) {
		return forbidden("the token is not good for the call %s", call.CID)
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
