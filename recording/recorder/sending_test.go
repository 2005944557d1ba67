package recorder

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stillwatch/internal/event"
	"stillwatch/internal/netguard"
	"stillwatch/internal/signature"
	"stillwatch/internal/testkit"
	"stillwatch/recording"
	"stillwatch/recording/stream"
)

const streamSecret = "the API's"

// streamed lets recorders reach this machine, and names the key of streams.
func streamed(t testing.TB) func(c *Config) {
	t.Helper()
	guard := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(func() { _ = guard.Close() })
	return func(c *Config) {
		c.Client, c.Signer = guard.HTTPClient(), signature.Signer{Key: "key", Secret: streamSecret}
	}
}

// endpoint is a receiver and what it was told.
type endpoint struct {
	*httptest.Server
	dir string

	mu      sync.Mutex
	reports []stream.Report
}

func newEndpoint(t testing.TB, secret string) *endpoint {
	t.Helper()
	e := &endpoint{dir: t.TempDir()}
	e.Server = httptest.NewServer(stream.NewReceiver(stream.ReceiverConfig{Dir: e.dir, Secret: secret, Notice: func(n stream.Notice) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.reports = append(e.reports, n.Report())
	}}))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) count(typ string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.reports {
		if r.Type == typ {
			n++
		}
	}
	return n
}

// Two people are streamed while they talk, the connection breaks in the middle,
// and what the receiver has makes the movie of the call.
func TestCallIsStreamedWhileItRuns(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, streamSecret)
	w := newWorld(t, func(p *recording.Plan) {
		p.Raw, p.Destination = recording.ModeAutoOn, e.URL
	}, streamed(t))
	w.callType("default")
	start := time.Now().Add(-time.Minute).UTC().Truncate(time.Millisecond)
	s := w.session("abc", start)
	s.settle()
	id := event.DeriveID("recording", s.info.SessionID, recording.TypeRaw)
	all := slices.Concat(
		s.enter("ann", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 4 * time.Second}),
		s.enter("bob", actor{clip: w.clip("drawing", event.H264), tone: w.tone(600), from: time.Second, to: 4 * time.Second}))
	slices.SortStableFunc(all, func(a, b timed) int { return int(a.at - b.at) })
	written := s.written()
	for n, p := range all {
		p.send(start.Add(p.at))
		if n%100 == 99 {
			testkit.Eventually(t, 4*time.Minute, func() bool { return s.written()+500 >= written+uint64(n) }, "packets are written")
		}
		if n == len(all)/2 {
			testkit.Eventually(t, 4*time.Minute, func() bool { return e.count("joined") >= 2 }, "it comes while the call runs")
			e.CloseClientConnections()
			testkit.Eventually(t, 4*time.Minute, func() bool { return e.count("connected") >= 2 }, "it goes on")
		}
	}
	s.settle()
	s.end(4 * time.Second)
	w.state(id, "ready", time.Minute)
	testkit.Eventually(t, 4*time.Minute, func() bool { return e.count("end") == 1 }, "the end comes")
	// The packets are what the raw recording has, one for one.
	f, err := stream.Open(filepath.Join(e.dir, id))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]byte{}
	names := map[uint32]string{}
	for rec, err := range f.Records() {
		if err != nil {
			t.Fatal(err)
		}
		switch rec.Kind {
		case stream.KindEvent:
			if rec.Event.Stream != nil {
				names[rec.Event.Number] = rec.Event.UserID + " " + string(rec.Event.Stream.Type)
			}
		case stream.KindRTP, stream.KindRTCP:
			name := names[rec.Number]
			got[name] = append(got[name], rec.Data...)
		case stream.KindGap:
			t.Errorf("gap: %+v", rec.Gap)
		case stream.KindEnd:
			if rec.End.Reason != stream.Ended || rec.End.Lost != 0 || rec.End.Connections < 2 {
				t.Errorf("end: %+v", rec.End)
			}
		case stream.KindHeader, stream.KindSignature:
		}
	}
	if f.Header().CallCID != "default:abc" || f.Header().RecordingType != recording.TypeRaw {
		t.Errorf("header: %+v", f.Header())
	}
	files := w.files(id)[kindRaw]
	if len(files) != 4 || len(got) != 4 {
		t.Fatalf("%d streams came, %d files were made", len(got), len(files))
	}
	for _, file := range files {
		if want := dumped(t, w.path(file.ObjectKey)); !bytes.Equal(want, got[file.UserID+" "+string(file.TrackType)]) {
			t.Errorf("%s of %s: %d bytes came, %d are on disk", file.TrackType, file.UserID, len(got[file.UserID+" "+string(file.TrackType)]), len(want))
		}
	}
	if evs := w.events(event.CallRecordingFailed); len(evs) != 0 {
		t.Errorf("told of %+v", evs)
	}
	if st := w.Stats(); st.Streams != 0 || st.StreamPackets == 0 || st.StreamLost != 0 || st.StreamConnections < 2 {
		t.Errorf("stats: %+v", st)
	}

	// Whoever received it makes the movie of all: another server.
	other := newWorld(t, func(p *recording.Plan) { p.Layout, p.RecordAlone = "grid", false })
	other.callType("default")
	res, err := other.Import(t.Context(), ImportOrder{Paths: []string{filepath.Join(e.dir, id)}, Types: []string{recording.TypeComposite}, By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Problems) != 0 || len(res.Tracks) != 4 || len(res.People) != 2 || res.Session.CID != "default:abc" || res.Session.SessionID == s.info.SessionID {
		t.Errorf("imported %+v", res.Result)
	}
	run := other.state(res.Recordings[0].ID, "ready", 2*time.Minute)
	movies := other.files(run.ID)[kindMovie]
	if len(movies) != 1 {
		t.Fatalf("movies: %+v", movies)
	}
	out, err := exec.Command("ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_name,nb_read_frames:format=duration", "-of", "csv=p=0", other.path(movies[0].ObjectKey)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "h264,10") || !strings.Contains(string(out), "aac,") || !strings.Contains(string(out), "\n4.") {
		t.Errorf("ffprobe: %v\n%s", err, out)
	}
	if got := other.tiles(run.ID); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("tiles by chunk: %v; want ann's, then both", got)
	}
	if _, err := other.Import(t.Context(), ImportOrder{Paths: []string{filepath.Join(e.dir, id)}, Types: []string{recording.TypeComposite}}); !errors.Is(err, ErrImported) {
		t.Errorf("a second time: %v", err)
	}
}

