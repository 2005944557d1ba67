package event

import "time"

// Values of a review item.
const (
	// EntityCall is the entity type of a participant in a call.
	EntityCall = "call"
	// EntityUser is the entity type of a user, in calls or not.
	EntityUser = "user"
	// ReviewPending is the status of an item that nobody has decided on.
	ReviewPending = "pending"
	// ReviewReviewed is the status of an item that somebody has decided on.
	ReviewReviewed = "reviewed"
)

// ReviewItem is an item of the review queue: what a participant of a call, a
// user, or something of a backend's own is flagged for. It has the same shape
// in API answers and events. Collections are never null; times that are unset
// are absent.
type ReviewItem struct {
	ID                string            `json:"id"`
	CreatedAt         time.Time         `json:"created_at"`
	UpdatedAt         time.Time         `json:"updated_at"`
	EntityType        string            `json:"entity_type"`
	EntityID          string            `json:"entity_id"`
	EntityCreatorID   string            `json:"entity_creator_id"`
	EntityCreator     EntityCreator     `json:"entity_creator"`
	ModerationPayload ModerationPayload `json:"moderation_payload"`
	Status            string            `json:"status"`
	RecommendedAction string            `json:"recommended_action"`
	// Severity is 0 to 100.
	Severity  int      `json:"severity"`
	Languages []string `json:"languages"`
	// AITextSeverity is always empty: no texts are looked at.
	AITextSeverity string      `json:"ai_text_severity"`
	Call           *ReviewCall `json:"call,omitempty"`
	// Flags are the newest, oldest of them first; FlagsCount counts all.
	Flags      []Flag         `json:"flags"`
	FlagsCount int            `json:"flags_count"`
	Actions    []ReviewAction `json:"actions"`
	// Bans are those of the creator that hold now, in the call or everywhere.
	Bans               []ReviewBan `json:"bans"`
	Escalated          bool        `json:"escalated"`
	EscalatedBy        string      `json:"escalated_by,omitempty"`
	EscalatedAt        time.Time   `json:"escalated_at,omitzero"`
	EscalationMetadata *Escalation `json:"escalation_metadata,omitempty"`
	// AssignedTo holds the item's lock until LockExpiresAt.
	AssignedTo            *User     `json:"assigned_to,omitempty"`
	LockExpiresAt         time.Time `json:"lock_expires_at,omitzero"`
	ReviewedAt            time.Time `json:"reviewed_at,omitzero"`
	ReviewedBy            string    `json:"reviewed_by,omitempty"`
	CompletedAt           time.Time `json:"completed_at,omitzero"`
	LatestModeratorAction string    `json:"latest_moderator_action,omitempty"`
	ConfigKey             string    `json:"config_key,omitempty"`
	Teams                 []string  `json:"teams"`
	// Appeal is the newest appeal of the creator.
	Appeal *Appeal `json:"appeal,omitempty"`
}

// EntityCreator is who made what an item is about, with their record.
type EntityCreator struct {
	User
	BanCount            int `json:"ban_count"`
	FlaggedCount        int `json:"flagged_count"`
	DeletedContentCount int `json:"deleted_content_count"`
}

// ReviewCall is the call that an item is about.
type ReviewCall struct {
	CID            string   `json:"cid"`
	ID             string   `json:"id"`
	Type           string   `json:"type"`
	Recording      bool     `json:"recording"`
	BlockedUserIDs []string `json:"blocked_user_ids"`
}

// ReviewAction is what a moderator decided on an item.
type ReviewAction struct {
	ID           string         `json:"id"`
	Type         string         `json:"type"`
	UserID       string         `json:"user_id"`
	TargetUserID string         `json:"target_user_id"`
	Reason       string         `json:"reason"`
	Custom       map[string]any `json:"custom"`
	CreatedAt    time.Time      `json:"created_at"`
}

// ReviewBan is a ban as an item shows it.
type ReviewBan struct {
	ID           string    `json:"id"`
	TargetUserID string    `json:"target_user_id"`
	BannedByID   string    `json:"banned_by_id"`
	ChannelCID   string    `json:"channel_cid,omitempty"`
	Reason       string    `json:"reason"`
	Shadow       bool      `json:"shadow"`
	Expires      time.Time `json:"expires,omitzero"`
	CreatedAt    time.Time `json:"created_at"`
}

// Escalation says why an item was handed up. Priority is low, medium or high.
type Escalation struct {
	Reason   string `json:"reason"`
	Notes    string `json:"notes"`
	Priority string `json:"priority"`
}

// States of an appeal.
const (
	AppealSubmitted = "submitted"
	AppealAccepted  = "accepted"
	AppealRejected  = "rejected"
)

// Appeal is a user's word against what was done to them.
type Appeal struct {
	ID                string    `json:"id"`
	AppealReason      string    `json:"appeal_reason"`
	Attachments       []string  `json:"attachments"`
	EntityType        string    `json:"entity_type"`
	EntityID          string    `json:"entity_id"`
	Status            string    `json:"status"`
	DecisionReason    string    `json:"decision_reason,omitempty"`
	User              User      `json:"user"`
	ReviewedBy        string    `json:"reviewed_by,omitempty"`
	ReviewQueueItemID string    `json:"review_queue_item_id,omitempty"`
	CreatedAt         time.Time `json:"created_at"`
	UpdatedAt         time.Time `json:"updated_at"`
}

// ModerationPayload is what a review item shows.
type ModerationPayload struct {
	Texts []string `json:"texts"`
	// Images are signed addresses of the flagged frames, newest last.
	Images []string       `json:"images"`
	Videos []string       `json:"videos"`
	Audios []string       `json:"audios"`
	Custom map[string]any `json:"custom"`
}

// Filled is the payload with empty collections where it has none.
func (p ModerationPayload) Filled() ModerationPayload {
	for _, list := range []*[]string{&p.Texts, &p.Images, &p.Videos, &p.Audios} {
		if *list == nil {
			*list = []string{}
		}
	}
	if p.Custom == nil {
		p.Custom = map[string]any{}
	}
	return p
}

// Flag is one flag of a review item.
type Flag struct {
	ID         string         `json:"id,omitempty"`
	Type       string         `json:"type"`
	EntityType string         `json:"entity_type"`
	EntityID   string         `json:"entity_id"`
	Labels     []string       `json:"labels"`
	Result     []any          `json:"result"`
	Reason     string         `json:"reason"`
	UserID     string         `json:"user_id"`
	Custom     map[string]any `json:"custom,omitempty"`
	CreatedAt  time.Time      `json:"created_at"`
	UpdatedAt  time.Time      `json:"updated_at"`
	// FrameID, Score and ActionID tell where the flag came from.
	FrameID  string  `json:"frame_id,omitempty"`
	Score    float64 `json:"score,omitempty"`
	ActionID string  `json:"action_id,omitempty"`
}

// KickedUser is the body of CallKickedUser.
type KickedUser struct {
	Type         string    `json:"type"`
	CreatedAt    time.Time `json:"created_at"`
	CallCID      string    `json:"call_cid"`
	User         User      `json:"user"`
	KickedByUser User      `json:"kicked_by_user"`
}
