package recorder

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"stillwatch/internal/blob"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/evidence"
	"stillwatch/internal/jail"
	"stillwatch/internal/seal"
	"stillwatch/internal/storage"
	"stillwatch/internal/synthetic"
	"stillwatch/internal/testkit"
	"stillwatch/recording"
	"stillwatch/recording/raw"
)

func TestMain(m *testing.M) {
	jail.Init()
	flag.Parse()
	if runtime.GOMAXPROCS(0) < 6 { // mostly they wait
		_ = flag.Set("test.parallel", "6")
	}
	testkit.Main(m)
}

// world is a recorder with everything real around it but the network: packets
// are handed to it with the times at which they would have come.
type world struct {
	*Recorder
	t       testing.TB
	dir     string
	db      *db.DB
	objects *objects
	own     *blob.Store // what is ours of them
	plan    recording.Plan
	url     string      // of the database, "" is SQLite in the folder
	s3      *testkit.S3 // our own store, if that is no folder
	store   string      // the folder, "" is one of the world's own
}

// objects are the stores, with a fault when one is set.
type objects struct {
	*storage.Stores
	mu    sync.Mutex
	fault func(ref string) error
	asked int
}

// fail lets uploads and deletions fail as f says, nil: none do.
func (o *objects) fail(f func(ref string) error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fault, o.asked = f, 0
}

// refusals counts what has failed since fail.
func (o *objects) refusals() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

func (o *objects) failing(ref string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fault == nil {
		return nil
	}
	err := o.fault(ref)
	if err != nil {
		o.asked++
	}
	return err
}

func (o *objects) Upload(ctx context.Context, ref string, r io.Reader, contentType string) error {
	if err := o.failing(ref); err != nil {
		return err
	}
	return o.Stores.Upload(ctx, ref, r, contentType)
}

func (o *objects) Delete(ctx context.Context, ref string) error {
	if err := o.failing(ref); err != nil {
		return err
	}
	return o.Stores.Delete(ctx, ref)
}

func newWorld(t testing.TB, change func(p *recording.Plan), set ...func(c *Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), plan: recording.DefaultPlan()}
	w.plan.Composite, w.plan.Quality, w.plan.RecordAlone = recording.ModeDisabled, "360p", true
	change(&w.plan)
	w.open()
	w.start(set...)
	return w
}

// open opens what outlives the recorder.
func (w *world) open() {
	w.t.Helper()
	var err error
	at := w.url
	if at == "" {
		at = "sqlite://" + filepath.Join(w.dir, "x.db")
	}
	if w.db, err = db.Open(w.t.Context(), at); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.db.Close() })
	dir := w.store
	if dir == "" {
		dir = filepath.Join(w.dir, "objects")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	cfg := blob.Config{URL: "file://" + dir, Key: []byte("0123456789abcdef"), PublicURL: "http://127.0.0.1"}
	if s := w.s3; s != nil {
		cfg.URL, cfg.AccessKey, cfg.SecretKey = s.URL(), s.AccessKey, s.SecretKey
	}
	own, err := blob.Open(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = own.Close() })
	w.own = own
	stores := storage.New(storage.Config{DB: w.db, Own: own})
	w.t.Cleanup(func() { _ = stores.Close() })
	w.objects = &objects{Stores: stores}
}

