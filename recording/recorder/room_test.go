package recorder

import (
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// spools tells whether packets of a session are on the disk.
func (s *scene) spools() bool {
	_, err := os.Stat(s.w.rawDir(s.info.SessionID))
	return err == nil
}

// flagged tells the recorder, as the bus does, that a call is flagged.
func (s *scene) flagged(user string) {
	s.w.t.Helper()
	s.w.flag(s.info, user)
	ev := event.New(event.TypeActionRequested, s.info.CID, time.Now(), event.ActionRequested{
		ActionID: event.NewID(), Kind: event.ActionFlag, CID: s.info.CID, SessionID: s.info.SessionID, UserID: user,
	})
	if err := s.w.flagSubscription().Handler(s.w.t.Context(), ev); err != nil {
		s.w.t.Fatal(err)
	}
	s.settle()
}

// rolled does what is done every five seconds.
func (s *scene) rolled() {
	l := s.w.Recorder.session(s.info.SessionID)
	l.do(l.roll)
	s.settle()
}

// disk is one whose room a test sets, in percent.
func disk(left *atomic.Int64) func(c *Config) {
	return func(c *Config) {
		c.MinFree = 10
		c.DiskFree = func(string) (uint64, uint64, error) { return uint64(left.Load()) << 20, 100 << 20, nil }
	}
}

// When the disk is nearly full the packets that nobody asked for go, the oldest
// first, and no others begin; what is flagged or ordered stays.
func TestTheOldestPacketsThatNobodyAskedForGoFirst(t *testing.T) {
	t.Parallel()
	// There is room again as soon as one is given up.
	var full atomic.Pointer[scene]
	w := newWorld(t, func(p *recording.Plan) { p.Evidence = recording.ModeOnFlag }, func(c *Config) {
		c.MinFree = 10
		c.DiskFree = func(string) (uint64, uint64, error) {
			if s := full.Load(); s != nil && s.spools() {
				return 9 << 20, 100 << 20, nil
			}
			return 20 << 20, 100 << 20, nil
		}
	})
	a := actor{tone: w.tone(400), to: time.Second}
	flagged, unheard, oldest, younger := w.session("flagged", time.Now()), w.session("unheard", time.Now()), w.session("oldest", time.Now()), w.session("younger", time.Now())
	for _, s := range []*scene{flagged, unheard, oldest, younger} {
		s.play("ada", a)
	}
	flagged.flagged("ada")
	w.flag(unheard.info, "ada") // the bus has not told yet
	full.Store(oldest)
	w.makeRoom(t.Context())
	if oldest.spools() || !flagged.spools() || !unheard.spools() || !younger.spools() {
		t.Errorf("kept: oldest %t, flagged %t, unheard %t, younger %t", oldest.spools(), flagged.spools(), unheard.spools(), younger.spools())
	}
	if n := w.Stats().Dropped; n != 1 {
		t.Errorf("%d given up", n)
	}
	var row db.RecordingDropRow
	if err := w.db.NewSelect().Model(&row).Scan(t.Context()); err != nil || row.CID != oldest.info.CID || row.Bytes == 0 || !strings.Contains(row.Reason, "10 %") {
		t.Errorf("noted %+v, %v", row, err)
	}
	for _, s := range []*scene{flagged, unheard, oldest, younger} {
		s.end(time.Second)
	}
	w.until(flagged.info.CID, db.RecordingReady, 4*time.Minute)
	w.until(unheard.info.CID, db.RecordingReady, 4*time.Minute)
	w.idle()
	w.gone()
	if n, err := w.db.NewSelect().Model((*db.RecordingDropRow)(nil)).Count(t.Context()); n != 0 || err != nil {
		t.Errorf("%d are still known, %v", n, err)
	}
}

// lacks is what the failures that were told of a call say.
func (w *world) lacks(code int) []string {
	w.t.Helper()
	var out []string
	for _, ev := range w.events(event.CallRecordingFailed) {
		var body event.RecordingFailed
		if err := ev.Decode(&body); err != nil || body.Error.Code != code {
			w.t.Errorf("told %+v, %v; want code %d", body, err, code)
		}
		out = append(out, body.Error.Message)
	}
	return out
}

// A call that is flagged after its packets were given up is recorded from then
// on, and it is said what is missing.
func TestACallThatIsFlaggedAfterItsPacketsWereGivenUp(t *testing.T) {
	t.Parallel()
	var left atomic.Int64
	left.Store(50)
	w := newWorld(t, func(p *recording.Plan) { p.Evidence = recording.ModeOnFlag }, disk(&left))
	start := time.Now().Add(-time.Minute)
	s := w.session("late", start)
	s.play("ada", actor{tone: w.tone(400), to: time.Second})
	left.Store(5)
	w.makeRoom(t.Context())
	if s.spools() {
		t.Fatal("nothing was given up")
	}
	// While there is no room, no packets begin that nobody asked for.
	other := w.session("other", time.Now())
	other.settle()
	s.rolled()
	if other.spools() || s.spools() {
		t.Error("packets begin without room")
	}
	before := time.Now()
	s.flagged("ada")
	if !s.spools() {
		t.Fatal("a flagged call is not recorded")
	}
	from := time.Since(start) + 100*time.Millisecond
	s.play("ben", actor{tone: w.tone(600), from: from, to: from + 2*time.Second})
	w.makeRoom(t.Context())
	if !s.spools() {
		t.Fatal("packets of a flagged call were given up")
	}
	s.end(from + 2*time.Second)
	run := w.until(s.info.CID, db.RecordingReady, 4*time.Minute)
	if run.StartedAt.Before(before) || !bool(run.Flagged) || run.Lane != db.LaneEvidence {
		t.Errorf("run %+v, want from %s", run, before)
	}
	movie := w.files(run.ID)[kindMovie]
	if len(movie) != 1 || movie[0].EndedAt.Sub(movie[0].StartedAt.Time) > 4*time.Second {
		t.Errorf("movies %+v", movie)
	}
	if told := w.lacks(CodeLost); len(told) != 1 || !strings.Contains(told[0], "before "+run.StartedAt.UTC().Format(time.RFC3339)) {
		t.Errorf("told %q, want %s", told, run.StartedAt)
	}
	// There is room again: the other call is spooled from now on.
	left.Store(50)
	w.makeRoom(t.Context())
	other.rolled()
	if !other.spools() {
		t.Error("packets do not begin though there is room")
	}
	other.end(time.Second)
	w.gone()
}

// A call whose flag is seen only at its end, or by the next process, has no
// packets left: that is a failure that is told of.
func TestAFlagThatFindsNoPacketsIsToldOf(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"at the end": false, "by the next process": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var left atomic.Int64
			left.Store(50)
			w := newWorld(t, func(p *recording.Plan) { p.Evidence = recording.ModeOnFlag }, disk(&left))
			s := w.session("none", time.Now())
			s.play("ada", actor{tone: w.tone(400), to: time.Second})
			left.Store(5)
			w.makeRoom(t.Context())
			w.flag(s.info, "ada")
			if restart {
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				w.start(disk(&left))
			} else {
				s.end(time.Second)
			}
			run := w.until(s.info.CID, db.RecordingFailed, 4*time.Minute)
			if told := w.lacks(CodePackets); len(told) != 1 || !strings.Contains(told[0], "no room") || run.ErrorCode != CodePackets {
				t.Errorf("told %q of %+v", told, run)
			}
		})
	}
}

