package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/internal/event"
)

// offerLike is an offer that is well-formed as far as its first lines.
const offerLike = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"

// TestBadInputGetsAClearRefusal sends what strangers send. Each is refused
// with a 4xx that says what was wrong, and the server goes on.
func TestBadInputGetsAClearRefusal(t *testing.T) {
	r := startRig(t)
	good := r.token("ann", "")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(`{"user_id":"ann"}`)) + "."
	expired := r.Auth().UserToken(auth.UserClaims{UserID: "ann", ExpiresAt: time.Now().Add(-time.Hour)})
	foreign := auth.New("key", strings.Repeat("x", 40)).UserToken(auth.UserClaims{UserID: "ann"})
	interval := func(n string) string {
		return `{"settings":{"frame_recording":{"mode":"auto-on","capture_interval_in_seconds":` + n + `,"quality":"720p"}}}`
	}
	const whip, types = "/whip/default/hostile", "/api/v2/video/calltypes/default"
	for name, c := range map[string]struct {
		method, path, token, contentType, body string
		status                                 int
		word                                   string
	}{
		"no token":          {"POST", whip, "", "application/sdp", offerLike, 401, "token"},
		"alg none":          {"POST", whip, none, "application/sdp", offerLike, 401, "HS256"},
		"expired":           {"POST", whip, expired, "application/sdp", offerLike, 401, "expired"},
		"foreign secret":    {"POST", whip, foreign, "application/sdp", offerLike, 401, "signature"},
		"token, other call": {"POST", whip, r.token("ann", "", "default:elsewhere"), "application/sdp", offerLike, 403, "call"},
		"garbage SDP":       {"POST", whip, good, "application/sdp", "\x00\xff garbage", 400, "SDP"},
		"SDP, no media":     {"POST", whip, good, "application/sdp", offerLike, 400, "media"},
		"wrong type":        {"POST", whip, good, "application/json", "{}", 415, "application/sdp"},
		"oversize SDP":      {"POST", whip, good, "application/sdp", strings.Repeat("a", 1<<20), 413, "larger"},
		"interval 1":        {"PUT", types, r.Auth().ServerToken(), "application/json", interval("1"), 400, "capture_interval_in_seconds"},
		"interval 61":       {"PUT", types, r.Auth().ServerToken(), "application/json", interval("61"), 400, "60"},
		"interval 2.5":      {"PUT", types, r.Auth().ServerToken(), "application/json", interval("2.5"), 400, "capture_interval_in_seconds"},
		"quality 999p":      {"PUT", types, r.Auth().ServerToken(), "application/json", strings.Replace(interval("2"), "720p", "999p", 1), 400, "1440p"},
		"oversize JSON":     {"PUT", types, r.Auth().ServerToken(), "application/json", `{"a":"` + strings.Repeat("a", 2<<20) + `"}`, 413, ""},
		"half JSON":         {"PUT", types, r.Auth().ServerToken(), "application/json", `{"settings":`, 400, "JSON"},
		"private webhook":   {"PATCH", "/api/v2/app", r.Auth().ServerToken(), "application/json", `{"webhook_url":"http://169.254.169.254/latest"}`, 400, "webhook_url"},
		"ban by a user":     {"POST", "/api/v2/moderation/ban", good, "application/json", `{"target_user_id":"bob"}`, 403, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, text := r.send(t, c.method, c.path, c.token, c.contentType, c.body)
			if status != c.status || !strings.Contains(text, c.word) {
				t.Errorf("answer %d %q, want %d with %q", status, text, c.status, c.word)
			}
		})
	}
	t.Run("unknown call type", func(t *testing.T) {
		if _, err := r.join("nosuchtype:hostile", "ann", clip(t, "neutral", event.VP8)); !isRefusal(err, http.StatusNotFound, "nosuchtype") {
			t.Errorf("join = %v, want 404 with the type's name", err)
		}
	})
	t.Run("still serves", func(t *testing.T) {
		if status, _ := r.send(t, "GET", "/readyz", "", "", ""); status != http.StatusOK {
			t.Errorf("readyz = %d", status)
		}
	})
}

func (r *rig) send(t *testing.T, method, path, token, contentType, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.URL()+path+"?api_key="+r.Auth().Key(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestFloodOfRTPIsDropped sends packets of nobody to the media port while a
// participant is in a call: their frames go on, and memory does not grow.
func TestFloodOfRTPIsDropped(t *testing.T) {
	r := startRig(t)
	r.mustJoin("default:flood", "ada", clip(t, "neutral", event.VP8))
	before := len(r.framesOf(t, "default:flood", 2))
	conn, err := net.Dial("udp", r.cfg.Media.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	heap := liveHeap()
	rnd := rand.New(rand.NewPCG(1, 2))
	packet := make([]byte, 1200)
	for range 100_000 { // bounded: some 120 MB over loopback
		for i := 0; i < 24; i += 8 {
			v := rnd.Uint64()
			for j := range 8 {
				packet[i+j] = byte(v >> (8 * j))
			}
		}
		packet[0] = 0x80 | packet[0]&0x3f // RTP version 2, anything else random
		_, _ = conn.Write(packet)         // the kernel may refuse some; the server gets plenty
	}
	r.framesOf(t, "default:flood", before+3)
	if grown := liveHeap() - heap; grown > 32<<20 {
		t.Errorf("the heap grew by %d MB", grown>>20)
	}
	if out := fmt.Sprint(r.sampler.Stats().Missed()); out != "0" {
		t.Logf("%s due frames were missed during the flood and stand in the ledger", out)
	}
}

func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
