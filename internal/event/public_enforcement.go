package event

import "time"

// Public event types of what is done to participants and what they may do.
const (
	CallBlockedUser        = "call.blocked_user"
	CallUnblockedUser      = "call.unblocked_user"
	CallUserMuted          = "call.user_muted"
	CallPermissionsUpdated = "call.permissions_updated"
)

// BlockedUser is the body of CallBlockedUser.
type BlockedUser struct {
	Type          string    `json:"type"`
	CreatedAt     time.Time `json:"created_at"`
	CallCID       string    `json:"call_cid"`
	User          User      `json:"user"`
	BlockedByUser *User     `json:"blocked_by_user,omitempty"`
}

// UnblockedUser is the body of CallUnblockedUser.
type UnblockedUser struct {
	Type      string    `json:"type"`
	CreatedAt time.Time `json:"created_at"`
	CallCID   string    `json:"call_cid"`
	User      User      `json:"user"`
}

// UserMuted is the body of CallUserMuted: what the users publish now is no
// longer forwarded or looked at.
type UserMuted struct {
	Type         string    `json:"type"`
	CreatedAt    time.Time `json:"created_at"`
	CallCID      string    `json:"call_cid"`
	FromUserID   string    `json:"from_user_id"`
	MutedUserIDs []string  `json:"muted_user_ids"`
	Reason       string    `json:"reason"`
}

// PermissionsUpdated is the body of CallPermissionsUpdated. OwnCapabilities
// are what the user may do in the call now.
type PermissionsUpdated struct {
	Type            string    `json:"type"`
	CreatedAt       time.Time `json:"created_at"`
	CallCID         string    `json:"call_cid"`
	User            User      `json:"user"`
	OwnCapabilities []string  `json:"own_capabilities"`
}

func enforcementEntries() []Entry {
	at := time.Date(2026, 1, 5, 10, 2, 3, 500, time.UTC)
	const cid = "default:abc"
	bob, mod := enforcementUser("bob", "Bob", "user"), enforcementUser("mod1", "Mo", "moderator")
	return []Entry{
		{CallBlockedUser, "A user is kept out of a call.", BlockedUser{CallBlockedUser, at, cid, bob, &mod}},
		{CallUnblockedUser, "A user who was kept out of a call may come back.", UnblockedUser{CallUnblockedUser, at, cid, bob}},
		{CallKickedUser, "A user's connections to a call are being closed.", KickedUser{CallKickedUser, at, cid, bob, mod}},
		{CallUserMuted, "Tracks that users publish in a call are no longer forwarded or looked at.", UserMuted{
			CallUserMuted, at, cid, mod.ID, []string{bob.ID}, "muted by a moderator",
		}},
		{CallPermissionsUpdated, "What a user may do in a call was changed for that user.", PermissionsUpdated{
			CallPermissionsUpdated, at, cid, bob, []string{"start-frame-record-call", "stop-frame-record-call"},
		}},
	}
}

func enforcementUser(id, name, role string) User {
	made := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	return User{
		ID: id, Name: name, Image: "https://example.org/" + id + ".png", Role: role, Language: "en",
		Teams: []string{"red"}, BlockedUserIDs: []string{"eve"}, Online: true,
		LastActive: made.Add(2 * time.Minute), CreatedAt: made, UpdatedAt: made, Custom: map[string]any{"badge": "7"},
	}
}
