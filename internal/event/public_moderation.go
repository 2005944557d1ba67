package event

import "time"

// Public event types of flags, reviews and appeals.
const (
	ModerationFlagged      = "moderation.flagged"
	ModerationMarkReviewed = "moderation.mark_reviewed"
	ModerationCustomAction = "moderation.custom_action"
	FlagUpdated            = "flag.updated"
	AppealCreated          = "appeal.created"
	AppealWasAccepted      = "appeal.accepted"
	AppealWasRejected      = "appeal.rejected"
)

// ReviewItemChange is the body of ReviewItemNew and ReviewItemUpdated. Flags
// are those that came with the change; Action is the decision that made it.
type ReviewItemChange struct {
	Type            string         `json:"type"`
	CreatedAt       time.Time      `json:"created_at"`
	ReviewQueueItem ReviewItem     `json:"review_queue_item"`
	Flags           []Flag         `json:"flags"`
	Action          *ReviewAction  `json:"action,omitempty"`
	Custom          map[string]any `json:"custom"`
}

// Flagged is the body of ModerationFlagged.
type Flagged struct {
	Type      string    `json:"type"`
	CreatedAt time.Time `json:"created_at"`
	// ContentType and ObjectID are the flagged entity's type and id.
	ContentType string `json:"content_type"`
	ObjectID    string `json:"object_id"`
}

// MarkedReviewed is the body of ModerationMarkReviewed.
type MarkedReviewed struct {
	Type      string     `json:"type"`
	CreatedAt time.Time  `json:"created_at"`
	Item      ReviewItem `json:"item"`
}

// CustomAction is the body of ModerationCustomAction: a moderator chose an
// action that the backend carries out.
type CustomAction struct {
	Type            string         `json:"type"`
	CreatedAt       time.Time      `json:"created_at"`
	ActionID        string         `json:"action_id"`
	ActionOptions   map[string]any `json:"action_options"`
	ReviewQueueItem ReviewItem     `json:"review_queue_item"`
}

// FlagChange is the body of FlagUpdated: the item of a user's flags was
// decided on. Flag is the newest of them.
type FlagChange struct {
	Type              string         `json:"type"`
	CreatedAt         time.Time      `json:"created_at"`
	User              User           `json:"user"`
	CreatedBy         User           `json:"created_by"`
	Flag              Flag           `json:"flag"`
	ReviewQueueItemID string         `json:"review_queue_item_id"`
	Custom            map[string]any `json:"custom"`
}

// AppealChange is the body of AppealCreated, AppealWasAccepted and
// AppealWasRejected.
type AppealChange struct {
	Type      string    `json:"type"`
	CreatedAt time.Time `json:"created_at"`
	Appeal    Appeal    `json:"appeal"`
}

func moderationEntries() []Entry {
	at := time.Date(2026, 1, 5, 10, 2, 3, 500, time.UTC)
	until := at.Add(24 * time.Hour)
	bob, mod := enforcementUser("bob", "Bob", "user"), enforcementUser("mod1", "Mo", "moderator")
	item, appeal := exampleItem(at, bob, mod)
	flag, action := item.Flags[0], item.Actions[0]
	custom := map[string]any{"call_cid": item.EntityID, "frame_id": flag.FrameID}
	ban := UserBan{
		UserBanned, at, bob, mod, "nudity", false, &until, 1, item.ID, item.EntityID, custom,
	}
	unban := ban
	unban.Type, unban.Expiration, unban.Reason = UserUnbanned, nil, "appeal accepted"
	change := func(typ string, action *ReviewAction) ReviewItemChange {
		return ReviewItemChange{typ, at, item, []Flag{flag}, action, map[string]any{}}
	}
	rejected := appeal
	rejected.Status, rejected.DecisionReason, rejected.ReviewedBy = AppealRejected, "the pictures are clear", mod.ID
	accepted := rejected
	accepted.Status, accepted.DecisionReason = AppealAccepted, "a painting, not a person"
	return []Entry{
		{UserBanned, "A user is banned, from one call or everywhere.", ban},
		{UserUnbanned, "A user's bans were lifted.", unban},
		{UserFlagged, "A participant of a call, or a user, was flagged.", UserFlag{
			UserFlagged, at, mod, bob, "nudity", 1, item.ID, custom,
		}},
		{ModerationFlagged, "Something was flagged: a participant of a call, a user, or an entity of the backend's own.", Flagged{
			ModerationFlagged, at, item.EntityType, item.EntityID,
		}},
		{ReviewItemNew, "A flag put a new item into the review queue.", change(ReviewItemNew, nil)},
		{ReviewItemUpdated, "An item of the review queue got another flag, or a moderator decided on it.", change(ReviewItemUpdated, &action)},
		{ModerationMarkReviewed, "A moderator marked an item as reviewed: nothing needs to be done.", MarkedReviewed{ModerationMarkReviewed, at, item}},
		{ModerationCustomAction, "A moderator chose an action that the backend carries out.", CustomAction{
			ModerationCustomAction, at, "notify-guardian", map[string]any{"urgent": true}, item,
		}},
		{FlagUpdated, "The item that a user's flags stand in was decided on.", FlagChange{FlagUpdated, at, bob, mod, flag, item.ID, map[string]any{}}},
		{AppealCreated, "A user appealed against what was done to them.", AppealChange{AppealCreated, at, appeal}},
		{AppealWasAccepted, "An appeal was accepted.", AppealChange{AppealWasAccepted, at, accepted}},
		{AppealWasRejected, "An appeal was rejected.", AppealChange{AppealWasRejected, at, rejected}},
	}
}

