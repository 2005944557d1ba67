package event

import (
	"encoding/json"
	"time"
)

// Public event types: the names backends receive.
const (
	CallFrameRecordingReady   = "call.frame_recording_ready"
	CallFrameRecordingStarted = "call.frame_recording_started"
	CallFrameRecordingStopped = "call.frame_recording_stopped"
	CallFrameRecordingFailed  = "call.frame_recording_failed"
	CallSessionStarted        = "call.session_started"
	CallSessionEnded          = "call.session_ended"
	CallParticipantJoined     = "call.session_participant_joined"
	CallParticipantLeft       = "call.session_participant_left"
	UserBanned                = "user.banned"
	UserUnbanned              = "user.unbanned"
	UserFlagged               = "user.flagged"
	ReviewItemNew             = "review_queue_item.new"
	ReviewItemUpdated         = "review_queue_item.updated"
	CallKickedUser            = "call.kicked_user"
)

// LossyType tells whether a public event type may be dropped under load:
// frame events may, all others may not.
func LossyType(typ string) bool { return typ == CallFrameRecordingReady }

// User is a user as public events and API answers show it. Collections are
// never null.
type User struct {
	ID             string         `json:"id"`
	Name           string         `json:"name"`
	Image          string         `json:"image"`
	Role           string         `json:"role"`
	Language       string         `json:"language"`
	Teams          []string       `json:"teams"`
	BlockedUserIDs []string       `json:"blocked_user_ids"`
	Banned         bool           `json:"banned"`
	ShadowBanned   bool           `json:"shadow_banned"`
	Invisible      bool           `json:"invisible"`
	Online         bool           `json:"online"`
	LastActive     time.Time      `json:"last_active"`
	CreatedAt      time.Time      `json:"created_at"`
	UpdatedAt      time.Time      `json:"updated_at"`
	Custom         map[string]any `json:"custom,omitempty"`
}

// FrameRecordingReady is the body of CallFrameRecordingReady.
type FrameRecordingReady struct {
	Type       string          `json:"type"`
	CreatedAt  time.Time       `json:"created_at"`
	CallCID    string          `json:"call_cid"`
	SessionID  string          `json:"session_id"`
	TrackType  TrackType       `json:"track_type"`
	URL        string          `json:"url"`
	CapturedAt time.Time       `json:"captured_at"`
	EgressID   string          `json:"egress_id"`
	Users      map[string]User `json:"users"`
}

// FrameRecordingState is the body of CallFrameRecordingStarted, Stopped and
// Failed. Call is the call in the API's shape.
type FrameRecordingState struct {
	Type      string          `json:"type"`
	CreatedAt time.Time       `json:"created_at"`
	CallCID   string          `json:"call_cid"`
	Call      json.RawMessage `json:"call"`
	EgressID  string          `json:"egress_id"`
}

// UserBan is the body of UserBanned and UserUnbanned.
type UserBan struct {
	Type              string         `json:"type"`
	CreatedAt         time.Time      `json:"created_at"`
	User              User           `json:"user"`
	CreatedBy         User           `json:"created_by"`
	Reason            string         `json:"reason"`
	Shadow            bool           `json:"shadow"`
	Expiration        *time.Time     `json:"expiration,omitempty"`
	TotalBans         int            `json:"total_bans"`
	ReviewQueueItemID string         `json:"review_queue_item_id,omitempty"`
	CID               string         `json:"cid,omitempty"`
	Custom            map[string]any `json:"custom"`
}

// UserFlag is the body of UserFlagged.
type UserFlag struct {
	Type       string    `json:"type"`
	CreatedAt  time.Time `json:"created_at"`
	User       User      `json:"user"`
	TargetUser User      `json:"target_user"`
	Reason     string    `json:"reason"`
	TotalFlags int       `json:"total_flags"`
	// ReviewQueueItemID is the item that the flag stands in.
	ReviewQueueItemID string         `json:"review_queue_item_id,omitempty"`
	Custom            map[string]any `json:"custom"`
}