// start makes a recorder and starts it, as a process that begins would.
func (w *world) start(set ...func(c *Config)) {
	w.t.Helper()
	box, err := seal.New([]byte(strings.Repeat("k", seal.KeyBytes)))
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := evidence.LoadKey(filepath.Join(w.dir, "evidence.key"))
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := Config{
		Node: "n1", DB: w.db, Seal: box, Objects: w.objects, Dir: filepath.Join(w.dir, "recordings"), Evidence: key, Workers: 2,
		FlagGrace: time.Nanosecond, Log: slog.New(slog.NewTextHandler(testLog{w.t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Plan: func(json.RawMessage, db.RecordingDecision) (recording.Plan, error) { return w.plan, nil },
	}
	for _, f := range set {
		f(&cfg)
	}
	w.Recorder = New(cfg)
	if err := w.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	r := w.Recorder
	w.t.Cleanup(func() {
		if err := r.Close(); err != nil {
			w.t.Errorf("close: %v", err)
		}
	})
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

// session begins a session of a call that is made for it.
func (w *world) session(id string, start time.Time) *scene {
	w.t.Helper()
	w.makeCall(id)
	s := &scene{w: w, info: Session{CID: "default:" + id, CallType: "default", CallID: id, SessionID: event.NewID(), StartedAt: start}}
	w.SessionStarted(s.info)
	return s
}

func (w *world) makeCall(id string) {
	w.t.Helper()
	row := db.CallRow{CID: "default:" + id, Type: "default", ID: id, Settings: db.JSON[json.RawMessage]{V: json.RawMessage("{}")}, CreatedAt: db.At(time.Now())}
	row.Custom.V, row.BlockedUserIDs.V = map[string]any{}, []string{}
	if _, err := w.db.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Exec(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// scene is a session that is played to the recorder.
type scene struct {
	w    *world
	info Session
	n    int
}

// end tells that the session is over after so long.
func (s *scene) end(after time.Duration) {
	s.w.SessionEnded(s.info.SessionID, s.info.StartedAt.Add(after))
}

// actor is a participant with a camera and a microphone.
type actor struct {
	clip     *synthetic.Clip
	tone     *synthetic.Tone
	from, to time.Duration
	record   event.RecordType
	// screen says that the pictures are of a shared screen.
	screen bool
}

// play lets a participant join, send and leave.
func (s *scene) play(user string, a actor) {
	s.w.t.Helper()
	all := s.enter(user, a)
	written := s.written()
	for n, p := range all {
		p.send(s.info.StartedAt.Add(p.at))
		// The folder never waits for the disk, so whoever is faster than a
		// call has to.
		if n%500 == 499 {
			testkit.Eventually(s.w.t, 4*time.Minute, func() bool { return s.written()+2500 >= written+uint64(n) }, "packets are written")
		}
	}
}

// enter lets a participant join, and returns what they send, and when they
// leave.
func (s *scene) enter(user string, a actor) []timed {
	s.w.t.Helper()
	us := "us-" + user + fmt.Sprint(s.n)
	s.n++
	at := func(d time.Duration) time.Time { return s.info.StartedAt.Add(d) }
	s.w.Joined(s.info.SessionID, us, user, "user", at(a.from))
	base := raw.StreamInfo{UserID: user, UserSessionID: us, Record: a.record}
	var all []timed
	video, audio := &fakeTrack{}, &fakeTrack{}
	if a.clip != nil {
		video.info = base
		video.info.TrackID, video.info.Type, video.info.MimeType, video.info.ClockRate = us+"-v", event.TrackVideo, "video/"+string(a.clip.Codec), 90000
		if a.screen {
			video.info.Type = event.TrackScreenShare
		}
		all = append(all, video.pictures(s.w.t, a)...)
		video.info.At = a.from + 1 // on the scene's clock, which is not that of the test
		s.w.TrackAdded(s.info.SessionID, video.info.TrackID, video)
	}
	if a.tone != nil {
		audio.info = base
		audio.info.TrackID, audio.info.Type, audio.info.MimeType, audio.info.ClockRate, audio.info.Channels = us+"-a", event.TrackAudio, "audio/opus", 48000, 2
		all = append(all, audio.sound(a)...)
		audio.info.At = a.from + 1
		s.w.TrackAdded(s.info.SessionID, audio.info.TrackID, audio)
	}
	s.settle()
	return append(all, timed{a.to, func(at time.Time) {
		for _, t := range []*fakeTrack{video, audio} {
			if t.info.TrackID != "" {
				s.w.TrackRemoved(s.info.SessionID, t.info.TrackID, at)
			}
		}
		s.w.Left(s.info.SessionID, us, user, at)
	}})
}

// settle waits until the recorder has done what it was told so far.
func (s *scene) settle() {
	l := s.w.Recorder.session(s.info.SessionID)
	if l == nil {
		return
	}
	done := make(chan struct{})
	l.do(func() { close(done) })
	<-done
}

// written is how many packets of the session were written; all of them if
// nothing writes any.
func (s *scene) written() uint64 {
	l := s.w.Recorder.session(s.info.SessionID)
	if l == nil || l.writer == nil {
		return math.MaxUint64 / 2
	}
	return uint64(l.writer.Stats().Packets)
}

// timed is a packet and when it comes.
type timed struct {
	at   time.Duration
	send func(at time.Time)
}

// fakeTrack is a track without a network.
type fakeTrack struct {
	info raw.StreamInfo

	mu      sync.Mutex
	n       int
	packets taps
	reports taps
}

// taps are those who take a track's packets.
type taps map[int]func(b []byte, at time.Time)

func (f *fakeTrack) Streams() []raw.StreamInfo { return []raw.StreamInfo{f.info} }
func (f *fakeTrack) RequestKeyframe(string)    {}

func (f *fakeTrack) TapRaw(_ string, fn func([]byte, time.Time)) func() {
	return f.tap(&f.packets, fn)
}

func (f *fakeTrack) TapReports(_ string, fn func([]byte, time.Time)) func() {
	return f.tap(&f.reports, fn)
}

func (f *fakeTrack) tap(to *taps, fn func([]byte, time.Time)) func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if *to == nil {
		*to = taps{}
	}
	f.n++
	n := f.n
	(*to)[n] = fn
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(*to, n)
	}
}

func (f *fakeTrack) deliver(b []byte, report bool) func(at time.Time) {
	return func(at time.Time) {
		f.mu.Lock()
		to := f.packets
		if report {
			to = f.reports
		}
		all := slices.Collect(maps.Values(to))
		f.mu.Unlock()
		for _, fn := range all {
			fn(b, at)
		}
	}
}

// pictures are the packets of a clip from its first keyframe on, with a sender
// report a second.
func (f *fakeTrack) pictures(t testing.TB, a actor) []timed {
	var out []timed
	pay, gap := payloader(t, a.clip.Codec), time.Second/time.Duration(a.clip.FPS)
	seq, ssrc := uint16(1000), binary.BigEndian.Uint32([]byte(f.info.TrackID + "xxxx")[:4])+1
	for n := 0; ; n++ {
		at := a.from + time.Duration(n)*gap
		if at >= a.to {
			return out
		}
		ts := uint32(90000 * at.Seconds())
		if n%a.clip.FPS == 0 {
			out = append(out, timed{at, f.deliver(report(ssrc, ts, at), true)})
		}
		frags := pay.Payload(1100, a.clip.Frames[n%len(a.clip.Frames)])
		for i, frag := range frags {
			p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: seq, Timestamp: ts, SSRC: ssrc, Marker: i == len(frags)-1}, Payload: frag}
			seq++
			b, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, timed{at, f.deliver(b, false)})
		}
	}
}

func payloader(t testing.TB, c event.Codec) rtp.Payloader {
	switch c {
	case event.VP8:
		return &codecs.VP8Payloader{EnablePictureID: true}
	case event.VP9:
		return &codecs.VP9Payloader{}
	case event.H264:
		return &codecs.H264Payloader{}
	case event.AV1:
		return &codecs.AV1Payloader{}
	}
	t.Fatalf("no payloader for %s", c)
	return nil
}

func (f *fakeTrack) sound(a actor) []timed {
	var out []timed
	seq := uint16(5000)
	for n := 0; ; n++ {
		at := a.from + time.Duration(n)*20*time.Millisecond
		if at >= a.to {
			return out
		}
		ts := uint32(48000 * at.Seconds())
		if n%50 == 0 {
			out = append(out, timed{at, f.deliver(report(7, ts, at), true)})
		}
		p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 111, SequenceNumber: seq, Timestamp: ts, SSRC: 7}, Payload: a.tone.Packets[n%len(a.tone.Packets)]}
		seq++
		b, _ := p.Marshal()
		out = append(out, timed{at, f.deliver(b, false)})
	}
}

