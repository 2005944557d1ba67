package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// apiOperation is one kind of request of the load. Path and body may hold
// {call}, {user}, {other}, {item}, {n} and {name}.
type apiOperation struct{ name, method, path, body string }

const (
	benchCall = "/api/v2/video/call/default/{call}"
	benchMod  = "/api/v2/moderation"
	benchOwn  = "/api/v2/stillwatch"
)

// apiOperations are all that answer from the database alone; what asks
// another machine (checks of queues and storages) is left out.
var apiOperations = []apiOperation{
	{"getCall", "GET", benchCall, ""},
	{"getOrCreateCall", "POST", benchCall, `{"data":{"created_by_id":"{user}"}}`},
	{"createCall", "POST", "/api/v2/video/call/default/{name}", `{"data":{"created_by_id":"{user}","members":[{"user_id":"{other}"}]}}`},
	{"updateCall", "PATCH", benchCall, `{"custom":{"n":{n}}}`},
	{"queryCalls", "POST", "/api/v2/video/calls", `{"filter_conditions":{"type":"default","created_by_user_id":"{user}"},"sort":[{"field":"created_at","direction":-1}],"limit":25}`},
	{"queryCallsAll", "POST", "/api/v2/video/calls", `{"limit":25}`},
	{"queryCallsByMember", "POST", "/api/v2/video/calls", `{"filter_conditions":{"members":{"$in":["{other}"]}},"limit":25}`},
	{"updateCallMembers", "POST", benchCall + "/members", `{"update_members":[{"user_id":"{other}"}]}`},
	{"queryCallMembers", "POST", "/api/v2/video/call/members", `{"type":"default","id":"{call}"}`},
	{"queryCallParticipants", "POST", benchCall + "/participants", `{}`},
	{"sendCallEvent", "POST", benchCall + "/event", `{"custom":{"n":{n}},"user_id":"{user}"}`},
	{"startFrameRecording", "POST", benchCall + "/start_frame_recording", `{}`},
	{"stopFrameRecording", "POST", benchCall + "/stop_frame_recording", `{}`},
	{"listRecordings", "GET", benchCall + "/recordings", ""},
	{"blockUser", "POST", benchCall + "/block", `{"user_id":"{other}"}`},
	{"unblockUser", "POST", benchCall + "/unblock", `{"user_id":"{other}"}`},
	{"kickUser", "POST", benchCall + "/kick", `{"user_id":"{other}"}`},
	{"muteUsers", "POST", benchCall + "/mute_users", `{"user_ids":["{other}"],"audio":true}`},
	{"updateUserPermissions", "POST", benchCall + "/user_permissions", `{"user_id":"{other}","grant_permissions":["start-frame-record-call"]}`},
	{"listCallTypes", "GET", "/api/v2/video/calltypes", ""},
	{"getCallType", "GET", "/api/v2/video/calltypes/default", ""},
	{"updateCallType", "PUT", "/api/v2/video/calltypes/bench", `{"settings":{"frame_recording":{"mode":"auto-on","capture_interval_in_seconds":5,"quality":"720p"}}}`},
	{"ban", "POST", benchMod + "/ban", `{"target_user_id":"{other}","channel_cid":"default:{call}","timeout":60,"reason":"bench"}`},
	{"unban", "POST", benchMod + "/unban?target_user_id={other}", `{}`},
	{"flag", "POST", benchMod + "/flag", `{"entity_type":"call","entity_id":"default:{call}","entity_creator_id":"{other}","reason":"bench"}`},
	{"queryReviewQueue", "POST", benchMod + "/review_queue", `{"filter":{"status":"pending","entity_type":"call"},"sort":[{"field":"created_at","direction":-1}],"limit":25}`},
	{"getReviewQueueItem", "GET", benchMod + "/review_queue/{item}", ""},
	{"submitAction", "POST", benchMod + "/submit_action", `{"item_id":"{item}","action_type":"mark_reviewed","user_id":"mo"}`},
	{"queryModerationFlags", "POST", benchMod + "/flags", `{"filter":{"entity_creator_id":"{other}"}}`},
	{"queryModerationLogs", "POST", benchMod + "/logs", `{"limit":25}`},
	{"getFlagCount", "POST", benchMod + "/flag_count", `{"entity_creator_id":"{other}"}`},
	{"queryBannedUsers", "GET", "/api/v2/chat/query_banned_users?payload=%7B%22limit%22%3A25%7D", ""},
	{"queryModerationRules", "POST", benchMod + "/moderation_rules", `{}`},
	{"queryConfigs", "POST", benchMod + "/configs", `{}`},
	{"queryAppeals", "POST", benchMod + "/appeals", `{}`},
	{"upsertUsers", "POST", "/api/v2/users", `{"users":{"{other}":{"id":"{other}","name":"Bench"}}}`},
	{"updateUsers", "PATCH", "/api/v2/users", `{"users":[{"id":"{other}","set":{"name":"Bench {n}"}}]}`},
	{"queryUsers", "GET", "/api/v2/users?payload=%7B%22limit%22%3A25%7D", ""},
	{"getApp", "GET", "/api/v2/app", ""},
	{"listPermissions", "GET", "/api/v2/permissions", ""},
	{"listRoles", "GET", "/api/v2/roles", ""},
	{"getRateLimits", "GET", "/api/v2/rate_limits", ""},
	{"listFrames", "GET", benchOwn + "/frames?cid=default:{call}", ""},
	{"listFramesOfUser", "GET", benchOwn + "/frames?user_id={other}", ""},
	{"getCoverage", "GET", benchOwn + "/coverage?cid=default:{call}", ""},
	{"listDecisions", "GET", benchOwn + "/decisions", ""},
	{"listActions", "GET", benchOwn + "/actions", ""},
	{"listParticipants", "GET", benchOwn + "/participants?cid=default:{call}", ""},
	{"listHooks", "GET", benchOwn + "/hooks", ""},
}

