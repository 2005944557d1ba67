package db

import "github.com/uptrace/bun"

// CallGrantRow is a row of call_grants: a capability that a user was given in
// a call, or that was taken from them there.
type CallGrantRow struct {
	bun.BaseModel `bun:"table:call_grants,alias:cg"`
	CID           string `bun:"cid,pk"`
	UserID        string `bun:",pk"`
	Capability    string `bun:",pk"`
	Granted       Bool
	ByUserID      string
	// ByAdmin is whether an admin or the backend did it.
	ByAdmin   Bool
	UpdatedAt Time
}

// Scopes of a recording permission.
const (
	ScopeUser   = "user"
	ScopeDomain = "domain"
)

// RecordingPermissionRow is a row of recording_permissions.
type RecordingPermissionRow struct {
	bun.BaseModel    `bun:"table:recording_permissions,alias:rp"`
	Scope            string `bun:",pk"`
	ID               string `bun:",pk"`
	RecordingType    string
	RecordingProfile string
	ByUserID         string
	UpdatedAt        Time
}

// RecordingDecision says whether a call is to be recorded, as it was decided
// for its creator when it was made. Package recording/permission decides.
type RecordingDecision struct {
	Record bool `json:"record"`
	// Type is all, video, audio or none.
	Type string `json:"type"`
	// Source is what decided: user, domain, system or incoming.
	Source string `json:"source"`
	// Mandatory keeps callers from stopping it.
	Mandatory bool `json:"mandatory"`
	// Denied is set where a permission says that nothing is recorded.
	Denied bool `json:"denied"`
}