func TestEndpointThatRefusesIsToldOfOnceAndFilesAreMade(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.Handler
		want    string
	}{
		"it knows another secret": {stream.NewReceiver(stream.ReceiverConfig{Dir: t.TempDir(), Secret: "another"}), "401"},
		"it is not allowed": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex() // answers before the stream's end
			w.WriteHeader(http.StatusForbidden)
		}), "403"},
		"it may not be reached": {nil, "may not be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to, set := "http://10.0.0.1:9/", streamed(t)
			if c.handler != nil {
				srv := httptest.NewServer(c.handler)
				t.Cleanup(srv.Close)
				to = srv.URL
			}
			w := newWorld(t, func(p *recording.Plan) { p.Raw, p.Destination = recording.ModeAutoOn, to }, set)
			s := w.session("abc", time.Now().Add(-time.Minute))
			s.play("ann", actor{tone: w.tone(400), to: time.Second})
			testkit.Eventually(t, 4*time.Minute, func() bool { return len(w.events(event.CallRecordingFailed)) > 0 }, "it is told of while the call runs")
			s.end(time.Second)
			row := w.until("default:abc", "ready", 4*time.Minute)
			evs := w.events(event.CallRecordingFailed)
			var body event.RecordingFailed
			if len(evs) != 1 || evs[0].Decode(&body) != nil {
				t.Fatalf("events: %+v", evs)
			}
			if body.Error.Code != CodeStream || !strings.Contains(body.Error.Message, c.want) || body.Format != streamFormat || body.EgressID != row.ID || strings.Contains(body.Error.Message, "127.0.0.1") {
				t.Errorf("told of %+v", body)
			}
			if w.Stats().StreamsFailed != 1 {
				t.Errorf("stats: %+v", w.Stats())
			}
		})
	}
}

