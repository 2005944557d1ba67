package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"stillwatch/actions"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/moderation/policy"
)

const (
	rulePath   = moderationPrefix + "/moderation_rule"
	configPath = moderationPrefix + "/config"
)

// nudityRule is the rule of the reference: warned, then blurred and muted,
// then out.
const nudityRule = `{"name":"nudity","description":"Nudity on camera","rule_type":"call","enabled":true,"cooldown_period":"5m","logic":"AND",
	"conditions":[
		{"type":"keyframe","confidence":0.8,"keyframe_rule_params":{"harm_labels":["Porn","nudity"],"threshold":3,"time_window":"30s"}},
		{"type":"call_type","call_type_rule_params":{"call_type":"default"}}],
	"action_sequences":[
		{"violation_number":1,"actions":["call_warning"],"call_options":{"warning_text":"Please keep your clothes on."}},
		{"violation_number":2,"actions":["call_blur","mute_video"],"call_options":{"duration":60}},
		{"violation_number":3,"actions":["kick_user"],"call_options":{"kick_reason":"nudity"}}],
	"config_keys":["call:default"]}`

func ruleBench(t *testing.T) *bench {
	return newBench(t, func(c *Config) {
		c.Policy, c.Labels = policy.Default(), func() []string { return []string{"Neutral", "Porn"} }
	})
}

func (b *bench) edit(want int, method, target, body, match string) answer {
	b.t.Helper()
	r := httptest.NewRequest(method, target+"?api_key=key", strings.NewReader(body))
	r.Header.Set("Authorization", b.auth.ServerToken())
	r.Header.Set("If-Match", match)
	return b.want(want, b.send(r))
}

func TestRuleIsKept(t *testing.T) {
	t.Parallel()
	b := ruleBench(t)
	made := b.server(http.StatusOK, "POST", rulePath, nudityRule)
	golden(t, "moderation_rule", made)
	rule := made.body["rule"].(map[string]any)
	path := rulePath + "/" + rule["id"].(string)
	read := b.server(http.StatusOK, "GET", path, nil)
	if tag := made.header.Get("ETag"); tag == "" || tag != read.header.Get("ETag") {
		t.Errorf("ETag %q, then %q", tag, read.header.Get("ETag"))
	}
	old := made.header.Get("ETag")
	again := b.edit(http.StatusOK, "POST", rulePath, strings.Replace(nudityRule, `"enabled":true`, `"enabled":false`, 1), old)
	if got := again.body["rule"].(map[string]any); got["id"] != rule["id"] || got["enabled"] != false || again.header.Get("ETag") == old {
		t.Errorf("replaced = %v", got)
	}
	b.edit(http.StatusPreconditionFailed, "POST", rulePath, nudityRule, old)
	b.edit(http.StatusPreconditionFailed, "POST", rulePath, strings.Replace(nudityRule, "nudity", "another", 1), old)
	renamed := strings.Replace(nudityRule, `"name":"nudity"`, `"name":"clothes","id":"`+rule["id"].(string)+`"`, 1)
	b.server(http.StatusOK, "POST", rulePath, renamed)
	b.server(http.StatusOK, "POST", rulePath, nudityRule)
	b.server(http.StatusConflict, "POST", rulePath, strings.Replace(renamed, "clothes", "nudity", 1))

	list := b.server(http.StatusOK, "POST", moderationPrefix+"/moderation_rules", `{"filter":{"enabled":true},"sort":[{"field":"name","direction":1}],"limit":1}`)
	rules := list.body["rules"].([]any)
	if len(rules) != 1 || rules[0].(map[string]any)["name"] != "clothes" || list.body["next"] == "" || list.body["default_config"].(map[string]any)["brake"] == nil {
		t.Errorf("list = %s", list.raw)
	}
	b.server(http.StatusBadRequest, "POST", moderationPrefix+"/moderation_rules", `{"filter":{"secret":true}}`)

	b.edit(http.StatusPreconditionFailed, "DELETE", path, "", old)
	b.server(http.StatusOK, "DELETE", path, nil)
	b.server(http.StatusNotFound, "DELETE", path, nil)
	b.server(http.StatusNotFound, "GET", path, nil)
	if n := b.audits("rule.upsert") + b.audits("rule.delete"); n != 5 {
		t.Errorf("%d audits, want 5", n)
	}
}