// loadClient keeps enough connections open for the rate.
var loadClient = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256, MaxConnsPerHost: 256}}

// load sends requests at the rate until the duration is over or ctx ends, and
// waits for their answers.
func (b *apiBench) load(ctx context.Context) {
	b.seen = map[string]*operationSeen{}
	var wg sync.WaitGroup
	start, gap := time.Now(), time.Second/time.Duration(b.cmd.Rate)
	for n := range int(b.cmd.Duration / gap) {
		due := start.Add(time.Duration(n) * gap)
		select {
		case <-ctx.Done():
			wg.Wait()
			return
		case <-time.After(time.Until(due)):
		}
		op := apiOperations[n%len(apiOperations)]
		wg.Go(func() { b.one(ctx, op, n, due) })
	}
	wg.Wait()
}

func (b *apiBench) one(ctx context.Context, op apiOperation, n int, due time.Time) {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	fill := strings.NewReplacer(
		"{call}", callName(r.IntN(b.cmd.Calls)), "{user}", userName(r.IntN(benchUsers)), "{other}", userName(r.IntN(benchUsers)),
		"{item}", b.items[r.IntN(len(b.items))], "{n}", fmt.Sprint(n), "{name}", fmt.Sprintf("new-%d", n),
	)
	answer, err := b.request(ctx, op.method, fill.Replace(op.path), fill.Replace(op.body))
	took := time.Since(due)
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.seen[op.name]
	if s == nil {
		s = &operationSeen{}
		b.seen[op.name] = s
	}
	s.client, s.handler = append(s.client, took), append(s.handler, answer.took)
	if err != nil {
		if s.errors++; s.errors == 1 {
			s.first = err.Error()
		}
	}
}

// apiAnswer is what the benchmark reads of an answer.
type apiAnswer struct {
	Duration string `json:"duration"`
	ItemID   string `json:"item_id"`
	took     time.Duration
}

// request makes one request as the backend.
func (b *apiBench) request(ctx context.Context, method, path, body string) (a apiAnswer, err error) {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	req, err := http.NewRequestWithContext(ctx, method, b.server.url+path+sep+"api_key="+b.server.auth.Key(), strings.NewReader(body))
	if err != nil {
		return a, err
	}
	req.Header.Set("Authorization", b.server.auth.ServerToken())
	resp, err := loadClient.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("%s %s: %s: %w", method, path, resp.Status, err)
	}
	a.took, _ = time.ParseDuration(a.Duration) // a missing one is none
	if resp.StatusCode/100 != 2 {
		return a, fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, text)
	}
	return a, nil
}
