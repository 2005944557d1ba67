package main

import (
	"encoding/json"
	"testing"
	"time"

	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
	"stillwatch/moderation"
)

// TestARuleOfTheAPIHoldsInLiveCalls takes the way of TestFromCameraToBan with a
// rule that the API made while the program ran: warned first, put out at the
// third violation, not banned. The still that decided is then checked.
func TestARuleOfTheAPIHoldsInLiveCalls(t *testing.T) {
	r := startRig(t)
	rule := `{"name":"nudity","rule_type":"call",
		"conditions":[{"type":"keyframe","keyframe_rule_params":{"harm_labels":["Porn","Hentai"],"threshold":2,"time_window":"60s"}}],
		"action_sequences":[
			{"violation_number":1,"actions":["flag","call_warning"],"call_options":{"warning_text":"Please stop."}},
			{"violation_number":3,"actions":["kick_user"],"call_options":{"kick_reason":"nudity"}}]}`
	var made struct{ Warnings []string }
	if code := r.api("POST", "/api/v2/moderation/moderation_rule", rule, &made); code != 200 || len(made.Warnings) != 0 {
		t.Fatalf("rule: %d, warnings %q", code, made.Warnings)
	}
	was := r.classify.FilePolicy().Version()
	testkit.Eventually(t, 5*time.Second, func() bool { return r.classify.PolicyVersion() != was }, "the rule is in force")

	bad := r.mustJoin("default:ladder", "eve", clip(t, "porn", event.VP8))
	select {
	case <-bad.Gone():
	case <-time.After(60 * time.Second):
		t.Fatal("the offender was not put out within a minute")
	}
	for typ, n := range map[string]int{
		event.RuleTriggered: 3, event.CallModerationWarning: 2, event.CallKickedUser: 1, event.UserBanned: 0,
	} {
		testkit.Eventually(t, 10*time.Second, func() bool { return len(r.hook.of(typ)) >= n }, typ)
		if got := len(r.hook.of(typ)); got != n {
			t.Errorf("%d times %s, want %d", got, typ, n)
		}
	}
	var ready event.FrameRecordingReady
	if err := json.Unmarshal(r.hook.of(event.CallFrameRecordingReady)[0].body, &ready); err != nil {
		t.Fatal(err)
	}
	r.checkOne(t, ready.URL, "flag") // by the still's signed address
	r.checkOne(t, r.URL()+"/healthz", "")
}

// checkOne has an image checked and waits for the outcome; none is wanted of
// what cannot be screened, our own listener say.
func (r *rig) checkOne(t *testing.T, image, want string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"entity_type": "user_profile", "entity_id": image[:20], "entity_creator_id": "eve", "config_key": "avatars",
		"moderation_payload": map[string]any{"images": []string{image}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var pending struct {
		TaskID string `json:"task_id"`
	}
	if code := r.api("POST", "/api/v2/moderation/check", string(body), &pending); code != 200 {
		t.Fatalf("check: %d", code)
	}
	var task struct {
		Status string
		Result map[string]any
	}
	testkit.Eventually(t, 20*time.Second, func() bool {
		r.api("GET", "/api/v2/tasks/"+pending.TaskID, "", &task)
		return task.Status == "completed" || task.Status == "failed"
	}, "the check ends")
	if want == "" {
		if task.Status != "failed" || task.Result["recommended_action"] != moderation.RecommendReview {
			t.Errorf("task = %+v", task)
		}
		testkit.Eventually(t, 10*time.Second, func() bool { return len(r.hook.of(event.AnalysisFailed)) == 1 }, "not screened is told")
		return
	}
	if task.Status != "completed" || task.Result["recommended_action"] != want {
		t.Errorf("task = %+v", task)
	}
	testkit.Eventually(t, 10*time.Second, func() bool { return len(r.hook.of(event.CheckCompleted)) == 1 }, "the outcome is told")
	if n := len(r.hook.of(event.UserBanned)); n != 0 {
		t.Errorf("%d bans by one image", n)
	}
}
