package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/internal/event"
)

// started is a bench whose server listens and follows the fake bus.
func started(t *testing.T, changes ...func(*Config)) *bench {
	b := newBench(t, changes...)
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	for range 5 { // one per topic
		select {
		case <-b.live.ready:
		case <-time.After(5 * time.Second):
			t.Fatal("the hub does not follow the bus")
		}
	}
	return b
}

// stream is an open live stream.
type stream struct {
	t      *testing.T
	resp   *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

func (b *bench) stream(query string) *stream {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	b.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+b.Addr()+livePath+query, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Authorization", b.user("mo", auth.RoleModerator))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		b.t.Fatalf("stream: %s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	return &stream{b.t, resp, bufio.NewScanner(resp.Body), cancel}
}

// next reads the next event; "" when the stream has ended.
func (s *stream) next() (name string, data map[string]any) {
	s.t.Helper()
	for s.lines.Scan() {
		line := s.lines.Text()
		if v, ok := strings.CutPrefix(line, "event: "); ok {
			name = v
		}
		if v, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(v), &data); err != nil {
				s.t.Fatalf("%v: %s", err, v)
			}
			return name, data
		}
	}
	return "", nil
}

func (s *stream) want(name string) map[string]any {
	s.t.Helper()
	got, data := s.next()
	if got != name {
		s.t.Fatalf("event %q %v, want %q", got, data, name)
	}
	return data
}

func frameReady(cid, user string, at time.Time) event.Envelope {
	f := event.FrameReady{FrameID: "f-" + user, CID: cid, UserID: user, TrackID: "t-" + user, TrackType: event.TrackVideo, CapturedAt: at, ObjectKey: "frames/" + user + ".jpg"}
	return event.New(event.TypeFrameReady, cid+"/"+user, at, f)
}

func TestLive(t *testing.T) {
	t.Parallel()
	b := started(t)
	at := b.now.Now()
	s := b.stream("")
	s.want("ready")
	b.live.publish(event.TopicFrames, frameReady("default:abc", "bob", at))
	f := s.want("frame")
	if f["user_id"] != "bob" || f["user_name"] != "bob" || f["url"] != (fakeSigner{}).SignGet("frames/bob.jpg", at.Add(liveURLLife)) {
		t.Errorf("frame %v", f)
	}
	b.live.publish(event.TopicVerdicts, event.New(event.TypeVerdict, "default:abc/bob", at, event.Verdict{
		VerdictID: "v", Frame: event.FrameReady{FrameID: "f-bob", CID: "default:abc", UserID: "bob", TrackID: "t-bob"},
		State: event.VerdictKnown, Scores: []event.Score{{Label: "Porn", Score: 0.98}}, At: at,
	}))
	if v := s.want("verdict"); fmt.Sprint(v["scores"]) != "[map[label:Porn score:0.98]]" {
		t.Errorf("verdict %v", v)
	}
	b.live.publish(event.TopicFrames, event.New(event.TypeFrameGap, "default:abc/bob", at, event.FrameGap{
		CID: "default:abc", UserID: "bob", TrackID: "t-bob", Reason: event.GapMuted, From: at, To: at.Add(2 * time.Second), Due: 1,
	}))
	if g := s.want("gap"); g["reason"] != "muted" {
		t.Errorf("gap %v", g)
	}
	order := event.ActionRequested{ActionID: "a", Kind: event.ActionBan, CID: "default:abc", UserID: "bob", ByUserID: "system", Reason: "nudity", CapturedAt: at}
	b.live.publish(event.TopicActions, event.New(event.TypeActionRequested, "default:abc/bob", at, order))
	if a := s.want("action"); a["state"] != "requested" || a["captured_to_confirmed_ms"] != nil {
		t.Errorf("action %v", a)
	}
	b.live.publish(event.TopicConfirmed,
		event.New(event.TypeControlDone, "default:abc", at, event.ControlDone{}), // not shown
		event.New(event.TypeActionConfirmed, "default:abc/bob", at, event.ActionConfirmed{ActionRequested: order, ConfirmedAt: at.Add(150 * time.Millisecond)}))
	if a := s.want("action"); a["state"] != "confirmed" || a["captured_to_confirmed_ms"] != 150.0 {
		t.Errorf("action %v", a)
	}

	// Who comes later is told the newest state first.
	late := b.stream("?cid=default:abc")
	for _, name := range []string{"action", "frame", "verdict", "gap", "ready"} {
		late.want(name)
	}
	b.stream("?cid=default:zzz").want("ready")

	b.live.publish(event.TopicPublic, event.New(event.CallParticipantLeft, "default:abc/bob", at, map[string]any{
		"call_cid": "default:abc", "participant": map[string]any{"user": map[string]any{"id": "bob"}},
	}))
	if l := s.want("left"); l["user_id"] != "bob" {
		t.Errorf("left %v", l)
	}
	after := b.stream("")
	after.want("action") // kept: it is why a moderator may be looking
	after.want("ready")

	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if name, _ := s.next(); name != "" {
		t.Errorf("%q after Close", name)
	}
}

func TestLiveFiltersByCall(t *testing.T) {
	t.Parallel()
	b := started(t)
	s := b.stream("?cid=default:two")
	s.want("ready")
	b.live.publish(event.TopicFrames, frameReady("default:one", "a", b.now.Now()), frameReady("default:two", "b", b.now.Now()))
	if f := s.want("frame"); f["user_id"] != "b" {
		t.Errorf("a frame of another call: %v", f)
	}
}

// A client that does not read is cut off, and the others go on.
func TestSlowLiveClientIsCutOff(t *testing.T) {
	t.Parallel()
	b := started(t)
	slow, _, err := b.hub.join("")
	if err != nil {
		t.Fatal(err)
	}
	fast, _, err := b.hub.join("")
	if err != nil {
		t.Fatal(err)
	}
	for range liveBacklog + 1 {
		b.live.publish(event.TopicFrames, frameReady("default:abc", "bob", b.now.Now()))
		<-fast.events
	}
	select {
	case <-slow.gone:
	default:
		t.Error("the slow client is still there")
	}
	select {
	case <-fast.gone:
		t.Error("the fast client was cut off")
	default:
	}
	b.hub.leave(slow) // a second time does no harm
	if a := b.do("", "GET", "/metrics", nil); !strings.Contains(string(a.raw), "stillwatch_live_clients_cut_total 1") {
		t.Error("not counted")
	}
}

func TestLiveClientsAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range liveClients {
		if _, _, err := b.hub.join(""); err != nil {
			t.Fatal(err)
		}
	}
	r := b.do(b.auth.ServerToken(), "GET", livePath, nil)
	if r.status != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", r.status)
	}
	b.hub.close()
}

func TestWallIsBounded(t *testing.T) {
	t.Parallel()
	w, now := newWall(), time.Now()
	for i := range wallTiles + 10 {
		w.put(translated{name: liveFrame, cid: "c", userID: fmt.Sprint(i), trackID: "t"}, liveEvent{}, now)
	}
	if n := len(w.tiles); n != wallTiles {
		t.Errorf("%d tiles", n)
	}
	w.put(translated{name: liveFrame, cid: "c", userID: "new", trackID: "t"}, liveEvent{name: "x"}, now.Add(wallAge+time.Second))
	if got := w.state("", now.Add(wallAge+time.Second)); len(got) != 1 || got[0].name != "x" {
		t.Errorf("after a silence: %d events", len(got))
	}
}

func TestCloseBeforeStartAndTwice(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err == nil {
		t.Error("a closed server started")
	}
	if b.Addr() != "" {
		t.Error("a closed server has an address")
	}
}
