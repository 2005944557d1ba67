package db

import (
	"encoding/json"

	"github.com/uptrace/bun"

	"stillwatch/internal/event"
)

// ReviewItemRow is a row of review_items. Payload is the
// event.ModerationPayload, Flags the newest event.Flags.
type ReviewItemRow struct {
	bun.BaseModel     `bun:"table:review_items,alias:ri"`
	ID                string `bun:",pk"`
	EntityType        string
	EntityID          string
	EntityCreatorID   string
	Status            string
	RecommendedAction string
	Severity          int
	Payload           JSON[json.RawMessage]
	Flags             JSON[json.RawMessage]
	FlagsCount        int
	SessionID         string
	ConfigKey         string
	Teams             JSON[[]string]
	Languages         JSON[[]string]
	ReviewedAt        Time
	ReviewedBy        string
	CompletedAt       Time
	// LatestAction is what a moderator last decided.
	LatestAction string
	// AssignedTo holds the item's lock while LockExpiresAt lies ahead.
	AssignedTo    string
	LockExpiresAt Time
	Escalated     Bool
	EscalatedBy   string
	EscalatedAt   Time
	Escalation    JSON[*event.Escalation]
	CreatedAt     Time
	UpdatedAt     Time
}

// FlagRow is a row of flags.
type FlagRow struct {
	bun.BaseModel   `bun:"table:flags,alias:fl"`
	ID              string `bun:",pk"`
	ItemID          string
	Type            string
	EntityType      string
	EntityID        string
	EntityCreatorID string
	Labels          JSON[[]string]
	Result          JSON[[]any]
	Reason          string
	UserID          string
	Custom          JSON[map[string]any]
	FrameID         string
	Score           float64
	ActionID        string
	CreatedAt       Time
}

// ReviewActionRow is a row of review_actions: what a person, or a backend,
// decided. ItemID is "" for what was decided beside the queue.
type ReviewActionRow struct {
	bun.BaseModel `bun:"table:review_actions,alias:ra"`
	ID            string `bun:",pk"`
	ItemID        string
	AppealID      string
	Type          string
	UserID        string
	TargetUserID  string
	CID           string `bun:"cid"`
	// SessionID is the session that was decided about, "" for all until then.
	SessionID string
	Reason    string
	Custom    JSON[map[string]any]
	At        Time
}

// AppealRow is a row of appeals.
type AppealRow struct {
	bun.BaseModel  `bun:"table:appeals,alias:ap"`
	ID             string `bun:",pk"`
	UserID         string
	EntityType     string
	EntityID       string
	ItemID         string
	Reason         string
	Attachments    JSON[[]string]
	Status         string
	DecisionReason string
	ReviewedBy     string
	CreatedAt      Time
	UpdatedAt      Time
}

// ReviewQueueRow is a row of review_queues. Filters and Sort are as the API
// takes them.
type ReviewQueueRow struct {
	bun.BaseModel `bun:"table:review_queues,alias:rq"`
	ID            string `bun:",pk"`
	Name          string
	Description   string
	Filters       JSON[json.RawMessage]
	Sort          JSON[json.RawMessage]
	CreatedBy     string
	CreatedAt     Time
	UpdatedAt     Time
}

// FeedbackRow is a row of feedback: Labels are what the item had, and
// ExpectedLabels what the user says it should have had.
type FeedbackRow struct {
	bun.BaseModel  `bun:"table:feedback,alias:fb"`
	ItemID         string `bun:",pk"`
	UserID         string `bun:",pk"`
	Labels         JSON[[]string]
	ExpectedLabels JSON[[]string]
	Notes          string
	CreatedAt      Time
	UpdatedAt      Time
}

// UserMuteRow is a row of user_mutes.
type UserMuteRow struct {
	bun.BaseModel `bun:"table:user_mutes,alias:um"`
	UserID        string `bun:",pk"`
	TargetID      string `bun:",pk"`
	CreatedAt     Time
	UpdatedAt     Time
	ExpiresAt     Time
}
