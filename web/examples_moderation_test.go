package web

import (
	"net/http"
	"testing"
	"time"

	"stillwatch/actions"
	"stillwatch/internal/db"
)

// TestDocumentedModerationIsAnswered sends the requests of the API's public
// documentation word for word and holds the answers against its examples.
func TestDocumentedModerationIsAnswered(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) {
		c.Actions = actions.NewDesk(actions.DeskConfig{DB: c.DB, Signer: c.Signer, Now: c.Now})
	})
	b.server(http.StatusCreated, "POST", callURL, string(example(t, "call_request")))
	flagged := b.server(http.StatusOK, "POST", moderationPrefix+"/flag",
		`{"entity_type":"call","entity_id":"default:abc","entity_creator_id":"bob","reason":"nudity","moderation_payload":{"texts":[],"images":["https://host/s/1.jpg"],"videos":[],"audios":[],"custom":{"frame_id":"f"}},"user_id":"mod1"}`)
	golden(t, "example_flag", flagged)
	queue := b.server(http.StatusOK, "POST", moderationPrefix+"/review_queue",
		`{"filter":{"status":"pending","entity_type":"call"},"sort":[{"field":"created_at","direction":-1}],"limit":25,"lock_items":true,"lock_duration":300,"lock_count":10,"user_id":"mod1"}`)
	b.fits("review_queue", queue)
	id := queue.body["items"].([]any)[0].(map[string]any)["id"].(string)
	if flagged.body["item_id"] != id {
		t.Errorf("flagged as %v, listed as %s", flagged.body["item_id"], id)
	}
	decided := b.server(http.StatusOK, "POST", moderationPrefix+"/submit_action",
		`{"item_id":"`+id+`","action_type":"ban","ban":{"reason":"nudity","timeout":1440,"shadow":false,"ip_ban":false},"user_id":"mod1"}`)
	golden(t, "example_submit_action", decided)
	// The ban is carried out by the executor, which does not run here.
	at := b.now.Now()
	b.insert(&db.BanRow{ID: "b1", UserID: "bob", ByUserID: "mod1", Reason: "nudity", CreatedAt: db.At(at), ExpiresAt: db.At(at.Add(24 * time.Hour))})
	bans := b.server(http.StatusOK, "GET", "/api/v2/chat/query_banned_users?payload=%7B%22filter_conditions%22%3A%7B%22user_id%22%3A%22bob%22%7D%7D", nil)
	golden(t, "example_banned_users", bans)
	golden(t, "example_ban", b.server(http.StatusOK, "POST", moderationPrefix+"/ban", `{"target_user_id":"eve","banned_by_id":"mod1","reason":"nudity","timeout":1440}`))
	golden(t, "example_recordings", b.server(http.StatusOK, "GET", callURL+"/recordings", nil))
	golden(t, "example_permissions", b.server(http.StatusOK, "GET", "/api/v2/permissions", nil))
	golden(t, "example_roles", b.server(http.StatusOK, "GET", "/api/v2/roles", nil))
}

func TestDocumentedErrorIsAnswered(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","settings_override":{"frame_recording":{"mode":"disabled"}}}}`)
	a := b.server(http.StatusBadRequest, "POST", callURL+"/start_frame_recording", nil)
	b.fits("error", a)
	if a.body["message"] != `StartFrameRecording failed with error: "frame recording is disabled"` {
		t.Errorf("%s", a.raw)
	}
}
