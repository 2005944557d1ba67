package db

import (
	"encoding/json"

	"github.com/uptrace/bun"
)

// RuleRow is a row of moderation_rules. Body is a policy.CallRule.
type RuleRow struct {
	bun.BaseModel `bun:"table:moderation_rules,alias:mr"`
	ID            string `bun:",pk"`
	Name          string
	RuleType      string
	Enabled       Bool
	Body          JSON[json.RawMessage]
	CreatedAt     Time
	UpdatedAt     Time
}

// ConfigRow is a row of moderation_configs. Body is a policy.CallConfig.
type ConfigRow struct {
	bun.BaseModel `bun:"table:moderation_configs,alias:mc"`
	Key           string `bun:",pk"`
	Team          string
	Body          JSON[json.RawMessage]
	CreatedAt     Time
	UpdatedAt     Time
}

// ViolationRow is a row of violations: the number-th time that a rule of the
// API was met by a user in a call.
type ViolationRow struct {
	bun.BaseModel `bun:"table:violations,alias:vi"`
	ID            string `bun:",pk"`
	RuleID        string
	RuleName      string
	CID           string `bun:"cid"`
	SessionID     string
	UserID        string
	Number        int
	PolicyVersion string
	FrameID       string
	Actions       JSON[[]string]
	CapturedAt    Time
	At            Time
}

// PolicyVersionRow is a row of policy_versions: what a version says.
type PolicyVersionRow struct {
	bun.BaseModel `bun:"table:policy_versions,alias:pv"`
	Version       string `bun:",pk"`
	Policy        JSON[json.RawMessage]
	CreatedAt     Time
}