func TestRulesThatCannotHoldAreRefused(t *testing.T) {
	t.Parallel()
	b := ruleBench(t)
	for field, change := range map[string][2]string{
		"conditions[0].keyframe_rule_params.threshold":   {`"threshold":3`, `"threshold":1`},
		"conditions[0].keyframe_rule_params.time_window": {`"30s"`, `"half a minute"`},
		"cooldown_period":                               {`"5m"`, `"5 min"`},
		"conditions[0].type":                            {`"type":"keyframe"`, `"type":"keyframe_ocr"`},
		"action_sequences[0].actions[0]":                {`["call_warning"]`, `["explode"]`},
		"action_sequences[0].call_options.warning_text": {`"warning_text":"Please keep your clothes on."`, `"warning_text":""`},
		"rule_type":                                     {`"rule_type":"call"`, `"rule_type":"user"`},
	} {
		a := b.server(http.StatusBadRequest, "POST", rulePath, strings.Replace(nudityRule, change[0], change[1], 1))
		if fields := a.body["exception_fields"].(map[string]any); fields[field] == nil {
			t.Errorf("%s: %s", field, a.raw)
		}
	}
	a := b.server(http.StatusBadRequest, "POST", rulePath, strings.Replace(nudityRule, `"type":"keyframe"`, `"type":"closed_caption"`, 1))
	if !strings.Contains(string(a.raw), "not supported") {
		t.Errorf("closed_caption: %s", a.raw)
	}
	b.server(http.StatusNotFound, "POST", rulePath, strings.Replace(nudityRule, `{`, `{"id":"nope",`, 1))
}

func TestConfigIsKept(t *testing.T) {
	t.Parallel()
	b := ruleBench(t)
	const config = `{"key":"call:default","team":"red","image_config":{"rules":[{"label":"Porn","action":"ban","min_confidence":0.9},{"label":"weapon","action":"flag"}]}}`
	made := b.server(http.StatusOK, "POST", configPath, config)
	golden(t, "moderation_config", made)
	old := made.header.Get("ETag")
	b.edit(http.StatusOK, "POST", configPath, strings.Replace(config, "red", "blue", 1), old)
	b.edit(http.StatusPreconditionFailed, "POST", configPath, config, old)
	read := b.server(http.StatusOK, "GET", configPath+"/call:default", nil)
	if c := read.body["config"].(map[string]any); c["team"] != "blue" || read.header.Get("ETag") == old {
		t.Errorf("config = %s", read.raw)
	}
	list := b.server(http.StatusOK, "POST", moderationPrefix+"/configs", `{"filter":{"key":{"$in":["call:default"]}},"sort":[{"field":"key"}]}`)
	if len(list.body["configs"].([]any)) != 1 {
		t.Errorf("list = %s", list.raw)
	}
	a := b.server(http.StatusBadRequest, "POST", configPath, strings.Replace(config, `"ban"`, `"bounce"`, 1))
	if fields := a.body["exception_fields"].(map[string]any); fields["image_config.rules[0].action"] == nil {
		t.Errorf("bounce: %s", a.raw)
	}
	b.edit(http.StatusPreconditionFailed, "DELETE", configPath+"/call:default", "", old)
	b.server(http.StatusOK, "DELETE", configPath+"/call:default", nil)
	b.server(http.StatusNotFound, "GET", configPath+"/call:default", nil)
}

// realDesk is a bench whose orders are carried out.
func realDesk(t *testing.T) *bench {
	return newBench(t, func(c *Config) {
		c.Actions = actions.NewDesk(actions.DeskConfig{DB: c.DB, Signer: c.Signer, Now: c.Now})
	})
}

