package event

import (
	"encoding/json"
	"time"
)

// Public event types of calls. Those of sessions and stills stand in public.go.
const (
	CallCreated          = "call.created"
	CallUpdated          = "call.updated"
	CallEnded            = "call.ended"
	CallDeleted          = "call.deleted"
	CallParticipantCount = "call.session_participant_count_updated"
	CustomEvent          = "custom"
)

// CallMember is a member of a call as events and API answers show it.
type CallMember struct {
	UserID    string         `json:"user_id"`
	Role      string         `json:"role"`
	User      User           `json:"user"`
	Custom    map[string]any `json:"custom"`
	CreatedAt time.Time      `json:"created_at"`
	UpdatedAt time.Time      `json:"updated_at"`
}

// CallMade is the body of CallCreated. Members are the first 100.
type CallMade struct {
	Type      string          `json:"type"`
	CreatedAt time.Time       `json:"created_at"`
	CallCID   string          `json:"call_cid"`
	Call      json.RawMessage `json:"call"`
	Members   []CallMember    `json:"members"`
}

// CallChange is the body of CallUpdated and CallDeleted.
type CallChange struct {
	Type      string          `json:"type"`
	CreatedAt time.Time       `json:"created_at"`
	CallCID   string          `json:"call_cid"`
	Call      json.RawMessage `json:"call"`
}

// CallEnding is the body of CallEnded. User is who ended it, absent where
// that was the program or the backend. Members are the first 100.
type CallEnding struct {
	Type      string          `json:"type"`
	CreatedAt time.Time       `json:"created_at"`
	CallCID   string          `json:"call_cid"`
	Call      json.RawMessage `json:"call"`
	User      *User           `json:"user,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Members   []CallMember    `json:"members"`
}

// CallSession is the body of CallSessionStarted and CallSessionEnded.
type CallSession struct {
	Type      string          `json:"type"`
	CreatedAt time.Time       `json:"created_at"`
	CallCID   string          `json:"call_cid"`
	SessionID string          `json:"session_id"`
	Call      json.RawMessage `json:"call"`
}

// Participant is one connection of a user to a call.
type Participant struct {
	User          User      `json:"user"`
	UserSessionID string    `json:"user_session_id"`
	Role          string    `json:"role"`
	JoinedAt      time.Time `json:"joined_at"`
}

// ParticipantJoined is the body of CallParticipantJoined.
type ParticipantJoined struct {
	Type        string      `json:"type"`
	CreatedAt   time.Time   `json:"created_at"`
	CallCID     string      `json:"call_cid"`
	SessionID   string      `json:"session_id"`
	Participant Participant `json:"participant"`
}

// ParticipantLeft is the body of CallParticipantLeft. DurationSeconds is how
// long the connection stood, in whole seconds.
type ParticipantLeft struct {
	Type            string      `json:"type"`
	CreatedAt       time.Time   `json:"created_at"`
	CallCID         string      `json:"call_cid"`
	SessionID       string      `json:"session_id"`
	Participant     Participant `json:"participant"`
	DurationSeconds int         `json:"duration_seconds"`
	Reason          string      `json:"reason,omitempty"`
}

// ParticipantCount is the body of CallParticipantCount: who is in the session
// after somebody came or went.
type ParticipantCount struct {
	Type           string         `json:"type"`
	CreatedAt      time.Time      `json:"created_at"`
	CallCID        string         `json:"call_cid"`
	SessionID      string         `json:"session_id"`
	CountByRole    map[string]int `json:"participants_count_by_role"`
	AnonymousCount int            `json:"anonymous_participant_count"`
}

// Custom is the body of CustomEvent: what an application sends to a call.
type Custom struct {
	Type      string         `json:"type"`
	CreatedAt time.Time      `json:"created_at"`
	CallCID   string         `json:"call_cid"`
	User      User           `json:"user"`
	Custom    map[string]any `json:"custom"`
}
