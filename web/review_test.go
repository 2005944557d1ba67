package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stillwatch/actions"
	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

const (
	queueURL  = moderationPrefix + "/review_queue"
	submitURL = moderationPrefix + "/submit_action"
)

// reviewSuite is what must hold of the review API on every database.
var reviewSuite = map[string]func(t *testing.T, b *bench){
	"locks never hand one item to two":          testLocks,
	"a lock ends by the clock":                  testLockEnds,
	"the queue is filtered, sorted and paged":   testQueueQuery,
	"every decision goes by the direct door":    testSubmit,
	"a decision on an older state is refused":   testSubmitIfMatch,
	"a banned user appeals":                     testAppealAPI,
	"appeals are decided on in bulk":            testBulkAppeals,
	"saved queues":                              testQueues,
	"the log has what policy and people did":    testLogs,
	"flags are listed and counted":              testFlagLists,
	"bans are listed":                           testBannedUsers,
	"a user mutes others, for himself alone":    testUserMutes,
	"feedback is kept, the last word of each":   testFeedback,
	"a ban asked for twice is one":              testBanTwice,
	"decisions on what is not about a call":     testSubmitOnUser,
	"custom data of a flag can be filtered by":  testCustomFilter,
	"an unban beside the queue beats the queue": testUnbanDirect,
}

// onPostgres are those of the suite whose SQL differs there, or whose order
// of writes matters.
var onPostgres = []string{
	"locks never hand one item to two", "the queue is filtered, sorted and paged", "every decision goes by the direct door",
	"a banned user appeals", "saved queues", "the log has what policy and people did", "flags are listed and counted",
	"bans are listed", "a user mutes others, for himself alone", "feedback is kept, the last word of each", "custom data of a flag can be filtered by",
}

func TestReview(t *testing.T) {
	t.Parallel()
	desk := func(c *Config) {
		c.Actions = actions.NewDesk(actions.DeskConfig{DB: c.DB, Signer: c.Signer, Now: c.Now})
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		for name, test := range reviewSuite {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, newBench(t, desk))
			})
		}
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		server := testkit.Postgres(t)
		admin, err := db.Open(t.Context(), server)
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close()
		n := 0
		for name, test := range reviewSuite {
			if !slices.Contains(onPostgres, name) {
				continue
			}
			n++
			own := fmt.Sprintf("review%d", n)
			if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+own); err != nil {
				t.Fatal(err)
			}
			t.Run(name, func(t *testing.T) {
				test(t, newBenchOn(t, strings.Replace(server, "/postgres?", "/"+own+"?", 1), desk))
			})
		}
	})
}

// flagOn flags a participant of the call default:abc and returns the item.
func (b *bench) flagOn(user string) string {
	b.t.Helper()
	b.server(http.StatusOK, "POST", "/api/v2/users", map[string]any{"users": map[string]any{user: map[string]any{"id": user}}})
	a := b.do(b.auth.ServerToken(), "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	if a.status/100 != 2 {
		b.t.Fatalf("make the call: %s", a.raw)
	}
	body := map[string]any{"entity_type": "call", "entity_id": "default:abc", "entity_creator_id": user, "reason": "look", "user_id": "mo"}
	return b.server(http.StatusOK, "POST", moderationPrefix+"/flag", body).body["item_id"].(string)
}

// run carries out what waits in the queue of actions, as an executor does.
func (b *bench) run() {
	b.t.Helper()
	e := actions.NewExecutor(actions.Config{DB: b.db, Now: b.now.Now})
	for _, ev := range b.sent(event.TopicActions) {
		var req event.ActionRequested
		if err := ev.Decode(&req); err != nil {
			b.t.Fatal(err)
		}
		if err := e.Execute(b.t.Context(), req); err != nil {
			b.t.Fatal(err)
		}
	}
}