func TestCustomCheckMakesAnItemAtOnce(t *testing.T) {
	t.Parallel()
	b := realDesk(t)
	b.insert(&db.ParticipantRow{UserSessionID: "us1", SessionID: "s1", CID: "default:abc", UserID: "bob", JoinedAt: db.At(b.now.Now())})
	push := func(cid, custom string) string {
		return `{"entity_type":"call","entity_id":"` + cid + `","entity_creator_id":"bob","moderation_payload":{"images":["https://example.org/1.jpg"]},
			"flags":[{"type":"custom_check_image","labels":["nudity"],"reason":"other model","custom":` + custom + `},{"type":"custom_check_image","custom":{"scores":{"violence":0.2}}}]}`
	}
	a := b.server(http.StatusOK, "POST", moderationPrefix+"/custom_check", push("default:abc", `{"id":"f7","scores":{"nudity":0.9}}`))
	item := a.body["item"].(map[string]any)
	if a.body["id"] != item["id"] || a.body["status"] != "pending" || len(item["flags"].([]any)) != 2 {
		t.Errorf("answer = %s", a.raw)
	}
	b.server(http.StatusOK, "POST", moderationPrefix+"/custom_check", push("default:abc", `{"id":"f7","scores":{"nudity":0.9}}`))
	evs := b.sent(event.TopicChecks)
	if len(evs) != 1 {
		t.Fatalf("%d verdicts of one look", len(evs))
	}
	var v event.Verdict
	if err := evs[0].Decode(&v); err != nil {
		t.Fatal(err)
	}
	if v.Source != event.SourceOutside || v.Frame.SessionID != "s1" || v.Frame.CallType != "default" || len(v.Scores) != 2 || v.Scores[0] != (event.Score{Label: "nudity", Score: 0.9}) {
		t.Errorf("verdict = %+v", v)
	}
	// Without scores, or without the participant, it is for people alone.
	b.server(http.StatusOK, "POST", moderationPrefix+"/custom_check", push("default:other", `{"scores":{"nudity":0.9}}`))
	b.server(http.StatusOK, "POST", moderationPrefix+"/custom_check", `{"entity_type":"post","entity_id":"7","flags":[{"type":"custom_check_text","custom":{"scores":{"x":1}}}]}`)
	if n := len(b.sent(event.TopicChecks)); n != 1 {
		t.Errorf("%d verdicts", n)
	}
	for _, bad := range []string{`{"scores":{"nudity":1.1}}`, `{"scores":[1]}`, `{"scores":{"nudity":"high"}}`} {
		b.server(http.StatusBadRequest, "POST", moderationPrefix+"/custom_check", push("default:abc", bad))
	}
	b.server(http.StatusBadRequest, "POST", moderationPrefix+"/custom_check", `{"entity_type":"call","entity_id":"default:abc","entity_creator_id":"bob","flags":[]}`)
}

func TestChecksBecomeTasks(t *testing.T) {
	t.Parallel()
	b := realDesk(t)
	const body = `{"entity_type":"call","entity_id":"default:abc","entity_creator_id":"bob","moderation_payload":{"images":["https://example.org/1.jpg"]},"test_mode":true}`
	check := b.server(http.StatusOK, "POST", moderationPrefix+"/check", body)
	analyze := b.server(http.StatusOK, "POST", moderationPrefix+"/analyze", body)
	if check.body["status"] != "pending" || check.body["recommended_action"] == "keep" {
		t.Errorf("check = %s", check.raw)
	}
	for i, ev := range b.sent(event.TopicChecks) {
		var order event.CheckRequested
		if err := ev.Decode(&order); err != nil {
			t.Fatal(err)
		}
		task := []answer{check, analyze}[i].body["task_id"]
		if order.TaskID != task || order.Decide != (i == 0) || !order.TestMode || order.ConfigKey != "call:default" || order.ByUserID != "system" {
			t.Errorf("order = %+v", order)
		}
		if got := b.server(http.StatusOK, "GET", "/api/v2/tasks/"+order.TaskID, nil); got.body["status"] != "waiting" {
			t.Errorf("task = %s", got.raw)
		}
	}
	b.server(http.StatusBadRequest, "POST", moderationPrefix+"/check", `{"entity_type":"user_profile","entity_id":"7","entity_creator_id":"bob","moderation_payload":{"texts":["hello"]}}`)
}