// The packets of all sessions together have a bound as well, under which those
// of an ordered recording stay.
func TestThePacketsOfAllSessionsHaveABound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Evidence, p.Composite = recording.ModeOnFlag, recording.ModeAvailable },
		func(c *Config) { c.SpoolMaxBytes = 1 << 20 })
	clip := *w.clip("neutral", event.VP8)
	clip.Frames = slices.Clone(clip.Frames)
	for i, f := range clip.Frames {
		clip.Frames[i] = append(slices.Clone(f), make([]byte, 16<<10)...)
	}
	a := actor{clip: &clip, tone: w.tone(400), to: 2 * time.Second}
	ordered, free := w.session("ordered", time.Now()), w.session("free", time.Now())
	ordered.settle()
	if _, err := w.db.NewUpdate().Model((*db.CallRow)(nil)).Set("current_session_id = ?", ordered.info.SessionID).Where("cid = ?", ordered.info.CID).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Desk().Start(t.Context(), recording.Order{CID: ordered.info.CID, Type: recording.TypeComposite, By: "ada"}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*scene{ordered, free} {
		s.play("ada", a)
		s.rolled()
	}
	w.eventually(func() bool {
		ordered.rolled()
		free.rolled()
		return w.lack(false) != ""
	}, "the bound is reached")
	w.makeRoom(t.Context())
	if free.spools() || !ordered.spools() {
		t.Errorf("kept: free %t, ordered %t", free.spools(), ordered.spools())
	}
	ordered.end(2 * time.Second)
	w.until(ordered.info.CID, db.RecordingReady, 6*time.Minute)
}
