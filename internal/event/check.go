package event

import "time"

// CheckRequested asks for images to be classified. Its task is already in the
// database.
type CheckRequested struct {
	TaskID          string            `json:"task_id"`
	EntityType      string            `json:"entity_type"`
	EntityID        string            `json:"entity_id"`
	EntityCreatorID string            `json:"entity_creator_id"`
	ConfigKey       string            `json:"config_key"`
	ByUserID        string            `json:"by_user_id"`
	Payload         ModerationPayload `json:"payload"`
	// Decide holds the scores against the policy and flags what meets it;
	// without it they are only told.
	Decide bool `json:"decide"`
	// TestMode keeps the outcome in the task: nothing is flagged or told.
	TestMode    bool      `json:"test_mode"`
	RequestedAt time.Time `json:"requested_at"`
}
