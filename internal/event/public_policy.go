package event

import "time"

// Public event types of the policy and of checks.
const (
	RuleTriggered         = "moderation_rule.triggered"
	CheckCompleted        = "moderation_check.completed"
	ImageAnalysisComplete = "moderation.image_analysis.complete"
	AnalysisFailed        = "moderation.analysis.failed"
	CallModerationWarning = "call.moderation_warning"
	CallModerationBlur    = "call.moderation_blur"
)

// TriggeredRule names a rule of the API.
type TriggeredRule struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Type        string `json:"type"`
	Description string `json:"description"`
}

// RuleTrigger is the body of RuleTriggered. TriggeredActions are the actions
// of the rule that are now asked for, in the words of the API; none when only
// the violation is counted. ReviewQueueItemID is the participant's open review
// item, "" when there was none yet: a flag among the actions makes one.
type RuleTrigger struct {
	Type              string        `json:"type"`
	CreatedAt         time.Time     `json:"created_at"`
	Rule              TriggeredRule `json:"rule"`
	ViolationNumber   int           `json:"violation_number"`
	EntityID          string        `json:"entity_id"`
	EntityType        string        `json:"entity_type"`
	UserID            string        `json:"user_id"`
	TriggeredActions  []string      `json:"triggered_actions"`
	ReviewQueueItemID string        `json:"review_queue_item_id"`
}

// CheckDone is the body of CheckCompleted. RecommendedAction is "keep" when
// everything was looked at and nothing met the policy, "review" when some of
// it could not be looked at, else what the policy would do.
type CheckDone struct {
	Type              string    `json:"type"`
	CreatedAt         time.Time `json:"created_at"`
	EntityID          string    `json:"entity_id"`
	EntityType        string    `json:"entity_type"`
	RecommendedAction string    `json:"recommended_action"`
	ReviewQueueItemID string    `json:"review_queue_item_id"`
}

// ImageScores are what the models say of one image, by content id.
type ImageScores struct {
	// Labels are the scores by label, 0 to 1.
	Labels map[string]float64 `json:"labels"`
}

// ImageAnalysis is the body of ImageAnalysisComplete. Images are by content
// id, "images[0]" being the first of the request; Texts is always empty.
type ImageAnalysis struct {
	Type              string                 `json:"type"`
	CreatedAt         time.Time              `json:"created_at"`
	EntityID          string                 `json:"entity_id"`
	EntityType        string                 `json:"entity_type"`
	EntityCreatorID   string                 `json:"entity_creator_id"`
	ConfigKey         string                 `json:"config_key"`
	ReviewQueueItemID string                 `json:"review_queue_item_id"`
	Images            map[string]ImageScores `json:"images"`
	Texts             map[string]any         `json:"texts"`
	Custom            map[string]any         `json:"custom"`
}

// FailedAnalysis is the body of AnalysisFailed: what ContentIDs name was not
// screened, and must not pass for clean.
type FailedAnalysis struct {
	Type            string         `json:"type"`
	CreatedAt       time.Time      `json:"created_at"`
	EntityID        string         `json:"entity_id"`
	EntityType      string         `json:"entity_type"`
	EntityCreatorID string         `json:"entity_creator_id"`
	ConfigKey       string         `json:"config_key"`
	ContentIDs      []string       `json:"content_ids"`
	Custom          map[string]any `json:"custom"`
}

// ModerationWarning is the body of CallModerationWarning: the participant is
// to be shown Message by the client.
type ModerationWarning struct {
	Type      string         `json:"type"`
	CreatedAt time.Time      `json:"created_at"`
	CallCID   string         `json:"call_cid"`
	UserID    string         `json:"user_id"`
	Message   string         `json:"message"`
	Custom    map[string]any `json:"custom"`
}

// ModerationBlur is the body of CallModerationBlur: clients are to blur the
// participant's picture. Custom has "duration" in seconds and "expires_at"
// when the blur ends by itself.
type ModerationBlur struct {
	Type      string         `json:"type"`
	CreatedAt time.Time      `json:"created_at"`
	CallCID   string         `json:"call_cid"`
	UserID    string         `json:"user_id"`
	Custom    map[string]any `json:"custom"`
}

func policyEntries() []Entry {
	at := time.Date(2026, 1, 5, 10, 2, 3, 500, time.UTC)
	const (
		cid  = "default:abc"
		item = "0b6f4c1e-8d3a-4f57-9b21-6a1de0c4a9f2"
		act  = "5c0e7f5a-2b1d-4e6f-8a90-3d4c5b6a7f81"
	)
	custom := map[string]any{"action_id": act, "call_cid": cid}
	return []Entry{
		{RuleTriggered, "A participant met a rule of the API once more.", RuleTrigger{
			RuleTriggered, at,
			TriggeredRule{"6d1f0c52-7a43-4c1b-9e0d-2f8b7a6c5d41", "nudity", "call", "Nudity on camera"},
			1, cid, EntityCall, "bob",
			[]string{"flag", "call_warning"},
			item,
		}},
		{CheckCompleted, "Images that were given to be checked are classified and decided on.", CheckDone{
			CheckCompleted, at, "avatar-7", "user_profile", "flag", item,
		}},
		{ImageAnalysisComplete, "Images that were given to be analyzed are classified.", ImageAnalysis{
			ImageAnalysisComplete, at, "avatar-7", "user_profile", "bob", "call", "",
			map[string]ImageScores{"images[0]": {map[string]float64{"Neutral": 0.03, "Porn": 0.97}}},
			map[string]any{},
			map[string]any{"upload": "7"},
		}},
		{AnalysisFailed, "Content could not be screened: it is not known to be clean.", FailedAnalysis{
			AnalysisFailed, at, "avatar-7", "user_profile", "bob", "call", []string{"images[1]"}, map[string]any{"upload": "7"},
		}},
		{CallModerationWarning, "A participant is to be shown a warning.", ModerationWarning{
			CallModerationWarning, at, cid, "bob", "Please keep your clothes on.", custom,
		}},
		{CallModerationBlur, "Clients are to blur a participant's picture.", ModerationBlur{
			CallModerationBlur, at, cid, "bob", map[string]any{"action_id": act, "call_cid": cid, "duration": 60, "expires_at": "2026-01-05T10:03:03.0000005Z"},
		}},
	}
}