// exampleItem is an item with every field filled, and its appeal.
func exampleItem(at time.Time, bob, mod User) (ReviewItem, Appeal) {
	const id, cid, frame = "0b6f6a5e-4f0a-4c6e-9d55-6f1c4f1f3c11", "default:abc", "5d0f7d1c-8a54-4b9a-9f0e-2f5a3f5b7c10"
	appeal := Appeal{
		ID: "7c1d5a90-52b6-4d0f-8a4b-0d7f3b1a2c55", AppealReason: "That was a painting.", Attachments: []string{"https://example.org/painting.jpg"},
		EntityType: EntityCall, EntityID: cid, Status: AppealSubmitted, User: bob, ReviewQueueItemID: id, CreatedAt: at, UpdatedAt: at,
	}
	return ReviewItem{
		ID: id, CreatedAt: at, UpdatedAt: at, EntityType: EntityCall, EntityID: cid, EntityCreatorID: bob.ID,
		EntityCreator: EntityCreator{bob, 1, 1, 0},
		ModerationPayload: ModerationPayload{
			Texts: []string{}, Images: []string{"https://example.org/s/frames/1.jpg?exp=1767694923&sig=6b1f"}, Videos: []string{}, Audios: []string{},
			Custom: map[string]any{"frame_id": frame, "session_id": "e48dd421-6281-457e-8995-0ccc463da252"},
		},
		Status: ReviewReviewed, RecommendedAction: "ban", Severity: 97, Languages: []string{},
		Call: &ReviewCall{cid, "abc", "default", false, []string{}},
		Flags: []Flag{{
			ID: "a8a3a5a0-0c3c-4f3e-8d9e-1a2b3c4d5e6f", Type: "image", EntityType: EntityCall, EntityID: cid, Labels: []string{"nudity"}, Result: []any{},
			Reason: "explicit", UserID: "system", Custom: map[string]any{}, CreatedAt: at, UpdatedAt: at, FrameID: frame, Score: 0.97,
			ActionID: "c0a8c1d2-3e4f-4a5b-8c6d-7e8f9a0b1c2d",
		}}, FlagsCount: 1,
		Actions: []ReviewAction{{"3f2504e0-4f89-41d3-9a0c-0305e82c3301", "ban", mod.ID, bob.ID, "nudity", map[string]any{"timeout": 1440}, at}},
		Bans:    []ReviewBan{{"9b2d6f1e-7a3c-4e5d-8f60-1b2c3d4e5f60", bob.ID, mod.ID, cid, "nudity", false, at.Add(24 * time.Hour), at}},

		Escalated: true, EscalatedBy: mod.ID, EscalatedAt: at, EscalationMetadata: &Escalation{"not sure", "second pair of eyes", "high"},
		AssignedTo: &mod, LockExpiresAt: at.Add(5 * time.Minute), ReviewedAt: at, ReviewedBy: mod.ID, CompletedAt: at,
		LatestModeratorAction: "ban", ConfigKey: "calls", Teams: []string{"red"}, Appeal: &appeal,
	}, appeal
}