// report is a sender report whose clock is that of the call plus a century.
func report(ssrc, ts uint32, at time.Duration) []byte {
	ntp := uint64(3_900_000_000+int64(at.Seconds()))<<32 | uint64(float64(at%time.Second)/float64(time.Second)*(1<<32))
	b, _ := (&rtcp.SenderReport{SSRC: ssrc, NTPTime: ntp, RTPTime: ts}).Marshal()
	return b
}

// clips caches what the tests send.
var clips struct {
	sync.Mutex
	tones map[int]*synthetic.Tone
}

func (w *world) clip(picture string, codec event.Codec) *synthetic.Clip {
	w.t.Helper()
	clips.Lock()
	defer clips.Unlock()
	c, err := synthetic.MakeClip(w.t.Context(), filepath.Join("..", "..", "build", "clips"), synthetic.ClipConfig{
		Picture: picture, Codec: codec, Width: 320, Height: 180, Kbps: 200, FPS: 25,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) tone(hz int) *synthetic.Tone {
	w.t.Helper()
	clips.Lock()
	defer clips.Unlock()
	if t := clips.tones[hz]; t != nil {
		return t
	}
	tone, err := synthetic.MakeTone(w.t.Context(), hz)
	if err != nil {
		w.t.Fatal(err)
	}
	if clips.tones == nil {
		clips.tones = map[int]*synthetic.Tone{}
	}
	clips.tones[hz] = tone
	return tone
}

// until waits for a run of the call to come to a state.
func (w *world) until(cid, state string, within time.Duration) db.RecordingRow {
	w.t.Helper()
	var row db.RecordingRow
	testkit.Eventually(w.t, within, func() bool {
		err := w.db.NewSelect().Model(&row).Where("cid = ?", cid).Where("state = ?", state).Limit(1).Scan(context.Background())
		return err == nil
	}, cid+" is "+state)
	return row
}

// files are what a run left in storage, by kind.
func (w *world) files(id string) map[string][]db.RecordingFileRow {
	w.t.Helper()
	var rows []db.RecordingFileRow
	if err := w.db.NewSelect().Model(&rows).Where("recording_id = ?", id).Order("started_at", "id").Scan(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	out := map[string][]db.RecordingFileRow{}
	for _, r := range rows {
		out[r.Kind] = append(out[r.Kind], r)
	}
	return out
}

// path is where an object of our own store lies.
func (w *world) path(key string) string {
	return filepath.Join(w.dir, "objects", filepath.FromSlash(key))
}

// events counts public events of a type.
func (w *world) events(typ string) []event.Envelope {
	w.t.Helper()
	var rows []db.OutboxRow
	if err := w.db.NewSelect().Model(&rows).Where("topic = ?", event.TopicPublic).Order("seq").Scan(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	var out []event.Envelope
	for _, r := range rows {
		if r.Envelope.V.Type == typ {
			out = append(out, r.Envelope.V)
		}
	}
	return out
}

// left lists what still lies in the recorder's folder.
func (w *world) left() []string {
	left, _ := filepath.Glob(filepath.Join(w.dir, "recordings", "*", "*"))
	return left
}

// idle waits until no session is live or undecided and no step is open.
func (w *world) idle() {
	w.t.Helper()
	testkit.Eventually(w.t, 4*time.Minute, func() bool {
		w.Recorder.mu.Lock()
		quiet := len(w.Recorder.sessions) == 0 && len(w.undecided) == 0
		w.Recorder.mu.Unlock()
		open, err := w.db.NewSelect().Model((*db.RecordingJobRow)(nil)).Where("state IN (?, ?)", db.JobWaiting, db.JobRunning).Exists(context.Background())
		return quiet && err == nil && !open
	}, "the recorder is idle")
}

// gone waits until nothing lies in the recorder's folder any more.
func (w *world) gone() {
	w.t.Helper()
	testkit.Eventually(w.t, 4*time.Minute, func() bool { return len(w.left()) == 0 }, "packets and work are gone")
}