// public is the newest public event of the type.
func public[T any](b *bench, typ string) (out T) {
	b.t.Helper()
	for _, ev := range slices.Backward(b.sent(event.TopicPublic)) {
		if ev.Type == typ {
			if err := ev.Decode(&out); err != nil {
				b.t.Fatal(err)
			}
			return out
		}
	}
	b.t.Fatalf("%s did not go out", typ)
	return out
}

func idsOf(a answer, list string) (ids []string) {
	for _, item := range a.body[list].([]any) {
		ids = append(ids, item.(map[string]any)["id"].(string))
	}
	return ids
}

func (b *bench) submit(want int, itemID, typ string, more map[string]any) answer {
	b.t.Helper()
	body := map[string]any{"item_id": itemID, "action_type": typ, "user_id": "mo"}
	for k, v := range more {
		body[k] = v
	}
	return b.server(want, "POST", submitURL, body)
}

func testLocks(t *testing.T, b *bench) {
	const items, moderators = 30, 6
	for i := range items {
		b.flagOn(fmt.Sprintf("user%02d", i))
	}
	var mu sync.Mutex
	held, wg := map[string]string{}, sync.WaitGroup{}
	for m := range moderators {
		wg.Go(func() {
			who := fmt.Sprint("mo", m)
			token := b.user(who, auth.RoleModerator)
			for {
				a := b.do(token, "POST", queueURL, `{"filter":{"status":"pending"},"lock_items":true,"lock_count":3,"lock_duration":60}`)
				if a.status != http.StatusOK {
					t.Errorf("%s", a.raw)
					return
				}
				ids := idsOf(a, "items")
				if len(ids) == 0 {
					return
				}
				mu.Lock()
				for _, id := range ids {
					if held[id] != "" {
						t.Errorf("%s went to %s and %s", id, held[id], who)
					}
					held[id] = who
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(held) != items {
		t.Fatalf("%d of %d items were handed out", len(held), items)
	}
	var rows []db.ReviewItemRow
	if err := b.db.NewSelect().Model(&rows).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.AssignedTo != held[r.ID] || !r.LockExpiresAt.Equal(b.now.Now().Add(time.Minute)) {
			t.Errorf("%s is assigned to %q until %v, was handed to %q", r.ID, r.AssignedTo, r.LockExpiresAt, held[r.ID])
		}
	}
}

func testLockEnds(t *testing.T, b *bench) {
	id := b.flagOn("bob")
	mo, ada := b.user("mo", auth.RoleModerator), b.user("ada", auth.RoleModerator)
	lock := `{"lock_items":true,"lock_duration":300,"lock_count":10}`
	a := b.want(http.StatusOK, b.do(mo, "POST", queueURL, lock))
	item := a.body["items"].([]any)[0].(map[string]any)
	if item["assigned_to"].(map[string]any)["id"] != "mo" || item["lock_expires_at"] != b.now.Now().Add(5*time.Minute).Format(time.RFC3339Nano) || a.body["next"] != "" {
		t.Errorf("%s", a.raw)
	}
	if a := b.want(http.StatusOK, b.do(ada, "POST", queueURL, lock)); len(idsOf(a, "items")) != 0 {
		t.Errorf("locked twice: %s", a.raw)
	}
	if a := b.want(http.StatusOK, b.do(ada, "POST", queueURL, `{"filter":{"assigned_to":"mo"}}`)); len(idsOf(a, "items")) != 1 {
		t.Errorf("not found by its holder: %s", a.raw)
	}
	reviewed := map[string]any{"item_id": id, "action_type": "mark_reviewed"}
	if a := b.want(http.StatusConflict, b.do(ada, "POST", submitURL, reviewed)); a.body["code"] != float64(CodeConflict) || !strings.Contains(string(a.raw), "locked by mo") {
		t.Errorf("%s", a.raw)
	}
	b.now.Advance(5 * time.Minute)
	if a := b.want(http.StatusOK, b.do(ada, "POST", queueURL, `{"filter":{"assigned_to":"mo"}}`)); len(idsOf(a, "items")) != 0 {
		t.Errorf("held beyond its end: %s", a.raw)
	}
	if a := b.want(http.StatusOK, b.do(ada, "POST", queueURL, lock)); len(idsOf(a, "items")) != 1 {
		t.Errorf("not free after its end: %s", a.raw)
	}
	b.want(http.StatusOK, b.do(ada, "POST", submitURL, reviewed))
	if a := b.want(http.StatusOK, b.do(mo, "POST", queueURL, lock)); len(idsOf(a, "items")) != 0 {
		t.Errorf("a decided item is offered: %s", a.raw)
	}
	b.server(http.StatusBadRequest, "POST", queueURL, lock) // for whom?
	b.server(http.StatusBadRequest, "POST", queueURL, `{"lock_items":true,"lock_count":26,"user_id":"mo"}`)
	b.server(http.StatusBadRequest, "POST", queueURL, `{"lock_items":true,"user_id":"mo","filter":{"created_at":"x"}}`)
}

func testQueueQuery(t *testing.T, b *bench) {
	var all []string
	for i, severity := range []int{50, 90, 70, 90, 10} {
		id := b.flagOn(fmt.Sprint("user", i))
		all = append(all, id)
		b.now.Advance(time.Second)
		if _, err := b.db.NewUpdate().Model((*db.ReviewItemRow)(nil)).Set("severity = ?", severity).Where("id = ?", id).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sort := []any{map[string]any{"field": "severity", "direction": -1}, map[string]any{"field": "created_at", "direction": 1}}
	want := []string{all[1], all[3], all[2], all[0], all[4]}
	var got []string
	next, prev := "", ""
	for range 3 {
		a := b.server(http.StatusOK, "POST", queueURL, map[string]any{"sort": sort, "limit": 2, "next": next})
		got = append(got, idsOf(a, "items")...)
		next, prev = a.body["next"].(string), a.body["prev"].(string)
	}
	if !slices.Equal(got, want) || next != "" {
		t.Errorf("forward %v, want %v", got, want)
	}
	if a := b.server(http.StatusOK, "POST", queueURL, map[string]any{"sort": sort, "limit": 2, "prev": prev}); !slices.Equal(idsOf(a, "items"), want[2:4]) {
		t.Errorf("back %v, want %v", idsOf(a, "items"), want[2:4])
	}
	for filter, n := range map[string]int{
		`{"severity":{"$gte":70}}`: 3, `{"channel_cid":"default:abc"}`: 5, `{"channel_cid":"default:x"}`: 0, `{"escalated":true}`: 0,
		`{"$or":[{"severity":10},{"entity_creator_id":"user0"}]}`: 2, `{"status":{"$ne":"pending"}}`: 0, `{"reviewed_by":{"$exists":false}}`: 5,
		`{"recommended_action":"flag","entity_type":{"$in":["call","user"]}}`: 5,
	} {
		if a := b.server(http.StatusOK, "POST", queueURL, `{"filter":`+filter+`}`); len(idsOf(a, "items")) != n {
			t.Errorf("%s finds %d, want %d", filter, len(idsOf(a, "items")), n)
		}
	}
	a := b.server(http.StatusOK, "POST", queueURL, `{"stats_only":true}`)
	if len(idsOf(a, "items")) != 0 || a.body["stats"].(map[string]any)["pending"] != 5.0 {
		t.Errorf("%s", a.raw)
	}
}

func testCustomFilter(t *testing.T, b *bench) {
	flag := func(entity, team string) string {
		return b.server(http.StatusOK, "POST", moderationPrefix+"/flag", map[string]any{
			"entity_type": "message", "entity_id": entity, "entity_creator_id": "bob", "user_id": "mo", "custom": map[string]any{"source": "app"},
			"moderation_payload": map[string]any{"texts": []string{"hello"}, "custom": map[string]any{"team": team, "level": 3}},
		}).body["item_id"].(string)
	}
	red := flag("m-1", "red")
	flag("m-2", "blue")
	for filter, n := range map[string]int{`{"team":"red"}`: 1, `{"level":{"$gt":2}}`: 2, `{"nothing":"x"}`: 0, `{"team":{"$exists":true}}`: 2} {
		if a := b.server(http.StatusOK, "POST", queueURL, `{"filter":`+filter+`}`); len(idsOf(a, "items")) != n {
			t.Errorf("%s finds %d, want %d", filter, len(idsOf(a, "items")), n)
		}
	}
	a := b.server(http.StatusOK, "GET", queueURL+"/"+red, nil)
	item := a.body["item"].(map[string]any)
	p, f := item["moderation_payload"].(map[string]any), item["flags"].([]any)[0].(map[string]any)
	if fmt.Sprint(p["texts"], p["custom"], f["custom"]) != "[hello] map[level:3 team:red] map[source:app]" {
		t.Errorf("%s", a.raw)
	}
	b.server(http.StatusBadRequest, "POST", moderationPrefix+"/flag", map[string]any{
		"entity_type": "message", "entity_id": "m-3", "custom": map[string]any{"x": strings.Repeat("y", maxFlagCustom)},
	})
	b.server(http.StatusNotFound, "GET", queueURL+"/nope", nil)
}

func testSubmit(t *testing.T, b *bench) {
	id := b.flagOn("bob")
	// ban, by the executor, with the item in the event
	ban := map[string]any{"reason": "nudity", "timeout": 1440, "shadow": false, "ip_ban": false}
	a := b.submit(http.StatusOK, id, "ban", map[string]any{"ban": ban})
	golden(t, "submit_action", a)
	item := a.body["item"].(map[string]any)
	if item["status"] != "reviewed" || item["reviewed_by"] != "mo" || item["latest_moderator_action"] != "ban" || item["completed_at"] == nil {
		t.Errorf("%s", a.raw)
	}
	b.run()
	if ev := public[event.UserBan](b, event.UserBanned); ev.ReviewQueueItemID != id || ev.CreatedBy.ID != "mo" || ev.Expiration == nil || ev.Reason != "nudity" {
		t.Errorf("user.banned %+v", ev)
	}
	banned := func(cid string) bool {
		_, yes, err := b.db.Banned(t.Context(), "bob", cid, b.now.Now())
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	if !banned("") {
		t.Error("not banned")
	}
	golden(t, "review_item", b.server(http.StatusOK, "GET", queueURL+"/"+id, nil))
	b.submit(http.StatusOK, id, "unban", map[string]any{"unban": map[string]any{"decision_reason": "a painting"}})
	if ev := public[event.UserBan](b, event.UserUnbanned); banned("") || ev.ReviewQueueItemID != id || ev.Reason != "a painting" {
		t.Errorf("user.unbanned %+v", ev)
	}
	b.submit(http.StatusOK, id, "ban", map[string]any{"ban": map[string]any{"channel_ban_only": true}})
	b.run()
	if banned("") || !banned("default:abc") {
		t.Error("not banned from the one call")
	}
	b.submit(http.StatusOK, id, "block", nil)
	b.submit(http.StatusOK, id, "restore", nil)
	if banned("default:abc") {
		t.Error("restore left a ban or a block")
	}
	blocked := func() any {
		return b.server(http.StatusOK, "GET", callURL, nil).body["call"].(map[string]any)["blocked_user_ids"]
	}
	b.submit(http.StatusOK, id, "block", map[string]any{"block": map[string]any{"reason": "again"}})
	if fmt.Sprint(blocked()) != "[bob]" || public[event.BlockedUser](b, event.CallBlockedUser).BlockedByUser.ID != "mo" {
		t.Errorf("blocked %v", blocked())
	}
	b.submit(http.StatusOK, id, "unblock", nil)
	if fmt.Sprint(blocked()) != "[]" {
		t.Errorf("blocked %v", blocked())
	}
	b.submit(http.StatusOK, id, "kick_user", map[string]any{"kick_user": map[string]any{"target_user_id": "carol"}})
	b.run()
	if ev := public[event.KickedUser](b, event.CallKickedUser); ev.User.ID != "carol" || ev.KickedByUser.ID != "mo" {
		t.Errorf("call.kicked_user %+v", ev)
	}
	b.submit(http.StatusOK, id, "end_call", nil)
	b.run()
	if b.server(http.StatusOK, "GET", callURL, nil).body["call"].(map[string]any)["ended_at"] == nil {
		t.Error("the call goes on")
	}
	b.submit(http.StatusOK, id, "custom", map[string]any{"custom": map[string]any{"id": "notify", "options": map[string]any{"a": 1}}})
	if ev := public[event.CustomAction](b, event.ModerationCustomAction); ev.ActionID != "notify" || ev.ActionOptions["a"] != 1.0 {
		t.Errorf("moderation.custom_action %+v", ev)
	}
	a = b.submit(http.StatusOK, id, "escalate", map[string]any{"escalate": map[string]any{"reason": "r", "notes": "n", "priority": "high"}})
	if item := a.body["item"].(map[string]any); item["escalated"] != true || fmt.Sprint(item["escalation_metadata"]) != "map[notes:n priority:high reason:r]" || item["escalated_by"] != "mo" {
		t.Errorf("%s", a.raw)
	}
	b.submit(http.StatusOK, id, "de_escalate", nil)
	before := len(b.sent(event.TopicPublic))
	b.submit(http.StatusOK, id, "mark_reviewed", nil)
	again := b.submit(http.StatusOK, id, "mark_reviewed", nil)
	if n := len(b.sent(event.TopicPublic)) - before; n != 2 || len(again.body["item"].(map[string]any)["actions"].([]any)) != 13 {
		t.Errorf("%d events for one decision submitted twice: %s", n, again.raw)
	}
	for _, typ := range []string{"delete_message", "shadow_block", "unmask", "", "BAN"} {
		if a := b.submit(http.StatusBadRequest, id, typ, nil); !strings.Contains(string(a.raw), "not supported") {
			t.Errorf("%s: %s", typ, a.raw)
		}
	}
	b.submit(http.StatusNotFound, "nope", "mark_reviewed", nil)
	b.submit(http.StatusBadRequest, id, "ban", map[string]any{"ban": map[string]any{"ip_ban": true}})
	b.submit(http.StatusBadRequest, id, "ban", map[string]any{"ban": map[string]any{"target_user_id": "a b"}})
	b.submit(http.StatusBadRequest, id, "custom", nil)
	b.submit(http.StatusBadRequest, "", "mark_reviewed", nil)
	b.submit(http.StatusBadRequest, id, "reject_appeal", nil)
}

func testSubmitOnUser(t *testing.T, b *bench) {
	a := b.server(http.StatusOK, "POST", moderationPrefix+"/flag", `{"entity_type":"user","entity_id":"bob","user_id":"mo","reason":"name"}`)
	id := a.body["item_id"].(string)
	for _, typ := range []string{"block", "unblock", "kick_user", "end_call"} {
		b.submit(http.StatusBadRequest, id, typ, nil)
	}
	b.submit(http.StatusBadRequest, id, "ban", map[string]any{"ban": map[string]any{"channel_ban_only": true}})
	b.submit(http.StatusOK, id, "ban", nil)
	b.run()
	if _, banned, err := b.db.Banned(t.Context(), "bob", "", b.now.Now()); err != nil || !banned {
		t.Errorf("banned %v, %v", banned, err)
	}
	b.submit(http.StatusOK, id, "restore", nil)
	if _, banned, err := b.db.Banned(t.Context(), "bob", "", b.now.Now()); err != nil || banned {
		t.Errorf("banned %v, %v", banned, err)
	}
	a = b.server(http.StatusOK, "POST", moderationPrefix+"/flag", `{"entity_type":"message","entity_id":"m-1","user_id":"mo"}`)
	b.submit(http.StatusBadRequest, a.body["item_id"].(string), "ban", nil) // whom?
	b.submit(http.StatusOK, a.body["item_id"].(string), "ban", map[string]any{"ban": map[string]any{"target_user_id": "eve"}})
}

func testSubmitIfMatch(t *testing.T, b *bench) {
	id := b.flagOn("bob")
	tag := b.server(http.StatusOK, "GET", queueURL+"/"+id, nil).header.Get("ETag")
	if tag == "" {
		t.Fatal("no ETag")
	}
	submit := func(tag, typ string) answer {
		t.Helper()
		return b.sendIf(tag, "POST", submitURL, map[string]any{"item_id": id, "action_type": typ, "user_id": "mo"})
	}
	b.now.Advance(2 * time.Minute)
	b.flagOn("bob") // another flag: the state that was seen is no more
	if a := b.want(http.StatusPreconditionFailed, submit(tag, "mark_reviewed")); a.body["code"] != float64(CodeConflict) {
		t.Errorf("%s", a.raw)
	}
	tag = b.server(http.StatusOK, "GET", queueURL+"/"+id, nil).header.Get("ETag")
	a := b.want(http.StatusOK, submit(tag, "mark_reviewed"))
	if a.header.Get("ETag") == tag || a.header.Get("ETag") == "" {
		t.Error("the same ETag after a change")
	}
	// A client's second try of the same succeeds, though the state has changed.
	b.want(http.StatusOK, submit(tag, "mark_reviewed"))
	b.want(http.StatusPreconditionFailed, submit(tag, "escalate"))
}

func testBanTwice(t *testing.T, b *bench) {
	for range 3 {
		b.server(http.StatusOK, "POST", moderationPrefix+"/ban", `{"target_user_id":"bob","banned_by_id":"mo","reason":"nudity","timeout":60}`)
	}
	b.run()
	a := b.server(http.StatusOK, "GET", "/api/v2/chat/query_banned_users", nil)
	if n := len(a.body["bans"].([]any)); n != 1 {
		t.Errorf("%d bans: %s", n, a.raw)
	}
	// A banned user is not refused another ban: it takes the place.
	b.now.Advance(time.Second)
	b.server(http.StatusOK, "POST", moderationPrefix+"/ban", `{"target_user_id":"bob","banned_by_id":"mo","reason":"worse"}`)
	b.run()
	a = b.server(http.StatusOK, "GET", "/api/v2/chat/query_banned_users", nil)
	if bans := a.body["bans"].([]any); len(bans) != 1 || bans[0].(map[string]any)["reason"] != "worse" || bans[0].(map[string]any)["expires"] != nil {
		t.Errorf("%s", a.raw)
	}
}

func testUnbanDirect(t *testing.T, b *bench) {
	b.insert(&db.SessionRow{ID: "s1", CID: "default:abc", StartedAt: db.At(b.now.Now())})
	policyBans := func() {
		t.Helper()
		req := event.ActionRequested{
			ActionID: event.NewID(), DecisionID: event.NewID(), Kind: event.ActionBan, CID: "default:abc", SessionID: "s1", UserID: "bob", ByUserID: "system",
		}
		row, err := actions.Row(req, b.now.Now())
		if err != nil {
			t.Fatal(err)
		}
		b.insert(&row)
		if err := actions.NewExecutor(actions.Config{DB: b.db, Now: b.now.Now}).Execute(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	banned := func() bool {
		_, yes, err := b.db.Banned(t.Context(), "bob", "default:abc", b.now.Now())
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	policyBans()
	if !banned() {
		t.Fatal("the policy did not ban")
	}
	b.now.Advance(time.Second)
	b.server(http.StatusOK, "POST", moderationPrefix+"/unban?target_user_id=bob", `{"unbanned_by_id":"mo"}`)
	b.now.Advance(time.Second)
	policyBans()
	if banned() {
		t.Error("the policy banned again what mo had unbanned")
	}
	a := b.server(http.StatusOK, "POST", queueURL, `{"filter":{"status":"pending","recommended_action":"ban"}}`)
	if len(idsOf(a, "items")) != 1 {
		t.Errorf("the ban was not put to people: %s", a.raw)
	}
}
