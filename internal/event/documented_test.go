package event_test

// documented are the event types that backends of compatible systems know,
// each with the fields that they read besides type and created_at.
var documented = []struct{ typ, fields string }{
	{"call.frame_recording_started", "call_cid call egress_id"},
	{"call.frame_recording_stopped", "call_cid call egress_id"},
	{"call.frame_recording_failed", "call_cid call egress_id"},
	{"call.frame_recording_ready", "call_cid session_id track_type url captured_at users egress_id"},
	{"call.recording_started", "call_cid egress_id recording_type"},
	{"call.recording_stopped", "call_cid egress_id recording_type"},
	{"call.recording_failed", "call_cid egress_id recording_type error session_id start_time end_time custom"},
	{"call.recording_ready", "call_cid call_recording egress_id recording_type custom"},
	{"call.moderation_warning", "call_cid user_id message custom"},
	{"call.moderation_blur", "call_cid user_id custom"},
	{"call.blocked_user", "call_cid user blocked_by_user"},
	{"call.unblocked_user", "call_cid user"},
	{"call.kicked_user", "call_cid user kicked_by_user"},
	{"call.user_muted", "call_cid from_user_id muted_user_ids reason"},
	{"call.created", "call_cid call members"},
	{"call.updated", "call_cid call"},
	{"call.ended", "call_cid call user reason"},
	{"call.deleted", "call_cid call"},
	{"call.session_started", "call_cid call session_id"},
	{"call.session_ended", "call_cid call session_id"},
	{"call.session_participant_joined", "call_cid session_id participant"},
	{"call.session_participant_left", "call_cid session_id participant duration_seconds reason"},
	{"call.session_participant_count_updated", "call_cid session_id participants_count_by_role anonymous_participant_count"},
	{"call.permissions_updated", "call_cid user own_capabilities"},
	{"user.banned", "user created_by reason expiration shadow total_bans review_queue_item_id cid custom"},
	{"user.unbanned", "user created_by shadow"},
	{"user.flagged", "user target_user reason total_flags custom"},
	{"review_queue_item.new", "review_queue_item flags custom"},
	{"review_queue_item.updated", "review_queue_item flags action custom"},
	{"moderation_rule.triggered", "rule violation_number entity_id entity_type user_id triggered_actions review_queue_item_id"},
	{"moderation_check.completed", "entity_id entity_type recommended_action review_queue_item_id"},
	{"moderation.flagged", "content_type object_id"},
	{"moderation.mark_reviewed", "item"},
	{"moderation.custom_action", "action_id action_options review_queue_item"},
	{"moderation.image_analysis.complete", "entity_id entity_type config_key review_queue_item_id images texts custom"},
	{"moderation.analysis.failed", "entity_id entity_type config_key content_ids custom"},
	{"appeal.created", "appeal"},
	{"appeal.accepted", "appeal"},
	{"appeal.rejected", "appeal"},
	{"flag.updated", "user"},
	{"ingress.started", ""},
	{"ingress.error", ""},
	{"ingress.stopped", ""},
	{"custom", "call_cid custom user"},
}

// isDocumented tells whether backends of compatible systems know the type.
func isDocumented(typ string) bool {
	for _, d := range documented {
		if d.typ == typ {
			return true
		}
	}
	return false
}

// notCaused says why nothing sends an event type yet.
var notCaused = map[string]string{
	"ingress.started": noIngress,
	"ingress.error":   noIngress,
	"ingress.stopped": noIngress,
}

const (
	noIngress = "Media comes in by WHIP alone, where joining and leaving are told by `call.session_participant_joined` and `_left`."
)

const pageHead = `# Events

Backends receive these by webhook or queue; how, is said in [PROTOCOL.md](../PROTOCOL.md). Every body has ` + "`type` and `created_at`" + `, is at most 20 kB, and names pictures by signed address instead of carrying them. New fields and new types may come at any time: a receiver ignores what it does not know. The same event may arrive more than once, with the same ` + "`X-WEBHOOK-ID`" + `.

The schemas are JSON Schema, draft 2020-12, made from the program's own types by ` + "`UPDATE_GOLDEN=1 go test ./internal/event`" + `; an example of each stands in ` + "`internal/event/testdata/golden`" + `.

| type | sent when | |
|---|---|---|
`

const pageMiddle = `
## Not sent

Types that backends may know and that nothing causes in this version:

| type | why |
|---|---|
`
