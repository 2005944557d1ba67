package whip_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"stillwatch/capture/call"
	"stillwatch/capture/ingest/ingesttest"
	"stillwatch/capture/ingest/rtc"
)

// offer makes a real offer of one VP8 track.
func offer(t testing.TB) string {
	t.Helper()
	pc := ingesttest.NewPeer(t)
	if _, err := pc.AddTrack(ingesttest.Video(t, webrtc.MimeTypeVP8, "camera")); err != nil {
		t.Fatal(err)
	}
	return ingesttest.Offer(t, pc)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Banned.Store("mal", true)
	good := offer(t)
	section := good[strings.Index(good, "m=video"):]
	const sdp = "application/sdp"
	for name, c := range map[string]struct {
		method, path, token, typ, body string
		status                         int
		say                            string
	}{
		"no token":         {"POST", "/whip/default/abc", "", sdp, good, 401, "no token"},
		"wrong token":      {"POST", "/whip/default/abc", "nonsense", sdp, good, 401, "signature does not match"},
		"token of another": {"POST", "/whip/default/abc", "user:ann@default:other", sdp, good, 403, "not good for the call default:abc"},
		"banned":           {"POST", "/whip/default/abc", "user:mal", sdp, good, 403, "banned: spam"},
		"unknown type":     {"POST", "/whip/nope/abc", "user:ann", sdp, good, 404, "nope"},
		"bad call id":      {"POST", "/whip/default/a%20b", "user:ann", sdp, good, 400, "call id"},
		"server, no user":  {"POST", "/whip/default/abc", "server", sdp, good, 400, "user_id"},
		"wrong type":       {"POST", "/whip/default/abc", "user:ann", "application/json", good, 415, sdp},
		"empty":            {"POST", "/whip/default/abc", "user:ann", sdp, "", 400, "empty"},
		"garbage":          {"POST", "/whip/default/abc", "user:ann", sdp, "v=0\r\nhello", 400, "not SDP"},
		"huge":             {"POST", "/whip/default/abc", "user:ann", sdp, good + strings.Repeat("a=x\r\n", 20000), 413, "larger than"},
		"100 sections":     {"POST", "/whip/default/abc", "user:ann", sdp, good + strings.Repeat("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", 100), 400, "media sections"},
		"same mid twice":   {"POST", "/whip/default/abc", "user:ann", sdp, good + section, 400, "two media sections"},
		"receives only":    {"POST", "/whip/default/abc", "user:ann", sdp, strings.ReplaceAll(good, "a=sendrecv", "a=recvonly"), 400, "sends nothing"},
		"no codec":         {"POST", "/whip/default/abc", "user:ann", sdp, onlyH265(good), 406, "VP8"},
		"no fingerprint":   {"POST", "/whip/default/abc", "user:ann", sdp, strings.ReplaceAll(good, "a=fingerprint", "a=fungerprint"), 400, "fingerprint"},
		"data channel":     {"POST", "/whip/default/abc", "user:ann", sdp, good + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:9\r\n", 400, "audio and video only"},
		"record_type":      {"POST", "/whip/default/abc?record_type=sound", "user:ann", sdp, good, 400, "record_type must be audio or video"},
		"no record_type":   {"POST", "/whip/default/abc?record_type=", "user:ann", sdp, good, 400, "record_type must be audio or video"},
		"GET":              {"GET", "/whip/default/abc", "user:ann", "", "", 405, "POST"},
		"short path":       {"POST", "/whip/default", "user:ann", sdp, good, 404, "{type}/{id}"},
		"no such session":  {"DELETE", "/whip/default/abc/x", "user:ann", "", "", 404, "no such session"},
	} {
		res, body := ingesttest.Do(t, c.method, s.URL+c.path, c.token, c.typ, c.body)
		if res.StatusCode != c.status || !strings.Contains(body, c.say) {
			t.Errorf("%s: %s %s, want %d with %q", name, res.Status, body, c.status, c.say)
		}
	}
	if len(s.Registry.Live()) != 0 {
		t.Error("a refusal left a call behind")
	}
}

// onlyH265 makes an offer whose codecs are all unknown to us.
func onlyH265(offer string) string {
	for _, c := range []string{"VP8", "VP9", "H264", "AV1"} {
		offer = strings.ReplaceAll(offer, c+"/90000", "H266/90000")
	}
	return offer
}

func TestOptions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for path, want := range map[string]string{"/whip/default/abc": "POST", "/whip/default/abc/x": "PATCH"} {
		res, _ := ingesttest.Do(t, http.MethodOptions, s.URL+path, "", "", "")
		h := res.Header
		if res.StatusCode != http.StatusNoContent || !strings.Contains(h.Get("Access-Control-Allow-Methods"), want) ||
			!strings.Contains(h.Get("Access-Control-Expose-Headers"), "Location") {
			t.Errorf("OPTIONS %s: %s %v", path, res.Status, h)
		}
	}
}

func TestFullNodeSaysWhenToComeAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(_ *rtc.Config, c *call.Config) { c.MaxParticipants = 1 })
	ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	res, body := ingesttest.Do(t, http.MethodPost, s.URL+"/whip/default/abc", "user:bob", "application/sdp", offer(t))
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v %s", res.Status, res.Header, body)
	}
}

func TestOneUserHasFewConnections(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(_ *rtc.Config, c *call.Config) { c.MaxPerUser = 1 })
	ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	res, body := ingesttest.Do(t, http.MethodPost, s.URL+"/whip/default/abc", "user:ann", "application/sdp", offer(t))
	if res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("%s %s", res.Status, body)
	}
}