func TestStreamLeavesOutWhatThePlanDoes(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, streamSecret)
	w := newWorld(t, func(p *recording.Plan) {
		p.Raw, p.RawAudioOnly, p.Omit, p.Destination, p.Evidence = recording.ModeAutoOn, true, []string{"eve"}, e.URL, recording.ModeOnFlag
	}, streamed(t))
	s := w.session("abc", time.Now().Add(-time.Minute))
	mute := func(track string, muted bool) { w.TrackMuted(s.info.SessionID, track, muted, s.info.StartedAt) }
	mute("us-ann0-a", true) // before the track is told of
	mute("us-eve1-a", true)
	s.play("ann", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: time.Second})
	s.play("eve", actor{tone: w.tone(600), to: time.Second})
	mute("us-eve1-a", false)
	s.play("bob", actor{tone: w.tone(600), to: time.Second, record: event.RecordVideo})
	s.settle()
	s.end(time.Second)
	testkit.Eventually(t, 4*time.Minute, func() bool { return e.count("end") == 1 }, "the end comes")
	e.mu.Lock()
	defer e.mu.Unlock()
	var told []string
	for _, r := range e.reports {
		if r.Type == "added" && (r.Event.UserID != "ann" || r.Event.Stream.Video()) {
			t.Errorf("it was sent %+v", r.Event.Stream)
		}
		if ev := r.Event; ev != nil && ev.Kind != stream.Speaker {
			told = append(told, string(ev.Kind)+" "+ev.UserID+ev.TrackID)
		}
	}
	slices.Sort(told) // some of it comes again with the state
	if got, want := strings.Join(slices.Compact(told), ", "), "added annus-ann0-a, joined ann, joined bob, left ann, left bob, muted us-ann0-a, removed us-ann0-a"; got != want {
		t.Errorf("told of %s, want %s", got, want)
	}
}

func TestServerThatStopsEndsItsStreams(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, streamSecret)
	w := newWorld(t, func(p *recording.Plan) { p.Composite = recording.ModeAvailable }, streamed(t))
	s := w.session("abc", time.Now().Add(-time.Minute))
	s.settle()
	_, err := w.Desk().Start(t.Context(), recording.Order{
		CID: "default:abc", Type: recording.TypeComposite, Destination: e.URL, DestinationMode: recording.DestinationStream, By: "host", Custom: map[string]any{"case": "17"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.play("ann", actor{tone: w.tone(400), to: time.Second})
	s.settle()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if last := e.reports[len(e.reports)-1]; last.Type != "end" || last.End.Reason != stream.Interrupted {
		t.Errorf("it was told %+v at last", last)
	}
}

func TestOrdersOfStreamsThatCannotBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Raw, p.EncryptTo = recording.ModeAvailable, "a key" }, streamed(t))
	w.makeCall("abc")
	var field *recording.FieldError
	for _, o := range []recording.Order{
		{CID: "default:abc", Type: recording.TypeRaw, Destination: "https://a.example/", DestinationMode: recording.DestinationStream},
		{CID: "default:abc", Type: recording.TypeRaw, DestinationMode: recording.DestinationStream},
	} {
		if _, err := w.Desk().Start(t.Context(), o); !errors.As(err, &field) || field.Field != "destination_mode" {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// dumped are the packets of an rtpdump file, one behind the other.
func dumped(t *testing.T, path string) (out []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, b, _ = bytes.Cut(b, []byte("\n"))
	for b = b[16:]; len(b) > 0; {
		n := binary.BigEndian.Uint16(b)
		out, b = append(out, b[8:n]...), b[n:]
	}
	return out
}
