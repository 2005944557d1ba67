package event

import "time"

// Values of a review item.
const (
	// EntityCall is the entity type of a participant in a call.
	EntityCall = "call"
	// ReviewPending is the status of an item that nobody has decided on.
	ReviewPending = "pending"
)

// ReviewItem is an item of the review queue: what a participant of a call is
// flagged for. Collections are never null.
type ReviewItem struct {
	ID                string            `json:"id"`
	CreatedAt         time.Time         `json:"created_at"`
	UpdatedAt         time.Time         `json:"updated_at"`
	EntityType        string            `json:"entity_type"`
	EntityID          string            `json:"entity_id"`
	EntityCreatorID   string            `json:"entity_creator_id"`
	ModerationPayload ModerationPayload `json:"moderation_payload"`
	Status            string            `json:"status"`
	RecommendedAction string            `json:"recommended_action"`
	// Severity is 0 to 100.
	Severity   int    `json:"severity"`
	Flags      []Flag `json:"flags"`
	FlagsCount int    `json:"flags_count"`
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

// Flag is one flag of a review item.
type Flag struct {
	Type       string    `json:"type"`
	EntityType string    `json:"entity_type"`
	EntityID   string    `json:"entity_id"`
	Labels     []string  `json:"labels"`
	Result     []any     `json:"result"`
	Reason     string    `json:"reason"`
	UserID     string    `json:"user_id"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	// FrameID, Score and ActionID tell where the flag came from.
	FrameID  string  `json:"frame_id,omitempty"`
	Score    float64 `json:"score,omitempty"`
	ActionID string  `json:"action_id,omitempty"`
}

// ReviewItemChange is the body of ReviewItemNew and ReviewItemUpdated.
type ReviewItemChange struct {
	Type            string         `json:"type"`
	CreatedAt       time.Time      `json:"created_at"`
	ReviewQueueItem ReviewItem     `json:"review_queue_item"`
	Flags           []Flag         `json:"flags"`
	Custom          map[string]any `json:"custom"`
}

// KickedUser is the body of CallKickedUser.
type KickedUser struct {
	Type         string    `json:"type"`
	CreatedAt    time.Time `json:"created_at"`
	CallCID      string    `json:"call_cid"`
	User         User      `json:"user"`
	KickedByUser User      `json:"kicked_by_user"`
}
