package recorder

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/mjr"
	"stillwatch/recording/raw"
	"stillwatch/recording/stream"
)

// sendStream streams what an actor does to an endpoint, as of a run that was
// ordered so long after the session's start.
func (w *world) sendStream(e *endpoint, id string, start time.Time, ordered time.Duration, a actor) {
	w.t.Helper()
	transport := &http.Transport{}
	w.t.Cleanup(transport.CloseIdleConnections)
	s := stream.New(stream.Config{
		URL: e.URL, Client: &http.Client{Transport: transport}, Secret: streamSecret, EndWithin: time.Minute, Queue: 64 << 20,
		Header: stream.Header{
			RecordingID: id, RecordingType: recording.TypeRaw, CallCID: "default:abc", CallType: "default", CallID: "abc", SessionID: "s1",
			StartedAt: start, RunStartedAt: start.Add(ordered),
		},
		Failed: func(err error) { w.t.Errorf("failed: %v", err) },
	})
	s.Start(w.t.Context())
	defer s.Close()
	s.Note(raw.Entry{Kind: raw.Joined, UserID: "ann", UserSessionID: "us"})
	f := &fakeTrack{}
	f.info.TrackID = "ann-audio"
	all := f.sound(a)
	to := s.Track(raw.StreamInfo{
		ID: "a", TrackID: "ann-audio", UserID: "ann", UserSessionID: "us", Type: event.TrackAudio, MimeType: "audio/opus", ClockRate: 48000, Channels: 2,
		At: ordered,
	})
	f.packets = taps{1: func(p []byte, at time.Time) { to.Write(p, false, at) }}
	for _, p := range all {
		p.send(start.Add(p.at))
	}
	s.End(stream.Stopped, start.Add(a.to))
	s.Wait()
}

// A recording that was ordered in the middle of a call begins there when it is
// imported, whatever the call type's settings say of what came before a start.
func TestReceivedStreamBeginsWithItsRecording(t *testing.T) {
	t.Parallel()
	const ordered, end = 20 * time.Second, 23 * time.Second
	start := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	e := newEndpoint(t, streamSecret)
	w := newWorld(t, func(p *recording.Plan) { p.RecordAlone, p.PreRoll = false, 10*time.Second })
	w.callType("default")
	w.sendStream(e, "run-1", start, ordered, actor{tone: w.tone(400), from: ordered, to: end})
	res, err := w.Import(t.Context(), ImportOrder{Paths: []string{filepath.Join(e.dir, "run-1")}, Types: []string{recording.TypeComposite}, By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	run := w.state(res.Recordings[0].ID, "ready", time.Minute)
	if !run.StartedAt.Equal(start.Add(ordered)) || !res.Session.StartedAt.Equal(start) {
		t.Errorf("the recording begins %v, the session %v; want %v and %v", run.StartedAt, res.Session.StartedAt, start.Add(ordered), start)
	}
	movies := w.files(run.ID)[kindMovie]
	if len(movies) != 1 {
		t.Fatalf("movies: %+v", movies)
	}
	out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", w.path(movies[0].ObjectKey)).CombinedOutput()
	length, parsed := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err := errors.Join(err, parsed); err != nil || length < 2.5 || length > 3.5 {
		t.Errorf("the movie takes %q s, want 3: %v", out, err)
	}
}

func TestRunStartIsInTheSession(t *testing.T) {
	t.Parallel()
	res := &mjr.Result{Length: time.Minute}
	res.Session.StartedAt = mjrStart
	for after, want := range map[time.Duration]time.Duration{-time.Second: 0, 0: 0, 28900 * time.Millisecond: 28900 * time.Millisecond, time.Minute: 0, time.Hour: 0} {
		if got := runStart(res, mjrStart.Add(after)); !got.Equal(mjrStart.Add(want)) {
			t.Errorf("%v after the session's start becomes %v", after, got.Sub(mjrStart))
		}
	}
	if got := runStart(res, time.Time{}); !got.Equal(mjrStart) {
		t.Errorf("no start becomes %v", got)
	}
}

// Paths that are a little wrong are answered with what is wanted.
func TestImportOfTheFolderOfManyStreams(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, streamSecret)
	w := newWorld(t, func(*recording.Plan) {})
	w.callType("default")
	w.sendStream(e, "run-1", time.Now().Add(-time.Hour), 0, actor{tone: w.tone(400), to: 100 * time.Millisecond})
	composite := []string{recording.TypeComposite}
	_, err := w.Import(t.Context(), ImportOrder{Paths: []string{e.dir}, Types: composite})
	var field *recording.FieldError
	if !errors.As(err, &field) || !strings.Contains(err.Error(), "one stream, such as "+filepath.Join(e.dir, "run-1")) {
		t.Errorf("one level too high: %v", err)
	}
	_, err = w.Import(t.Context(), ImportOrder{Paths: []string{filepath.Join(e.dir, "nosuch")}, Types: composite})
	if !errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), "at byte") {
		t.Errorf("no such folder: %v", err)
	}
}
