package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
	"stillwatch/internal/testkit"
)

// small is a clip that costs little to decode and to encode again.
func small(t *testing.T, picture string, codec event.Codec) *synthetic.Clip {
	t.Helper()
	c, err := synthetic.MakeClip(t.Context(), filepath.Join(buildDir, "clips"), synthetic.ClipConfig{
		Picture: picture, Codec: codec, Width: 320, Height: 180, Kbps: 250,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// speak joins a call with a picture and a tone.
func (r *rig) speak(call, user string, c *synthetic.Clip, hz int) *synthetic.Publisher {
	r.t.Helper()
	tone, err := synthetic.MakeTone(r.t.Context(), hz)
	if err != nil {
		r.t.Fatal(err)
	}
	typ, id, _ := strings.Cut(call, ":")
	p := synthetic.NewPublisher(synthetic.PublisherConfig{URL: r.URL() + "/whip/" + typ + "/" + id, Token: r.token(user, ""), Clip: c, Tone: tone})
	r.t.Cleanup(func() { p.Close() })
	if err := p.Start(r.t.Context()); err != nil {
		r.t.Fatalf("%s joins %s: %v", user, call, err)
	}
	return p
}

// calltype changes the settings of the type default.
func (r *rig) calltype(settings string) {
	r.t.Helper()
	var out struct{ Message string }
	if status := r.api("PUT", "/api/v2/video/calltypes/default", `{"settings":`+settings+`}`, &out); status != http.StatusOK {
		r.t.Fatalf("call type: %d %s", status, out.Message)
	}
}

// ready waits for the event of each file of a recording type.
func (r *rig) ready(n int, within time.Duration) []event.RecordingReady {
	r.t.Helper()
	testkit.Eventually(r.t, within, func() bool {
		return len(r.hook.of(event.CallRecordingReady)) >= n || len(r.hook.of(event.CallRecordingFailed)) > 0
	}, fmt.Sprintf("%d files are ready", n))
	for _, f := range r.hook.of(event.CallRecordingFailed) {
		r.t.Errorf("failed: %s", f.body)
	}
	var out []event.RecordingReady
	for _, d := range r.hook.of(event.CallRecordingReady) {
		var e event.RecordingReady
		if err := json.Unmarshal(d.body, &e); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// download fetches a file of a recording by its link.
func (r *rig) download(rec event.CallRecording) string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), rec.Filename)
	if err := os.WriteFile(path, fetch(r.t, rec.URL), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// ffprobe returns the streams as "codec WxH" or "codec", and the duration.
func ffprobe(t *testing.T, path string) (streams []string, seconds float64) {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "stream=codec_name,width,height:format=duration", "-of", "json", path).Output()
	if err != nil {
		t.Fatalf("ffprobe %s: %v", path, err)
	}
	var p struct {
		Streams []struct {
			CodecName     string `json:"codec_name"`
			Width, Height int
		}
		Format struct{ Duration string }
	}
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Streams {
		name := s.CodecName
		if s.Width > 0 {
			name += fmt.Sprintf(" %dx%d", s.Width, s.Height)
		}
		streams = append(streams, name)
	}
	_, _ = fmt.Sscan(p.Format.Duration, &seconds)
	return streams, seconds
}

func TestARecordedCallBecomesAMovie(t *testing.T) {
	r := startRig(t, "STILLWATCH_RECORDING_FLAG_GRACE=0s")
	r.calltype(`{"frame_recording":{"mode":"disabled"},"recording":{"mode":"auto-on","quality":"360p"}}`)
	ada := r.speak("default:movie", "ada", small(t, "neutral", event.VP8), 400)
	ben := r.speak("default:movie", "ben", small(t, "drawing", event.H264), 600)
	both := time.Now()
	<-time.After(4 * time.Second)
	ada.Close()
	ben.Close()
	most := time.Since(both).Seconds() + 2 // and what the joining took
	files := r.ready(1, 120*time.Second)
	rec := files[0].CallRecording
	streams, seconds := ffprobe(t, r.download(rec))
	if got := strings.Join(streams, ", "); got != "h264 640x360, aac" {
		t.Errorf("streams: %s", got)
	}
	if seconds < 3.5 || seconds > most {
		t.Errorf("duration %.2f s, want 4 to %.2f", seconds, most)
	}
	var row db.RecordingRow
	if err := r.db.NewSelect().Model(&row).Scan(t.Context()); err != nil || row.State != db.RecordingReady {
		t.Errorf("row %+v, %v", row, err)
	}
	testkit.Eventually(t, 30*time.Second, func() bool {
		left, _ := filepath.Glob(filepath.Join(r.cfg.Data.Dir, "recordings", "*", "*"))
		return len(left) == 0
	}, "packets and work are gone")
	testkit.Eventually(t, 30*time.Second, func() bool {
		return strings.Contains(string(fetch(t, r.URL()+"/metrics")), "stillwatch_recording_ready_seconds_count 1")
	}, "the time that it took is measured")
}

// TestAPublisherIsRecordedByEarAlone: the URL that ann publishes to says so.
func TestAPublisherIsRecordedByEarAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: of the recorder in the program, TestARecordedCallBecomesAMovie alone is run then")
	}
	r := startRig(t, "STILLWATCH_RECORDING_FLAG_GRACE=0s")
	r.calltype(`{"frame_recording":{"mode":"disabled"},"recording":{"mode":"disabled"},"individual_recording":{"mode":"auto-on"}}`)
	tone, err := synthetic.MakeTone(t.Context(), 400)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(query, token string) error {
		p := synthetic.NewPublisher(synthetic.PublisherConfig{
			URL: r.URL() + "/whip/default/ear?record_type=" + query, Token: token, Clip: small(t, "neutral", event.VP8), Tone: tone,
		})
		t.Cleanup(func() { p.Close() })
		return p.Start(t.Context())
	}
	for query, want := range map[string]struct {
		token, say string
		status     int
	}{
		"sound": {r.token("ann", ""), "record_type must be audio or video", http.StatusBadRequest},
		"audio": {r.token("ann", ""), "record_type needs a server token", http.StatusForbidden},
	} {
		var refused *synthetic.Refusal
		if err := publish(query, want.token); !errors.As(err, &refused) || refused.Status != want.status || !strings.Contains(refused.Text, want.say) {
			t.Errorf("record_type=%s: %v, want %d with %q", query, err, want.status, want.say)
		}
	}
	ben := r.speak("default:ear", "ben", small(t, "drawing", event.VP8), 600)
	if err := publish("audio&user_id=ann", r.Auth().ServerToken()); err != nil {
		t.Fatal(err)
	}
	<-time.After(3 * time.Second)
	if status := r.api("POST", "/api/v2/video/call/default/ear/mark_ended", "", nil); status >= 300 {
		t.Fatal(status)
	}
	<-ben.Gone()
	got := map[string]bool{}
	for _, f := range r.ready(3, 120*time.Second) { // ann's, ben's, and the sound of both
		streams, _ := ffprobe(t, r.download(f.CallRecording))
		got[strings.Join(streams, ", ")] = true
	}
	if len(got) != 3 || !got["opus"] || !got["vp8 320x180, opus"] || !got["pcm_s16le"] {
		t.Errorf("files have %v", got)
	}
}

// TestTheLastOfTwoIsHungUp: where the call type says so, and after the time in
// which the other one could have come back.
func TestTheLastOfTwoIsHungUp(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: package node tests it without the media")
	}
	r := startRig(t)
	r.calltype(`{"frame_recording":{"mode":"disabled"},"session":{"end_call_when_alone":true,"inactivity_timeout_seconds":2}}`)
	ada, ben := r.speak("default:two", "ada", small(t, "neutral", event.VP8), 400), r.speak("default:two", "ben", small(t, "drawing", event.VP8), 600)
	ada.Close()
	ada = r.speak("default:two", "ada", small(t, "neutral", event.VP8), 400) // back in time
	select {
	case <-ben.Gone():
		t.Fatal("the call ended although ada came back")
	case <-time.After(4 * time.Second):
	}
	ada.Close()
	select {
	case <-ben.Gone():
	case <-time.After(60 * time.Second):
		t.Fatal("ben is alone and is not hung up")
	}
	testkit.Eventually(t, 30*time.Second, func() bool { return len(r.hook.of(event.CallEnded)) == 1 }, "the call's end is told")
	var body event.CallEnding
	if err := json.Unmarshal(r.hook.of(event.CallEnded)[0].body, &body); err != nil || body.Reason != "alone in the call" || body.CallCID != "default:two" {
		t.Errorf("told %+v, %v", body, err)
	}
	if _, err := r.join("default:two", "ada", small(t, "neutral", event.VP8)); err == nil {
		t.Error("ada may join a call that has ended")
	}
}
