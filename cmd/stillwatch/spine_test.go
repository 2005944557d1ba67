package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"image/jpeg"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/jail"
	"stillwatch/internal/synthetic"
	"stillwatch/internal/testkit"
)

// asProgram in the environment makes the test binary the program itself, so
// that tests can kill it as a process of its own.
const asProgram = "TEST_BINARY_IS_THE_PROGRAM"

func TestMain(m *testing.M) {
	jail.Init()
	if os.Getenv(asProgram) != "" {
		main()
	}
	if err := os.Setenv(asProgram, "1"); err != nil {
		panic(err)
	}
	testkit.Main(m)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestFromCameraToBan is the main job: of two participants over real WebRTC
// the one whose picture the models take for the class Porn is flagged, banned
// and kept out, and the other stays.
func TestFromCameraToBan(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { fromCameraToBan(t, startRig(t)) })
	t.Run("PostgreSQL, Redis and S3", func(t *testing.T) {
		s3 := testkit.MinIO(t)
		t.Setenv("AWS_ACCESS_KEY_ID", s3.AccessKey)
		t.Setenv("AWS_SECRET_ACCESS_KEY", s3.SecretKey)
		fromCameraToBan(t, startRig(t, "STILLWATCH_DATABASE_URL="+testkit.Postgres(t), "STILLWATCH_REDIS_URL="+testkit.Redis(t), "STILLWATCH_BLOB_URL="+s3.URL()))
	})
}

func fromCameraToBan(t *testing.T, r *rig) {
	t.Helper()
	good := r.mustJoin("default:spine", "ada", clip(t, "neutral", event.VP8))
	bad := r.mustJoin("default:spine", "eve", clip(t, "porn", event.VP8))
	select {
	case <-bad.Gone():
	case <-time.After(60 * time.Second):
		t.Fatal("the offender was not put out within a minute")
	}
	actions := r.actionsOf(t, "eve")
	for _, kind := range []event.ActionKind{event.ActionFlag, event.ActionBan} {
		a, ok := actions[kind]
		if !ok {
			t.Fatalf("no %s of the offender: %v", kind, actions)
		}
		var req event.ActionRequested
		if err := json.Unmarshal(a.Payload.V, &req); err != nil {
			t.Fatal(err)
		}
		t.Logf("eve %s: captured to confirmed %v", kind, a.ConfirmedAt.Sub(req.CapturedAt).Round(time.Millisecond))
	}
	if _, err := r.join("default:spine", "eve", clip(t, "porn", event.VP8)); !isRefusal(err, http.StatusForbidden, "banned") {
		t.Errorf("the banned one came back: %v", err)
	}
	if _, err := r.join("default:other", "eve", clip(t, "neutral", event.VP8)); !isRefusal(err, http.StatusForbidden, "banned") {
		t.Errorf("the banned one entered another call: %v", err)
	}
	select {
	case <-good.Gone():
		t.Error("the harmless one was put out")
	default:
	}
	if got := r.actionsOf(t, "ada"); len(got) != 0 {
		t.Errorf("the harmless one was acted on: %v", got)
	}
	r.checkWebhooks(t)
	if code := r.api("POST", "/api/v2/moderation/unban?target_user_id=eve", `{"unbanned_by_id":"mo"}`, nil); code/100 != 2 {
		t.Fatalf("unban: %d", code)
	}
	if _, err := r.join("default:spine", "eve", clip(t, "neutral", event.VP8)); err != nil {
		t.Errorf("the unbanned one cannot come back: %v", err)
	}
}

func isRefusal(err error, status int, word string) bool {
	var refused *synthetic.Refusal
	return errors.As(err, &refused) && refused.Status == status && strings.Contains(refused.Text, word)
}

// actionsOf returns the confirmed actions on a user, by kind, once each action
// has been confirmed.
func (r *rig) actionsOf(t *testing.T, user string) map[event.ActionKind]db.ActionRow {
	t.Helper()
	var rows []db.ActionRow
	testkit.Eventually(t, 5*time.Second, func() bool {
		rows = nil
		if err := r.db.NewSelect().Model(&rows).Where("user_id = ?", user).Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, a := range rows {
			if a.State != db.ActionStateConfirmed {
				return false
			}
		}
		return true
	}, "every action is confirmed")
	out := map[event.ActionKind]db.ActionRow{}
	for _, a := range rows {
		out[event.ActionKind(a.Kind)] = a
	}
	return out
}

// checkWebhooks holds what the receiver got against the promises: signature,
// one id an event, the owner in the frame event, a picture behind its URL.
func (r *rig) checkWebhooks(t *testing.T) {
	t.Helper()
	for _, typ := range []string{event.UserFlagged, event.UserBanned, event.CallFrameRecordingStarted, event.CallFrameRecordingReady} {
		testkit.Eventually(t, 10*time.Second, func() bool { return len(r.hook.of(typ)) > 0 }, typ)
	}
	for _, d := range r.hook.of(event.UserBanned) {
		mac := hmac.New(sha256.New, []byte(r.cred.APISecret))
		mac.Write(d.body)
		if want := hex.EncodeToString(mac.Sum(nil)); d.sig != want || d.id == "" {
			t.Errorf("signature %q, want %q; id %q", d.sig, want, d.id)
		}
	}
	if n := len(r.hook.of(event.UserBanned)); n != 1 {
		t.Errorf("user.banned arrived %d times", n)
	}
	var ready event.FrameRecordingReady
	d := r.hook.of(event.CallFrameRecordingReady)[0]
	if err := json.Unmarshal(d.body, &ready); err != nil {
		t.Fatal(err)
	}
	if ready.CallCID != "default:spine" || len(ready.Users) != 1 || ready.TrackType != event.TrackVideo {
		t.Errorf("frame event = %+v", ready)
	}
	r.fetchJPEG(t, ready.URL, 1280, 720)
	tampered := strings.Replace(ready.URL, "sig=", "sig=A", 1)
	resp, err := http.Get(tampered)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("tampered URL: %s, want 403", resp.Status)
	}
}

func (r *rig) fetchJPEG(t *testing.T, url string, width, height int) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("fetch %s: %s %v", url, resp.Status, err)
	}
	cfg, err := jpeg.DecodeConfig(bytes.NewReader(body))
	if err != nil || cfg.Width != width || cfg.Height != height {
		t.Errorf("picture is %dx%d, want %dx%d: %v", cfg.Width, cfg.Height, width, height, err)
	}
}