func TestTrickleAndRestart(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	const frag = "application/trickle-ice-sdpfrag"
	candidate := "a=mid:0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n"
	patch := func(body, token string, header ...string) *http.Response {
		t.Helper()
		res, _ := ingesttest.Do(t, http.MethodPatch, s.URL+p.Location, token, frag, body, header...)
		return res
	}
	for name, c := range map[string]struct {
		res    *http.Response
		status int
	}{
		"trickle":            {patch(candidate, "user:ann", "If-Match", p.ETag), 204},
		"foreign":            {patch(candidate, "user:bob", "If-Match", p.ETag), 403},
		"no token":           {patch(candidate, "", "If-Match", p.ETag), 401},
		"no If-Match":        {patch(candidate, "user:ann"), 428},
		"wrong If-Match":     {patch(candidate, "user:ann", "If-Match", `"x"`), 412},
		"restart, no ufrag":  {patch(candidate, "user:ann", "If-Match", "*"), 400},
		"garbage":            {patch("what is this", "user:ann", "If-Match", p.ETag), 400},
		"broken candidate":   {patch("a=mid:0\r\na=candidate:x\r\n", "user:ann", "If-Match", p.ETag), 400},
		"too many":           {patch(strings.Repeat(candidate, 70), "user:ann", "If-Match", p.ETag), 400},
		"ufrag, no restart":  {patch("a=ice-ufrag:abcd\r\n"+candidate, "user:ann", "If-Match", p.ETag), 400},
		"restart, bad ufrag": {patch("a=ice-ufrag:a b\r\na=ice-pwd:c d\r\n", "user:ann", "If-Match", "*"), 400},
	} {
		if c.res.StatusCode != c.status {
			t.Errorf("%s: %s, want %d", name, c.res.Status, c.status)
		}
	}
	if res, _ := p.Session(t, http.MethodPatch, "text/plain", candidate, "If-Match", p.ETag); res.StatusCode != 415 {
		t.Errorf("wrong type: %s", res.Status)
	}
	restart(t, s, p)
}

// restart restarts ICE as a client does and looks for media afterwards.
func restart(t *testing.T, s *ingesttest.Server, p *ingesttest.Publisher) {
	t.Helper()
	o, err := p.PC.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		t.Fatal(err)
	}
	done := webrtc.GatheringCompletePromise(p.PC)
	if err := p.PC.SetLocalDescription(o); err != nil {
		t.Fatal(err)
	}
	<-done
	var body strings.Builder
	for _, line := range strings.Split(p.PC.LocalDescription().SDP, "\r\n") {
		for _, key := range []string{"a=ice-ufrag", "a=ice-pwd", "m=", "a=mid", "a=candidate"} {
			if strings.HasPrefix(line, key) {
				body.WriteString(line + "\r\n")
			}
		}
	}
	res, reply := p.Session(t, http.MethodPatch, "application/trickle-ice-sdpfrag", body.String(), "If-Match", "*")
	if res.StatusCode != http.StatusOK || res.Header.Get("ETag") == p.ETag || res.Header.Get("ETag") == "" {
		t.Fatalf("restart: %s %v %s", res.Status, res.Header, reply)
	}
	// The answer of before with the new credentials.
	var answer strings.Builder
	fresh := map[string]string{}
	for _, line := range strings.Split(reply, "\r\n") {
		if k, _, ok := strings.Cut(line, ":"); ok && (k == "a=ice-ufrag" || k == "a=ice-pwd") {
			fresh[k] = line
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(p.Answer), "\r\n") {
		k, _, _ := strings.Cut(line, ":")
		if fresh[k] != "" {
			line = fresh[k]
		}
		answer.WriteString(line + "\r\n")
	}
	if strings.Contains(p.Answer, fresh["a=ice-ufrag"]) {
		t.Fatal("the restart brought no new credentials")
	}
	err = p.PC.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.String()})
	if err != nil {
		t.Fatal(err)
	}
	tapped(t, s.Events.Track(t, 0), "")
}

func TestDeleteTwice(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	s.Events.Wait(t, "joined ann")
	if res, _ := ingesttest.Do(t, http.MethodDelete, s.URL+p.Location, "user:bob", "", ""); res.StatusCode != 403 {
		t.Errorf("foreign DELETE: %s", res.Status)
	}
	for _, want := range []int{200, 404} {
		if res, _ := p.Session(t, http.MethodDelete, "", ""); res.StatusCode != want {
			t.Errorf("DELETE: %s, want %d", res.Status, want)
		}
	}
	s.Events.Wait(t, "left ann: left")
}

func TestWhoNeverConnectsIsForgotten(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	res, body := ingesttest.Do(t, http.MethodPost, s.URL+"/whip/default/abc", "user:ann", "application/sdp", offer(t))
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("%s %s", res.Status, body)
	}
	ingesttest.Eventually(t, "the session is gone", func() bool {
		res, _ := ingesttest.Do(t, http.MethodDelete, s.URL+"/whip/default/abd"+res.Header.Get("Location"), "user:ann", "", "")
		return res.StatusCode == 404 && s.Registry.Seats() == 0
	})
	if s.Events.Has("joined ann") {
		t.Error("one who never connected joined")
	}
}

func TestAbandonedSessionEnds(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *rtc.Config, _ *call.Config) { c.ICETimeout = time.Second })
	line := ingesttest.NewLine(t)
	ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann", line.Use)
	s.Events.Wait(t, "joined ann")
	line.CutOff()
	s.Events.Wait(t, "left ann: connection lost")
}
